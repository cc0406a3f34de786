"""The hardest sensor to lose: the SiPM in front of the first interaction."""

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.detector.coordinates import xyz_to_uvw
from xec_pipeline.detector.geometry import Geometry
from xec_pipeline.detector.sensors import N_SENSORS, N_SIPM

MAX_DEPTH_CM = 1.0
"""First interactions at this depth or deeper light up many sensors alike."""
MAX_DISTANCE_CM = 0.5
"""Largest |u| and |v| distance between first interaction and sensor."""


def sensor_in_front(
    uvw_cm: NDArray[np.floating],
    geometry: Geometry,
    *,
    max_depth_cm: float = MAX_DEPTH_CM,
    max_distance_cm: float = MAX_DISTANCE_CM,
) -> NDArray[np.int64]:
    """Return for each event the inner sensor in front of the first interaction, or -1.

    Parameters
    ----------
    uvw_cm
        True first interactions (B, 3); NaN where not known.
    geometry
        Sensor positions.
    max_depth_cm, max_distance_cm
        An event counts if 0 < w < max_depth and if |u - u_s| and |v - v_s| of a sensor are both
        below max_distance; of several such sensors the nearest.
    """
    sensors = xyz_to_uvw(geometry.position_cm[:N_SIPM])[:, :2]
    found = np.full(len(uvw_cm), -1, dtype=np.int64)
    depth = uvw_cm[:, 2]
    for event in np.flatnonzero((depth > 0) & (depth < max_depth_cm)):
        offset = np.abs(sensors - uvw_cm[event, :2])
        near = np.flatnonzero((offset < max_distance_cm).all(axis=1))
        if len(near):
            found[event] = near[np.argmin(np.square(offset[near]).sum(axis=1))]
    return found


def mask_of(sensor: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return the mask (B, 4760) that hides one sensor of each event, none where it is -1."""
    is_hidden: NDArray[np.bool_] = sensor[:, None] == np.arange(N_SENSORS)
    return is_hidden
