"""Neighbours against brute force and published counts."""

import numpy as np
import pytest

from xec_pipeline.detector.faces import Face, face_of_sensor, sensors_of_face
from xec_pipeline.detector.geometry import ideal_geometry
from xec_pipeline.detector.neighbours import nearest_neighbours, neighbours_within
from xec_pipeline.detector.sensors import N_SENSORS

SAMPLE = [0, 2046, 4091, 4195, 4310, 4600, 4742]


def distances_from(sensor):
    position = ideal_geometry().position_cm
    return np.linalg.norm(position - position[sensor], axis=1)


@pytest.mark.golden
def test_published_counts_on_the_same_face():
    found = neighbours_within(ideal_geometry(), 20.0, same_face=True)
    assert [len(found[i]) for i in (0, 2046, 4195, 4600, 4742)] == [150, 548, 25, 17, 22]


@pytest.mark.parametrize("same_face", [False, True])
def test_radius_against_brute_force(same_face):
    found = neighbours_within(ideal_geometry(), 9.7, same_face=same_face)
    assert len(found) == N_SENSORS
    for sensor in SAMPLE:
        near = distances_from(sensor) <= 9.7
        near[sensor] = False
        if same_face:
            near &= face_of_sensor() == face_of_sensor()[sensor]
        assert np.array_equal(found[sensor], np.flatnonzero(near))


def test_neighbourhood_is_mutual():
    found = neighbours_within(ideal_geometry(), 12.0)
    pairs = {(i, int(j)) for i, ids in enumerate(found) for j in ids}
    assert pairs == {(j, i) for i, j in pairs}


def test_isolated_sensors_have_empty_neighbourhoods():
    found = neighbours_within(ideal_geometry(), 0.5)
    assert all(ids.shape == (0,) and ids.dtype == np.int64 for ids in found)


@pytest.mark.parametrize("same_face", [False, True])
def test_nearest_against_brute_force(same_face):
    ids, distance = nearest_neighbours(ideal_geometry(), 8, same_face=same_face)
    assert ids.shape == distance.shape == (N_SENSORS, 8)
    for sensor in SAMPLE:
        expected = distances_from(sensor)
        expected[sensor] = np.inf
        if same_face:
            expected[face_of_sensor() != face_of_sensor()[sensor]] = np.inf
        assert distance[sensor] == pytest.approx(np.sort(expected)[:8])
        assert expected[ids[sensor]] == pytest.approx(distance[sensor])


def test_equal_distances_come_in_order_of_number():
    ids, _ = nearest_neighbours(ideal_geometry(), 8)
    assert ids[2046].tolist() == [2045, 2047, 2002, 2090, 2001, 2003, 2089, 2091]


def test_nearest_on_the_same_face_stay_there():
    ids, _ = nearest_neighbours(ideal_geometry(), 72, same_face=True)
    top = sensors_of_face(Face.TOP)
    assert np.array_equal(np.sort(ids[top[0]]), top[1:])


def test_radius_must_be_positive():
    with pytest.raises(ValueError, match="radius_cm must be positive, got nan"):
        neighbours_within(ideal_geometry(), float("nan"))


@pytest.mark.parametrize(("count", "same_face", "most"), [(0, False, 4759), (73, True, 72)])
def test_impossible_counts(count, same_face, most):
    with pytest.raises(ValueError, match=f"between 1 and {most}, got {count}"):
        nearest_neighbours(ideal_geometry(), count, same_face=same_face)
