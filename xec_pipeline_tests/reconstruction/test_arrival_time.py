import numpy as np
import pytest

from xec_pipeline.detector.coordinates import uvw_to_xyz
from xec_pipeline.detector.geometry import ideal_geometry
from xec_pipeline.detector.sensors import N_SIPM
from xec_pipeline.reconstruction.arrival_time import REFRACTIVE_INDEX, mean_light_time

GEOMETRY = ideal_geometry()
POINT = uvw_to_xyz(np.array([[3.0, -10.0, 4.0], [-8.0, 40.0, 12.0]]))
START_NS = np.array([1.5, -2.0])


def shining():
    """Return photons, exact times, and distances of light that started at `START_NS`."""
    distance = np.linalg.norm(GEOMETRY.position_cm - POINT[:, None], axis=2)
    return np.full(distance.shape, 1e4), START_NS[:, None] + REFRACTIVE_INDEX * distance / 29.98


def mean(npho, time_ns):
    return mean_light_time(npho, time_ns, POINT, GEOMETRY)


def test_exact_times_give_the_start():
    np.testing.assert_allclose(mean(*shining()), START_NS, atol=5e-3)


def test_only_bright_near_and_timed_sensors_count():
    npho, time_ns = shining()
    far = np.linalg.norm(GEOMETRY.position_cm - POINT[:, None], axis=2) > 12.0
    far[:, N_SIPM:] = False
    time_ns[far] += 10.0
    npho[:, :200], time_ns[:, :200] = 300.0, -50.0  # 36 photo-electrons
    npho[:, 4500:4550] = np.nan
    time_ns[:, 4500:4600], time_ns[:, 4600:4700] = np.nan, 1e10
    np.testing.assert_allclose(mean(npho, time_ns), START_NS, atol=5e-3)


def test_sensors_with_more_light_weigh_more():
    npho, time_ns = shining()
    npho[:], ids = 0.0, [4100, 4101]
    npho[:, ids] = 1e3, 1e5
    time_ns[:, 4101] += 1.0
    shift = mean(npho, time_ns) - START_NS
    weight = 1 / (49 / (0.16 * npho[0, ids]) + 0.35**2)
    np.testing.assert_allclose(shift, weight[1] / weight.sum(), atol=5e-3)


@pytest.mark.parametrize("npho", [0.0, np.nan])
def test_no_light_is_nan_without_a_warning(npho):
    _, time_ns = shining()
    assert np.isnan(mean(np.full_like(time_ns, npho), time_ns)).all()


def test_no_point_is_nan():
    npho, time_ns = shining()
    assert np.isnan(mean_light_time(npho, time_ns, np.full((2, 3), np.nan), GEOMETRY)).all()
