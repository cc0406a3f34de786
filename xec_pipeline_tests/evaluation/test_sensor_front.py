import numpy as np
import pytest

from xec_pipeline.detector.coordinates import xyz_to_uvw
from xec_pipeline.detector.geometry import ideal_geometry
from xec_pipeline.evaluation.sensor_front import mask_of, sensor_in_front


@pytest.fixture(scope="module")
def geometry():
    return ideal_geometry()


def uvw_before(geometry, sensor, depth, du=0.0, dv=0.0):
    place = xyz_to_uvw(geometry.position_cm[[sensor]])[0]
    return [place[0] + du, place[1] + dv, depth]


def test_the_sensor_in_front_is_found(geometry):
    events = [uvw_before(geometry, number, 0.5, 0.3, -0.4) for number in (0, 2046, 4091)]
    assert sensor_in_front(np.array(events), geometry).tolist() == [0, 2046, 4091]


@pytest.mark.parametrize(
    ("depth", "du"), [(0.0, 0.0), (-0.1, 0.0), (1.0, 0.0), (5.0, 0.0), (0.5, 0.6), (np.nan, 0.0)]
)
def test_too_deep_or_between_sensors_there_is_none(geometry, depth, du):
    event = np.array([uvw_before(geometry, 2046, depth, du)])
    assert sensor_in_front(event, geometry).tolist() == [-1]


def test_of_two_sensors_the_nearer_is_taken(geometry):
    first, second = (uvw_before(geometry, number, 0.5) for number in (2046, 2047))
    between = 0.55 * np.array(first) + 0.45 * np.array(second)
    found = sensor_in_front(between[None], geometry, max_distance_cm=2.0)
    assert found.tolist() == [2046]


def test_mask_hides_one_sensor_or_none():
    is_masked = mask_of(np.array([7, -1]))
    assert np.flatnonzero(is_masked[0]).tolist() == [7]
    assert not is_masked[1].any()
