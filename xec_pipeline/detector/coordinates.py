"""Detector coordinates and directions.

Laboratory: z along the beam (downstream), y up, the calorimeter on the side of negative x; cm.
Detector coordinates on the inner face: u along z, v along the arc (upward), w the depth; cm.
Directions as angles: theta from +z, phi from -x toward +y; degree. All results are float64;
NaN passes through.
"""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

INNER_RADIUS_CM: Final = 64.84 + 0.13
"""Radius of w = 0: the spacer's inner radius plus the height of the SiPM surface above it."""


def xyz_to_uvw(xyz_cm: ArrayLike) -> NDArray[np.float64]:
    """Return detector coordinates of laboratory points.

    Parameters
    ----------
    xyz_cm
        Points, shape (..., 3).

    Returns
    -------
    ndarray
        (u, v, w) in cm, shape (..., 3).

    Raises
    ------
    ValueError
        If the last axis does not have three entries.

    Notes
    -----
    u = z, v = R atan2(y, -x), w = sqrt(x^2 + y^2) - R with R = `INNER_RADIUS_CM`.
    """
    x, y, z = _components(xyz_cm, 3)
    v = INNER_RADIUS_CM * np.arctan2(y, -x)
    return np.stack([z, v, np.hypot(x, y) - INNER_RADIUS_CM], axis=-1)


def uvw_to_xyz(uvw_cm: ArrayLike) -> NDArray[np.float64]:
    """Return laboratory points of detector coordinates; the inverse of `xyz_to_uvw`.

    Parameters
    ----------
    uvw_cm
        (u, v, w), shape (..., 3).

    Returns
    -------
    ndarray
        (x, y, z) in cm, shape (..., 3).

    Raises
    ------
    ValueError
        If the last axis does not have three entries.
    """
    u, v, w = _components(uvw_cm, 3)
    phi, radius = v / INNER_RADIUS_CM, w + INNER_RADIUS_CM
    return np.stack([-radius * np.cos(phi), radius * np.sin(phi), u], axis=-1)


def direction_to_angles_deg(direction: ArrayLike) -> NDArray[np.float64]:
    """Return (theta, phi) in degrees of direction vectors.

    Parameters
    ----------
    direction
        Vectors of any length but zero, shape (..., 3).

    Returns
    -------
    ndarray
        Shape (..., 2): theta = angle to +z in [0, 180], phi = atan2(y, -x) in (-180, 180].

    Raises
    ------
    ValueError
        If the last axis does not have three entries.
    """
    x, y, z = _components(direction, 3)
    theta = np.arctan2(np.hypot(x, y), z)
    angles: NDArray[np.float64] = np.rad2deg(np.stack([theta, np.arctan2(y, -x)], axis=-1))
    return angles


def angles_to_direction(angles_deg: ArrayLike) -> NDArray[np.float64]:
    """Return unit vectors, shape (..., 3), of (theta, phi) in degrees, shape (..., 2).

    Raises
    ------
    ValueError
        If the last axis does not have two entries.
    """
    theta, phi = (np.deg2rad(angle) for angle in _components(angles_deg, 2))
    sin_theta = np.sin(theta)
    return np.stack([-sin_theta * np.cos(phi), sin_theta * np.sin(phi), np.cos(theta)], axis=-1)


def opening_angle_deg(first_deg: ArrayLike, second_deg: ArrayLike) -> NDArray[np.float64]:
    """Return the angle between directions that are given as (theta, phi) in degrees.

    Parameters
    ----------
    first_deg, second_deg
        Angles, shapes (..., 2) that broadcast against each other.

    Returns
    -------
    ndarray
        Opening angle in degrees, 0 to 180, shape (...).

    Raises
    ------
    ValueError
        If a last axis does not have two entries.

    Notes
    -----
    atan2(|a x b|, a.b) keeps its precision at small angles, where arccos(a.b) loses
    half its digits.
    """
    first, second = angles_to_direction(first_deg), angles_to_direction(second_deg)
    sine = np.linalg.norm(np.cross(first, second), axis=-1)
    angle: NDArray[np.float64] = np.rad2deg(np.arctan2(sine, np.sum(first * second, axis=-1)))
    return angle


def wrapped_deg(angle_deg: ArrayLike) -> NDArray[np.float64]:
    """Return angles, or differences of angles, in [-180, 180) degrees; any shape."""
    wrapped: NDArray[np.float64] = (np.asarray(angle_deg, dtype=np.float64) + 180.0) % 360.0 - 180.0
    return wrapped


def _components(values: ArrayLike, count: int) -> tuple[NDArray[np.float64], ...]:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim == 0 or array.shape[-1] != count:
        raise ValueError(f"the last axis must have {count} entries, got shape {array.shape}")
    return tuple(array[..., i] for i in range(count))
