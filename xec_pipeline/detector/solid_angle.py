"""Solid angles of the sensors as seen from points in the xenon, as fractions of 4 pi.

A SiPM is four square chips, a photomultiplier (PMT) a disk. Close to a sensor the exact forms are
used, farther away an expansion in the size of the window. A sensor that looks away from the point
has exactly 0.
"""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import elliprf, elliprj

from xec_pipeline.detector.geometry import Geometry
from xec_pipeline.detector.sensors import (
    N_SENSORS,
    N_SIPM,
    PMT_RADIUS_CM,
    SIPM_AREA_CM2,
    SIPM_CHIP_CM,
    SIPM_GAP_CM,
)

FloatArray = NDArray[np.float64]

FOUR_PI: Final = 4 * float(np.pi)
SIPM_SECOND_MOMENT_CM2: Final = ((SIPM_GAP_CM / 2 + SIPM_CHIP_CM) ** 3 - (SIPM_GAP_CM / 2) ** 3) / (
    3 * SIPM_CHIP_CM
)
"""Mean square distance of the active area from the centre along one edge."""

_SIPM_EDGES_CM = np.array(
    [
        -SIPM_GAP_CM / 2 - SIPM_CHIP_CM,
        -SIPM_GAP_CM / 2,
        SIPM_GAP_CM / 2,
        SIPM_GAP_CM / 2 + SIPM_CHIP_CM,
    ]
)
_NEAR_WIDTHS = 24.0
"""Exact within this many r.m.s. widths of the window (SiPM 8.7 cm, PMT 27 cm); the expansion is
then off by less than 1e-4 of the value, even at grazing angles."""
_FAR_AWAY_CM = 900.0
_POINTS_PER_CHUNK = 64
_RIM = 1e-12


