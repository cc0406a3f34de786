"""Time of the light from the times of the sensors, each minus the way of the light to it.

Shapes: B events.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.data.schema import NPHE_FOR_TIME, is_valid
from xec_pipeline.detector.geometry import Geometry
from xec_pipeline.detector.sensors import N_SENSORS, is_sipm
from xec_pipeline.units import SPEED_OF_LIGHT_CM_PER_NS

Values = NDArray[np.float64]

REFRACTIVE_INDEX: Final = 1.61
"""Speed of light over that of scintillation light in xenon."""
DETECTION_EFFICIENCY: Final = (0.12, 0.16)
"""Nominal photo-electrons per photon of SiPMs and PMTs."""
TIME_NOISE_NS: Final = 7.0
"""Time spread of one photo-electron; it falls as one over the root of their number."""
TIME_FLOOR_NS: Final = 0.35
"""Time spread of a sensor with much light."""
SIPM_REACH_CM: Final = 12.0
"""SiPMs farther away see mostly light that did not come straight."""


def mean_light_time(
    npho: NDArray[np.floating], time_ns: NDArray[np.floating], point_cm: Values, geometry: Geometry
) -> Values:
    """Return when points shone, on the scale of `time_ns`.

    Parameters
    ----------
    npho, time_ns
        Photons and times of the sensors, shape (B, 4760); NaN or 1e10 where there is none.
    point_cm
        Where the light comes from, in the laboratory, shape (B, 3).
    geometry
        Sensor positions.

    Returns
    -------
    ndarray
        Mean of the times minus n d / c, weighted with their inverse variances [ns], shape (B,).
        Only sensors with more than 50 photo-electrons count, and of the SiPMs those within 12 cm;
        NaN if there is none, or no point.
    """
    sipm = is_sipm(np.arange(N_SENSORS))
    photoelectrons = npho * np.where(sipm, *DETECTION_EFFICIENCY)
    distance = _distance(point_cm, geometry.position_cm)
    used = is_valid(npho) & is_valid(time_ns) & (photoelectrons > NPHE_FOR_TIME)
    used &= ~sipm | (distance < SIPM_REACH_CM)
    charge = np.where(used, photoelectrons, 1.0)
    weight = np.where(used, 1.0 / (TIME_NOISE_NS**2 / charge + TIME_FLOOR_NS**2), 0.0)
    start = np.where(used, time_ns - REFRACTIVE_INDEX / SPEED_OF_LIGHT_CM_PER_NS * distance, 0.0)
    total = weight.sum(axis=1)
    mean = np.full(len(total), np.nan)
    np.divide((weight * start).sum(axis=1), total, out=mean, where=total > 0)
    return mean


def _distance(point_cm: Values, position_cm: Values) -> Values:
    """Return the distance of points from sensors, shape (B, 4760)."""
    square = -2 * point_cm @ position_cm.T
    square += (point_cm**2).sum(axis=1)[:, None] + (position_cm**2).sum(axis=1)
    distance: Values = np.sqrt(np.maximum(square, 0.0))
    return distance
