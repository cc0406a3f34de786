"""Every estimator recovers what was injected, as often as its uncertainty says.

Each of 600 samples has a seed of its own; the measured coverage is then known to 1.9 %.
"""

import functools
import math

import numpy as np
import pytest
from scipy.optimize import brentq
from scipy.stats import binomtest

from xec_pipeline.detector.coordinates import opening_angle_deg
from xec_pipeline.evaluation.fits import fit_energy_resolution
from xec_pipeline.evaluation.gaussian_core import core_mean, core_sigma, gaussian_core
from xec_pipeline.evaluation.profiles import Profile
from xec_pipeline.evaluation.resolution import (
    COVERAGE,
    containment_68,
    half_width_68,
    mean_bias,
    median_bias,
    sigma_eff,
)
from xec_pipeline.evaluation.shape import GAUSSIAN_FWHM, binomial_error, fwhm, tail_fractions

N_SEEDS = 600
BIAS, WIDTH = 0.3, 2.0
# |x| < 2.0224 holds 68.27 % of a Gaussian of mean 0.3 and width 2.
CONTAINED = 2.0224
GAUSSIAN_ESTIMATORS = {
    "half width": (half_width_68, WIDTH),
    "containment": (containment_68, CONTAINED),
    "median": (median_bias, BIAS),
    "mean": (mean_bias, BIAS),
    "core mean": (core_mean, BIAS),
    "core sigma": (core_sigma, WIDTH),
    "shortest interval": (sigma_eff, WIDTH),
    "full width at half maximum": (fwhm, GAUSSIAN_FWHM * WIDTH),
}


def coverage(estimates, truth):
    return np.mean([abs(one.value - truth) < one.error for one in estimates])


@functools.cache
def gaussian_samples(n_events):
    return [np.random.default_rng(seed).normal(BIAS, WIDTH, n_events) for seed in range(N_SEEDS)]


@pytest.mark.parametrize("n_events", [100, 600])
@pytest.mark.parametrize("name", list(GAUSSIAN_ESTIMATORS))
def test_of_gaussian_samples(name, n_events):
    estimator, truth = GAUSSIAN_ESTIMATORS[name]
    estimates = [estimator(sample) for sample in gaussian_samples(n_events)]
    assert coverage(estimates, truth) == pytest.approx(COVERAGE, abs=0.05)
    # What bias remains is a part of the uncertainty: at most 0.8 of it, the shortest interval's.
    bias = np.mean([one.value for one in estimates]) - truth
    assert abs(bias) < 0.8 * np.mean([one.error for one in estimates])


@pytest.mark.parametrize(("estimator", "expected"), [(half_width_68, 0.76), (containment_68, 0.68)])
def test_of_twenty_events_ranks_are_coarse(estimator, expected):
    samples = np.random.default_rng(1).standard_normal((N_SEEDS, 20))
    assert coverage([estimator(one) for one in samples], 1.0) == pytest.approx(expected, abs=0.04)


def test_of_opening_angles():
    # Small errors of equal width in two directions: the angle is Rayleigh distributed.
    truth = math.sqrt(-2 * math.log(1 - COVERAGE))
    estimates = []
    for seed in range(N_SEEDS):
        error = np.random.default_rng(seed).normal(0, 1, (400, 2))
        direction = np.array([90.0, 10.0])
        estimates.append(containment_68(opening_angle_deg(direction + error, direction)))
    assert coverage(estimates, truth) == pytest.approx(COVERAGE, abs=0.05)


def test_of_shortest_intervals_of_distances():
    def end(start):
        # Where the integral from `start` on is the coverage.
        return math.sqrt(-2 * math.log(math.exp(-(start**2) / 2) - COVERAGE))

    def difference(start):
        return start * math.exp(-(start**2) / 2) - end(start) * math.exp(-(end(start) ** 2) / 2)

    start = brentq(difference, 0.01, 0.8)
    samples = (np.random.default_rng(seed).rayleigh(1, 400) for seed in range(N_SEEDS))
    estimates = [sigma_eff(sample) for sample in samples]
    truth = (end(start) - start) / 2
    assert coverage(estimates, truth) == pytest.approx(COVERAGE, abs=0.05)


def core_with_tails(seed, n_events):
    rng = np.random.default_rng(seed)
    width = np.where(rng.random(n_events) < 0.1, 4.0, 1.0)
    return BIAS + width * rng.standard_normal(n_events)


def test_of_tails():
    many = core_with_tails(N_SEEDS, 1_000_000)
    true_low, true_high = (one.value for one in tail_fractions(many, gaussian_core(many)))
    assert true_low == pytest.approx(0.02, abs=0.005)
    samples = (core_with_tails(seed, 2_000) for seed in range(N_SEEDS))
    tails = [tail_fractions(sample, gaussian_core(sample)) for sample in samples]
    assert coverage([low for low, _ in tails], true_low) == pytest.approx(COVERAGE, abs=0.05)
    assert coverage([high for _, high in tails], true_high) == pytest.approx(COVERAGE, abs=0.05)


@pytest.mark.parametrize(("count", "n"), [(0, 50), (3, 200), (40, 80)])
def test_binomial_error_is_half_of_wilsons_interval(count, n):
    level = math.erf(1 / math.sqrt(2))
    interval = binomtest(count, n).proportion_ci(level, method="wilson")
    assert binomial_error(count, n) == pytest.approx((interval.high - interval.low) / 2)


def test_of_energy_terms():
    energy = np.linspace(15, 60, 20)
    truth = np.array([0.10, 0.012, 0.30])
    width = np.sqrt(truth[0] ** 2 / energy + truth[1] ** 2 + (truth[2] / energy) ** 2)
    edges = np.append(energy - 1, energy[-1] + 1)
    covered = []
    for seed in range(N_SEEDS):
        measured = width * (1 + 0.005 * np.random.default_rng(seed).standard_normal(20))
        profile = Profile(
            edges=edges,
            x=energy,
            value=measured,
            error=0.005 * width,
            n=np.full(20, 10_000),
            estimator="exact",
        )
        fit = fit_energy_resolution(profile)
        assert not fit.at_bound
        errors = np.array([fit.a_error, fit.b_error, fit.c_error])
        covered.append(np.abs([fit.a, fit.b, fit.c] - truth) < errors)
    np.testing.assert_allclose(np.mean(covered, axis=0), COVERAGE, atol=0.05)
