"""The fit of one bright point: exact light, toy events, dead sensors, events without light."""

import numpy as np
import pytest

from xec_pipeline.detector.coordinates import uvw_to_xyz
from xec_pipeline.detector.geometry import aligned_geometry, ideal_geometry
from xec_pipeline.detector.sensors import N_SENSORS, N_SIPM
from xec_pipeline.detector.solid_angle import solid_angle_fraction
from xec_pipeline.reconstruction.local_fit import LocalFitter, Window
from xec_pipeline.reconstruction.point_source import PointSource

SCALE = 2.0e6


def points(count, seed=1):
    rng = np.random.default_rng(seed)
    return rng.uniform([-23.9, -67.9, 0.2], [23.9, 67.9, 30.0], size=(count, 3))


def light_of(uvw, geometry=None):
    return SCALE * solid_angle_fraction(uvw_to_xyz(uvw), geometry or ideal_geometry())


def half_width_mm(error_cm):
    """Return the 68 % half width around the median."""
    centred = np.abs(error_cm - np.median(error_cm, axis=0))
    return 10 * np.percentile(centred, 68.27, axis=0)


def test_derivatives_of_the_light_against_differences():
    source = PointSource(aligned_geometry())
    parameters = np.column_stack([np.full(20, 2.0), points(20)])
    parameters[:, 3] = np.log(parameters[:, 3])
    ids = np.random.default_rng(3).integers(0, N_SIPM, (20, 12))
    _, derivatives = source.expected(parameters, ids)
    for k in range(4):
        step = np.zeros(4)
        step[k] = 1e-5
        above, below = (source.expected(parameters + sign * step, ids)[0] for sign in (1, -1))
        numeric = (above - below) / 2e-5
        np.testing.assert_allclose(derivatives[k], numeric, atol=1e-6 * np.abs(numeric).max())


@pytest.mark.parametrize("geometry", [ideal_geometry(), aligned_geometry()], ids=lambda g: g.name)
def test_exact_light_gives_its_point(geometry):
    uvw = points(100)
    fit = LocalFitter(geometry).fit(light_of(uvw, geometry))
    assert fit.is_good.all()
    # The far-field form of the light that is fitted here is good to 1e-4.
    np.testing.assert_allclose(fit.uvw_cm, uvw, atol=0.02)
    np.testing.assert_allclose(fit.scale, SCALE, rtol=3e-3)
    assert fit.chi2_per_ndf.max() < 0.05
    np.testing.assert_allclose(fit.photons(geometry), light_of(uvw, geometry), rtol=0.01, atol=1e-3)


def test_dead_sensors_in_the_brightest_place_do_not_move_the_point():
    uvw = points(60, seed=2)
    npho = light_of(uvw)
    brightest = npho[:, :N_SIPM].argmax(axis=1)
    npho[np.arange(60), brightest] = 1e10
    npho[np.arange(60), np.maximum(brightest - 1, 0)] = np.nan
    fit = LocalFitter(ideal_geometry()).fit(npho)
    assert fit.is_good.all()
    np.testing.assert_allclose(fit.uvw_cm, uvw, atol=0.02)


def test_resolution_on_toy_events(toy_events):
    """68 % half widths that this method is known to reach: u 3.8, v 2.3, w 5.8 mm."""
    truth = toy_events["uvwTruth"]
    fit = LocalFitter(ideal_geometry()).fit(toy_events["npho"])
    assert fit.is_good.mean() > 0.99
    np.testing.assert_allclose(half_width_mm(fit.uvw_cm - truth), [3.8, 2.3, 5.8], rtol=0.1)
    assert np.median(fit.chi2_per_ndf) == pytest.approx(1.22, abs=0.1)
    bias_mm = 10 * np.median(fit.uvw_cm - truth, axis=0)
    np.testing.assert_allclose(bias_mm, [0, 0, 15], atol=1.5)


def test_wide_window_is_better_for_deep_events(toy_events):
    truth = toy_events["uvwTruth"]
    deep = np.flatnonzero(truth[:, 2] > 12)
    npho = toy_events["npho"][deep]
    both = LocalFitter(ideal_geometry()).fit(npho)
    narrow = LocalFitter(ideal_geometry(), windows=[Window(4)]).fit(npho)
    assert both.is_good.mean() > 0.95
    errors = [half_width_mm(fit.uvw_cm - truth[deep]) for fit in (both, narrow)]
    assert np.all(errors[0] < 0.9 * errors[1])


def test_events_without_light_are_not_good():
    rng = np.random.default_rng(5)
    noise = rng.normal(0, 1 / 0.12, (200, N_SENSORS))
    fit = LocalFitter(ideal_geometry()).fit(noise)
    assert fit.is_good.mean() < 0.05


def test_too_few_sensors_give_nan_without_a_warning():
    npho = light_of(points(3))
    npho[0] = np.nan
    npho[1, 9:N_SIPM] = np.nan
    fit = LocalFitter(ideal_geometry()).fit(npho)
    assert np.isnan(fit.uvw_cm[:2]).all()
    assert np.isnan(fit.scale[:2]).all()
    assert np.isnan(fit.chi2_per_ndf[:2]).all()
    assert fit.is_good.tolist() == [False, False, True]
    assert np.isnan(fit.photons(ideal_geometry())[:2]).all()


def test_events_do_not_depend_on_their_companions(toy_events):
    npho = toy_events["npho"][:70]
    fitter = LocalFitter(ideal_geometry())
    together, alone = fitter.fit(npho), fitter.fit(npho[66:67])
    np.testing.assert_allclose(alone.uvw_cm[0], together.uvw_cm[66], atol=1e-9)
    assert fitter.fit(npho[:0]).uvw_cm.shape == (0, 3)


def test_wrong_shape_is_refused():
    with pytest.raises(ValueError, match=r"npho must have shape \(B, 4760\), got \(2, 4092\)"):
        LocalFitter(ideal_geometry()).fit(np.zeros((2, N_SIPM)))
