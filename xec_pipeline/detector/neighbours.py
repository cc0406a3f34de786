"""Neighbours of sensors by distance in space. A sensor is not its own neighbour."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from xec_pipeline.detector.faces import Face, face_of_sensor, sensors_of_face
from xec_pipeline.detector.geometry import Geometry
from xec_pipeline.detector.sensors import N_SENSORS

_SPARE_CANDIDATES = 16
_TIE_DECIMALS = 6


def neighbours_within(
    geometry: Geometry, radius_cm: float, *, same_face: bool = False
) -> list[NDArray[np.int64]]:
    """Return for every sensor the numbers of those at most `radius_cm` away, ascending.

    Parameters
    ----------
    geometry
        Sensor positions.
    radius_cm
        Largest distance, straight through the xenon.
    same_face
        Leave out sensors on other faces.

    Returns
    -------
    list of ndarray
        4760 arrays of sensor numbers, of different lengths.

    Raises
    ------
    ValueError
        If `radius_cm` is not positive.
    """
    if not radius_cm > 0:
        raise ValueError(f"radius_cm must be positive, got {radius_cm}")
    tree = cKDTree(geometry.position_cm)
    found = tree.query_ball_point(geometry.position_cm, radius_cm, return_sorted=True)
    face = face_of_sensor()
    neighbours = []
    for sensor, entry in enumerate(found):
        ids = np.asarray(entry, dtype=np.int64)
        keep = ids != sensor
        if same_face:
            keep &= face[ids] == face[sensor]
        neighbours.append(ids[keep])
    return neighbours


def nearest_neighbours(
    geometry: Geometry, count: int, *, same_face: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the `count` nearest sensors of every sensor, nearest first.

    Parameters
    ----------
    geometry
        Sensor positions.
    count
        How many; at most 4759, or 72 with `same_face` (the top and bottom faces have 73 sensors).
    same_face
        Leave out sensors on other faces.

    Returns
    -------
    ids, distance_cm
        Sensor numbers and distances, each of shape (4760, count). Sensors at the same distance
        come in ascending order of their numbers.

    Raises
    ------
    ValueError
        If there are not so many neighbours.
    """
    groups = [sensors_of_face(face) for face in Face] if same_face else [np.arange(N_SENSORS)]
    most = min(len(group) for group in groups) - 1
    if not 1 <= count <= most:
        raise ValueError(f"count must be between 1 and {most}, got {count}")
    ids = np.empty((N_SENSORS, count), dtype=np.int64)
    distance = np.empty((N_SENSORS, count))
    for group in groups:
        local, distance[group] = _nearest_in(geometry.position_cm[group], count)
        ids[group] = group[local]
    return ids, distance


def _nearest_in(
    position_cm: NDArray[np.float64], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return indices into `position_cm` and distances of the `count` nearest other points."""
    candidates = min(count + 1 + _SPARE_CANDIDATES, len(position_cm))
    found, index = cKDTree(position_cm).query(position_cm, k=candidates)
    distance = np.asarray(found)
    distance[index == np.arange(len(position_cm))[:, None]] = -1.0
    # On a regular grid many distances are equal up to rounding; the number decides among them.
    order = np.lexsort((index, np.round(distance, _TIE_DECIMALS)), axis=1)[:, 1 : count + 1]
    nearest = np.take_along_axis(index, order, axis=1).astype(np.int64)
    return nearest, np.take_along_axis(distance, order, axis=1)
