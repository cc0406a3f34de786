import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.colors import to_rgba

from xec_pipeline.evaluation.display.scales import (
    NO_VALUE,
    number,
    photon_scale,
    residual_scale,
    time_scale,
)

NAN = np.float32(np.nan)


def test_photons_at_or_below_zero_have_the_lowest_colour():
    values = np.array([-5, 0, 1, 10, 100, 1000, NAN], dtype="f4")
    scale = photon_scale(values)
    colours = scale.colours(values)
    lowest, highest = colormaps["viridis"](0.0), colormaps["viridis"](1.0)
    np.testing.assert_allclose(colours[0], lowest)
    np.testing.assert_allclose(colours[1], lowest)
    np.testing.assert_allclose(colours[5], highest)
    np.testing.assert_allclose(colours[6], to_rgba(NO_VALUE))
    # Equal ratios have equal distances.
    np.testing.assert_allclose(scale.norm()(10.0), 1 / 3, atol=0.02)
    assert "2 of them at 0 or less" in scale.note


def test_one_hot_sensor_does_not_take_all_colours():
    rng = np.random.default_rng(0)
    values = rng.uniform(5, 500, 4760)
    values[17] = 1e8
    scale = photon_scale(values)
    assert scale.high < 10_000
    assert "1 above have the highest" in scale.note
    assert scale.extends(values) == "both"
    assert scale.extends(np.array([1e8])) == "max"


@pytest.mark.parametrize("values", [[], [np.nan], [-3.0, 0.0], [7.0], [1e-3, 2e-3], [4.0] * 9])
def test_photon_scale_of_odd_events_is_a_range(values):
    scale = photon_scale(np.array(values, dtype="f4"))
    assert 0 < scale.low < scale.high < np.inf
    assert np.isfinite(scale.colours(np.array(values, dtype="f4"))).all()
    assert scale.note


@pytest.mark.parametrize("values", [[], [np.nan], [2.0], [2.0, 2.0], [-1.0, 5.0]])
def test_time_and_residual_scales_of_odd_events_are_ranges(values):
    for scale in (time_scale(np.array(values)), residual_scale(np.array(values), "x")):
        assert -np.inf < scale.low < scale.high < np.inf
        assert np.isfinite(scale.colours(np.array(values))).all()


def test_times_are_spread_over_the_middle_96_percent():
    scale = time_scale(np.linspace(0, 100, 1001))
    assert (scale.low, scale.high) == pytest.approx((2, 98))
    assert "2 to 98 ns" in scale.note
    assert scale.extends(np.array([0.0, 100.0])) == "both"


def test_residuals_are_symmetric_and_zero_is_in_the_middle():
    scale = residual_scale(np.array([-3.0, 1.0, np.nan]), "x")
    assert scale.low == -scale.high
    assert scale.norm()(0.0) == 0.5


def test_numbers_have_no_exponent():
    assert (number(8391.6), number(7.2177e5), number(0.4567)) == ("8,392", "721,770", "0.457")
