"""The four schemes against numbers worked out by hand."""

import math

import numpy as np
import pytest

from xec_pipeline.config.normalization import NormalizationConfig
from xec_pipeline.data.normalization import Normalization


def f32(values):
    return np.array(values, dtype=np.float32)


BREAK, DEAD = 0.0, -1.0
COUNTS = [-1500, -999, -10, -0.3, 0, 50, 100, 1000, 20000, 150000, 600000, 1e10, math.nan]
SCHEMES = {
    ("log1p", 1000, 4.08): [
        *(BREAK, -1.6931, -0.0025, -0.0001, 0, 0.0120, 0.0234, 0.1699, 0.7462, 1.2297, 1.5683),
        *(DEAD, DEAD),
    ],
    ("anscombe", 1000, 1): [
        *(BREAK, BREAK, BREAK, 0.0087, 0.0194, 0.2244, 0.3168, 1.0, 4.4713, 12.2452, 24.4903),
        *(DEAD, DEAD),
    ],
    ("sqrt", 1000, 1): [
        *(BREAK, BREAK, BREAK, BREAK, 0, 0.2236, 0.3162, 1.0, 4.4721, 12.2474, 24.4949),
        *(DEAD, DEAD),
    ],
    ("sqrt", 20000, 1): [
        *(BREAK, BREAK, BREAK, BREAK, 0, 0.05, 0.0707, 0.2236, 1.0, 2.7386, 5.4772),
        *(DEAD, DEAD),
    ],
    ("linear", 1000, 1): [
        *(-1.5, -0.999, -0.01, -0.0003, 0, 0.05, 0.1, 1.0, 20.0, 150.0, 600.0),
        *(DEAD, DEAD),
    ],
    ("log1p", 0.58, 1): [
        *(BREAK, BREAK, BREAK, -0.7282, 0, 4.4683, 5.1557, 7.4531, 10.4482, 12.4631, 13.8494),
        *(DEAD, DEAD),
    ],
}
TIMES = [-1.6644e-7, -5e-8, 0, 1e-9, 5e-9, 1e-8, 1e-7, 1e10]
TIME_SETS = {
    (1.14e-7, -0.46): [-1.0, 0.02140, 0.46, 0.46877, 0.50386, 0.54772, 1.33719, -1],
    (6.5e-8, 0.5): [-3.06062, -1.26923, -0.5, -0.48462, -0.42308, -0.34615, 1.03846, -1],
}


def normalization(scheme="sqrt", scale=20000.0, scale2=1.0, **options):
    config = NormalizationConfig(
        npho_scheme=scheme, npho_scale=scale, npho_scale2=scale2, **options
    )
    return Normalization(config)


@pytest.mark.golden
@pytest.mark.parametrize(("scheme", "scale", "scale2"), SCHEMES)
def test_counts(scheme, scale, scale2):
    npho = np.array([COUNTS], dtype=np.float32)
    x = normalization(scheme, scale, scale2).normalize(npho, np.zeros_like(npho))
    np.testing.assert_allclose(x[0, :, 0], SCHEMES[scheme, scale, scale2], atol=5.1e-5)


@pytest.mark.golden
@pytest.mark.parametrize(("scale", "shift"), TIME_SETS)
def test_times(scale, shift):
    time_s = np.array([TIMES], dtype=np.float32)
    x = normalization(time_scale=scale, time_shift=shift).normalize(
        np.full_like(time_s, 500.0), time_s
    )
    np.testing.assert_allclose(x[0, :, 1], TIME_SETS[scale, shift], atol=1.2e-5)


@pytest.mark.parametrize(("scheme", "scale", "scale2"), SCHEMES)
def test_inverse_returns_the_count(scheme, scale, scale2):
    norm = normalization(scheme, scale, scale2)
    npho = np.geomspace(1, 6e5, 500)
    back = norm.inverse_npho(norm.forward_npho(npho))
    np.testing.assert_allclose(back, npho, rtol=1e-5)
    low = np.linspace(max(norm.domain_min, -500), 1, 50)
    np.testing.assert_allclose(norm.inverse_npho(norm.forward_npho(low)), low, atol=1e-3)


@pytest.mark.parametrize(("scale", "shift"), TIME_SETS)
def test_inverse_returns_the_time(scale, shift):
    norm = normalization(time_scale=scale, time_shift=shift)
    time_s = np.linspace(-5e-8, 2e-7, 101)
    np.testing.assert_allclose(norm.inverse_time(norm.forward_time(time_s)), time_s, atol=2e-14)


def test_every_value_that_is_not_finite_is_dead():
    npho = f32([[np.nan, np.inf, -np.inf, 1e10, -1e10, 9.1e9]])
    for scheme in ("log1p", "anscombe", "sqrt", "linear"):
        x = normalization(scheme, 1000).normalize(npho, np.zeros_like(npho))
        np.testing.assert_array_equal(x, -np.ones_like(x))


def test_a_time_needs_light_a_living_sensor_and_a_value():
    npho = f32([[100, np.nextafter(np.float32(100), 0), 500, 500, 500, np.nan]])
    time_s = f32([[0, 0, 0, 1e10, np.nan, 0]])
    x = normalization().normalize(npho, time_s)
    assert (x[0, :, 1] != -1).tolist() == [True, False, True, False, False, False]


def test_sentinels_are_as_configured():
    npho, time_s = f32([[np.nan, 5.0]]), f32([[0.0, 0.0]])
    x = normalization(sentinel_npho=-2.0, sentinel_time=-3.0).normalize(npho, time_s)
    assert x[0].tolist()[0] == [-2.0, -3.0]
    assert x[0, 1, 1] == -3.0


@pytest.mark.parametrize(
    ("scheme", "npho", "time_s"),
    [("linear", -1000.0, 0.0), ("sqrt", 500.0, -1.6644e-7), ("log1p", -983.09, 0.0)],
)
def test_a_value_that_equals_its_sentinel_stays_usable(scheme, npho, time_s):
    norm = normalization(scheme, 1000, 4.08)
    counts, times = f32([[npho]]), f32([[time_s]])
    x = norm.normalize(counts, times)[0, 0]
    assert min(abs(x + 1)) < 2e-4
    usable = norm.usable(counts, times)
    assert usable.npho.all()
    assert usable.time.all() == (npho >= 100)


def test_negative_counts_survive_only_log_and_linear():
    pedestal = f32([[-40.0, -5.0]])
    for scheme, kept in (("log1p", True), ("linear", True), ("sqrt", False), ("anscombe", False)):
        x = normalization(scheme, 1000, 4.08).normalize(pedestal, pedestal)
        assert (x[..., 0] < 0).all() == kept
