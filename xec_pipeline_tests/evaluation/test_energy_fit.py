import math

import numpy as np
import pytest

from xec_pipeline.evaluation.fits import fit_energy_resolution
from xec_pipeline.evaluation.profiles import Profile, binned_profile
from xec_pipeline.evaluation.resolution import half_width_68

TRUTH = np.array([0.10, 0.012, 0.30])


def relative_width(energy):
    a, b, c = TRUTH
    return np.sqrt(a**2 / energy + b**2 + (c / energy) ** 2)


def profile_of(energy, width, error):
    edges = np.append(energy - 0.1, energy[-1] + 0.1)
    return Profile(
        edges=edges,
        x=energy,
        value=width,
        error=error,
        n=np.full(len(energy), 100),
        estimator="exact",
    )


def test_exact_points_give_the_exact_terms():
    energy = np.linspace(15, 60, 20)
    width = relative_width(energy)
    fit = fit_energy_resolution(profile_of(energy, width, 0.02 * width))
    np.testing.assert_allclose([fit.a, fit.b, fit.c], TRUTH, rtol=1e-6)
    assert fit.chi2 == pytest.approx(0, abs=1e-10)
    assert fit.ndf == 17
    np.testing.assert_allclose(fit.relative_width(energy), width)


def test_a_point_without_width_is_not_used():
    energy = np.linspace(15, 60, 20)
    width = relative_width(energy)
    error = 0.02 * width
    # Most events of a bin may have one residual, and the bootstrap still sees others.
    width[4] = 0
    fit = fit_energy_resolution(profile_of(energy, width, error))
    np.testing.assert_allclose([fit.a, fit.b, fit.c], TRUTH, rtol=1e-6)
    assert fit.ndf == 16


def test_toy_events_recover_the_terms_within_their_uncertainties():
    rng = np.random.default_rng(1)
    pulls, chi2 = [], []
    for _ in range(60):
        energy = rng.uniform(15, 60, 20_000)
        residual = rng.standard_normal(len(energy)) * relative_width(energy)
        fit = fit_energy_resolution(binned_profile(energy, residual, half_width_68))
        assert fit.is_valid
        pulls.append((np.array([fit.a, fit.b]) - TRUTH[:2]) / [fit.a_error, fit.b_error])
        chi2.append(fit.chi2 / fit.ndf)
    assert np.abs(np.mean(pulls, axis=0)).max() < 0.6
    assert np.all(np.std(pulls, axis=0) < 1.4)
    assert 0.8 < np.mean(chi2) < 1.5


def test_term_that_is_not_there_is_flagged_at_its_bound():
    energy = np.linspace(15, 60, 20)
    width = np.sqrt(0.01 / energy - 5e-5)
    fit = fit_energy_resolution(profile_of(energy, width, 0.01 * width))
    assert fit.at_bound
    assert all(math.isfinite(e) and e > 0 for e in (fit.a_error, fit.b_error, fit.c_error))
    (at_zero, *_) = fit.at_bound
    error = {"a": fit.a_error, "b": fit.b_error, "c": fit.c_error}[at_zero]
    # One standard deviation above the bound, not a limit.
    assert f"{at_zero} = 0 (+{100 * error:.2f}, 1 σ)%" in fit.label()
    assert "<" not in fit.label()


def test_label_states_percent_uncertainty_unit_and_chi2():
    energy = np.linspace(15, 60, 20)
    width = relative_width(energy)
    label = fit_energy_resolution(profile_of(energy, width, 0.02 * width)).label()
    assert label.startswith("a = (10.00±")
    assert "(E in MeV)" in label
    assert "χ²/ndf = 0.0/17" in label


def test_terms_are_written_as_the_contract_has_them():
    energy = np.linspace(15, 60, 20)
    width = relative_width(energy)
    fit = fit_energy_resolution(profile_of(energy, width, 0.02 * width))
    assert fit.terms() == "a=10.00%/√E, b=1.20%, c=30.00%/E"
    assert fit_energy_resolution(profile_of(energy[:3], width[:3], width[:3])).terms() == ""


@pytest.mark.parametrize("n_points", [0, 1, 3])
def test_too_few_points_give_a_note(n_points):
    energy = np.linspace(50, 55, 3)[:n_points]
    empty = (
        profile_of(energy, energy, energy) if n_points else binned_profile([], [], half_width_68)
    )
    fit = fit_energy_resolution(empty)
    assert not fit.is_valid
    assert f"{n_points} of 4 points" in fit.label()