def solid_angle_fraction(
    points_cm: ArrayLike, geometry: Geometry, *, pmt_radius_cm: float = PMT_RADIUS_CM
) -> FloatArray:
    """Return the solid angle of every sensor from every point, divided by 4 pi.

    Parameters
    ----------
    points_cm
        Points in the laboratory, shape (P, 3).
    geometry
        Sensor positions and orientations.
    pmt_radius_cm
        Radius of the photocathodes.

    Returns
    -------
    ndarray
        Shape (P, 4760), float64. A row is NaN if its point is not finite or has a coordinate
        beyond 900 cm, which marks a failed reconstruction.

    Raises
    ------
    ValueError
        If `points_cm` is not of shape (P, 3).

    Notes
    -----
    Work is done for 64 points at a time, so the memory needed beside the result is about 20 MB.
    """
    points = np.asarray(points_cm, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 3:
        raise ValueError(f"points must have shape (P, 3), got {points.shape}")
    fraction = np.full((len(points), N_SENSORS), np.nan)
    usable = np.flatnonzero((np.abs(points) <= _FAR_AWAY_CM).all(axis=1))
    for start in range(0, usable.size, _POINTS_PER_CHUNK):
        rows = usable[start : start + _POINTS_PER_CHUNK]
        fraction[rows] = _fraction_of_chunk(points[rows], geometry, pmt_radius_cm)
    return fraction


def rectangles_fraction(
    foot_u_cm: FloatArray,
    foot_v_cm: FloatArray,
    height_cm: FloatArray,
    *,
    u_edges_cm: ArrayLike,
    v_edges_cm: ArrayLike,
) -> FloatArray:
    """Return the exact solid angle, over 4 pi, of rectangular windows in one plane.

    Parameters
    ----------
    foot_u_cm, foot_v_cm
        Foot of the perpendicular from the point to the plane, in the window's frame; shape (N,).
    height_cm
        Height of the point above the plane, positive in front; shape (N,).
    u_edges_cm, v_edges_cm
        Where the windows begin and end along u and along v: begin, end, begin, end, ...

    Returns
    -------
    ndarray
        Shape (N,); 0 where the height is not positive.

    Notes
    -----
    A corner at (a, b) from the foot contributes +-atan(a b / (h sqrt(a^2 + b^2 + h^2))).
    """
    a = np.asarray(u_edges_cm)[:, None] - np.asarray(foot_u_cm)[:, None, None]
    b = np.asarray(v_edges_cm)[None, :] - np.asarray(foot_v_cm)[:, None, None]
    h = np.asarray(height_cm)[:, None, None]
    corner = np.arctan2(a * b, h * np.sqrt(a**2 + b**2 + h**2))
    signs = np.outer(_edge_signs(a.shape[1]), _edge_signs(b.shape[2]))
    omega = np.einsum("nij,ij->n", corner, signs)
    return np.where(np.asarray(height_cm) > 0, omega / FOUR_PI, 0.0)


def sipm_fraction(
    foot_u_cm: FloatArray, foot_v_cm: FloatArray, height_cm: FloatArray
) -> FloatArray:
    """Return the exact solid angle, over 4 pi, of a SiPM's four chips.

    Arguments as in `rectangles_fraction`, with the frame's origin at the sensor's centre.
    """
    return rectangles_fraction(
        foot_u_cm, foot_v_cm, height_cm, u_edges_cm=_SIPM_EDGES_CM, v_edges_cm=_SIPM_EDGES_CM
    )


def sipm_fraction_and_gradient(
    foot_u_cm: FloatArray, foot_v_cm: FloatArray, height_cm: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return the exact solid angle of a SiPM's four chips, over 4 pi, and its derivatives.

    Parameters
    ----------
    foot_u_cm, foot_v_cm, height_cm
        As in `sipm_fraction`, any shape (...).

    Returns
    -------
    fraction, gradient
        Shapes (...) and (3, ...): derivatives by foot_u, foot_v and height [1/cm]. All are 0 where
        the height is not positive.

    Notes
    -----
    The corner's atan(a b / (h r)) with r = sqrt(a^2 + b^2 + h^2) has the derivatives
    b h / ((a^2 + h^2) r), the like for b, and -(a b / r) (1 / (a^2 + h^2) + 1 / (b^2 + h^2)).
    """
    column = (slice(None), *(None,) * np.ndim(height_cm))
    edges, signs = _SIPM_EDGES_CM[column], _edge_signs(len(_SIPM_EDGES_CM))[column]
    visible = height_cm > 0
    # A stand-in height keeps the points behind the sensor finite; they are set to 0 at the end.
    h = np.where(visible, height_cm, 1.0)
    a, b = edges - foot_u_cm, edges - foot_v_cm
    from_a, from_b = a**2 + h**2, b**2 + h**2
    inverse = 1.0 / np.sqrt(from_a[:, None] + b[None] ** 2)
    signed_a, signed_b = signs * a, signs * b
    corner = np.arctan(signed_a[:, None] * signed_b[None] * inverse / h)
    over_b, over_a = (inverse * signed_b[None]).sum(1), (inverse * signed_a[:, None]).sum(0)
    by_a, by_b = signs * over_b / from_a, signs * over_a / from_b
    fraction = corner.sum((0, 1))
    gradient = np.stack(
        [-h * by_a.sum(0), -h * by_b.sum(0), -(a * by_a).sum(0) - (b * by_b).sum(0)]
    )
    scale = np.where(visible, 1 / FOUR_PI, 0.0)
    return fraction * scale, gradient * scale


def disk_fraction(
    radial_cm: FloatArray, height_cm: FloatArray, radius_cm: float = PMT_RADIUS_CM
) -> FloatArray:
    """Return the exact solid angle, over 4 pi, of a disk.

    Parameters
    ----------
    radial_cm
        Distance of the foot of the perpendicular from the disk's centre, shape (N,).
    height_cm
        Height of the point above the disk's plane, positive in front; shape (N,).
    radius_cm
        Radius of the disk.

    Returns
    -------
    ndarray
        Shape (N,); 0 where the height is not positive.

    Notes
    -----
    F. Paxton, Rev. Sci. Instrum. 30 (1959) 254, with the complete elliptic integrals K and Pi in
    Carlson's symmetric forms. Above the rim Pi diverges while its factor vanishes; the limit
    pi - 2 (h / r_max) K is taken there.
    """
    radial, height = np.broadcast_arrays(np.asarray(radial_cm), np.asarray(height_cm))
    # A stand-in height keeps the points behind the disk finite; they are set to 0 at the end.
    h = np.where(height > 0, height, radius_cm)
    offset, total = radial - radius_cm, radial + radius_cm
    farthest = np.hypot(h, total)
    complement = (h**2 + offset**2) / farthest**2
    on_rim = np.abs(offset) < _RIM * radius_cm
    ratio = np.where(on_rim, 1.0, offset / total)
    first = elliprf(0.0, complement, 1.0)
    # Pi(n, k) = K + n/3 R_J(0, 1 - k^2, 1, 1 - n) with 1 - n = (offset / total)^2
    third = first + (1 - ratio**2) / 3 * elliprj(0.0, complement, 1.0, ratio**2)
    curved = 2 * h / farthest * np.where(on_rim, -first, ratio * third - first)
    plain = np.where(on_rim, np.pi, np.where(offset < 0, 2 * np.pi, 0.0))
    return np.where(height > 0, np.clip((plain + curved) / FOUR_PI, 0.0, 0.5), 0.0)


def far_field_fraction(
    distance_sq_cm2: FloatArray,
    height_cm: FloatArray,
    *,
    area_cm2: float | FloatArray,
    second_moment_cm2: float | FloatArray,
) -> FloatArray:
    """Return the solid angle, over 4 pi, of a small flat window, to second order in its size.

    Parameters
    ----------
    distance_sq_cm2, height_cm
        Squared distance to the window's centre and height above its plane; shapes that broadcast.
    area_cm2, second_moment_cm2
        Sensitive area, and its mean square distance from the centre along one axis.

    Returns
    -------
    ndarray
        0 where the height is not positive.

    Notes
    -----
    A h / (4 pi d^3) (1 + 4.5 x (1 - c^2)) / (1 + 3 x c^2) with c = h / d and x = moment / d^2.
    """
    inverse = 1.0 / distance_sq_cm2
    x = second_moment_cm2 * inverse
    cosine_sq = height_cm**2 * inverse
    fraction = np.maximum(height_cm, 0.0) * inverse * np.sqrt(inverse)
    fraction *= area_cm2 / FOUR_PI
    fraction *= 1 + 4.5 * x * (1 - cosine_sq)
    fraction /= 1 + 3 * x * cosine_sq
    return fraction


def far_field_fraction_and_gradient(
    distance_sq_cm2: FloatArray,
    height_cm: FloatArray,
    *,
    area_cm2: float | FloatArray,
    second_moment_cm2: float | FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """Return `far_field_fraction` and its derivatives.

    Parameters
    ----------
    distance_sq_cm2, height_cm, area_cm2, second_moment_cm2
        As in `far_field_fraction`.

    Returns
    -------
    fraction, gradient
        Shapes (...) and (2, ...): derivatives by the squared distance [1/cm2] and by the height
        [1/cm]. All are 0 where the height is not positive.
    """
    visible = height_cm > 0
    # A stand-in height keeps the points behind the window finite; they are set to 0 at the end.
    h, q, m = np.where(visible, height_cm, 1.0), distance_sq_cm2, second_moment_cm2
    fraction = far_field_fraction(q, h, area_cm2=area_cm2, second_moment_cm2=m)
    tilt = m * h**2 / q**2
    top, below = 1 + 4.5 * (m / q - tilt), 1 + 3 * tilt
    by_distance = -1.5 / q + (9 * tilt - 4.5 * m / q) / (q * top) + 6 * tilt / (q * below)
    by_height = 1 / h - tilt / h * (9 / top + 6 / below)
    gradient = fraction * np.stack([by_distance, by_height])
    return np.where(visible, fraction, 0.0), np.where(visible, gradient, 0.0)


def _edge_signs(count: int) -> FloatArray:
    return np.where(np.arange(count) % 2, 1.0, -1.0)


def _fraction_of_chunk(
    points_cm: FloatArray, geometry: Geometry, pmt_radius_cm: float
) -> FloatArray:
    # Matrix products instead of (P, 4760, 3) differences; what they lose to cancellation matters
    # only close to a sensor, where the exact forms take over with true differences.
    position, normal = geometry.position_cm, geometry.normal
    height = points_cm @ normal.T - np.einsum("ij,ij->i", position, normal)
    distance_sq = -2 * points_cm @ position.T
    distance_sq += np.einsum("ij,ij->i", position, position)
    distance_sq += np.einsum("ij,ij->i", points_cm, points_cm)[:, None]
    area, moment = _windows(pmt_radius_cm)
    near = distance_sq < _NEAR_WIDTHS**2 * moment
    np.maximum(distance_sq, moment, out=distance_sq)
    fraction = far_field_fraction(distance_sq, height, area_cm2=area, second_moment_cm2=moment)
    rows, ids = np.nonzero(near)
    fraction[rows, ids] = _exact_fraction(points_cm[rows], ids, geometry, pmt_radius_cm)
    return fraction


def _windows(pmt_radius_cm: float) -> tuple[FloatArray, FloatArray]:
    """Return area and second moment of every sensor's window, each of shape (4760,)."""
    area, moment = np.empty(N_SENSORS), np.empty(N_SENSORS)
    area[:N_SIPM], moment[:N_SIPM] = SIPM_AREA_CM2, SIPM_SECOND_MOMENT_CM2
    area[N_SIPM:], moment[N_SIPM:] = np.pi * pmt_radius_cm**2, pmt_radius_cm**2 / 4
    return area, moment


def _exact_fraction(
    points_cm: FloatArray, ids: NDArray[np.int64], geometry: Geometry, pmt_radius_cm: float
) -> FloatArray:
    """Return the exact fraction of point i and sensor ids[i], shape (N,)."""
    offset = points_cm - geometry.position_cm[ids]
    height = np.einsum("ij,ij->i", offset, geometry.normal[ids])
    foot_u = np.einsum("ij,ij->i", offset, geometry.axis_u[ids])
    foot_v = np.einsum("ij,ij->i", offset, geometry.axis_v[ids])
    fraction = np.empty(len(ids))
    sipm = ids < N_SIPM
    fraction[sipm] = sipm_fraction(foot_u[sipm], foot_v[sipm], height[sipm])
    radial = np.hypot(foot_u[~sipm], foot_v[~sipm])
    fraction[~sipm] = disk_fraction(radial, height[~sipm], pmt_radius_cm)
    return fraction
