"""Solid angles of all sensors: exact near the sensors only, beside exact everywhere."""

import time

import numpy as np

from xec_pipeline.detector.coordinates import uvw_to_xyz
from xec_pipeline.detector.geometry import Geometry, aligned_geometry
from xec_pipeline.detector.sensors import N_SIPM
from xec_pipeline.detector.solid_angle import disk_fraction, sipm_fraction, solid_angle_fraction


def run() -> dict[str, float]:
    """Return milliseconds per point and the largest difference of the two."""
    rng = np.random.default_rng(11)
    uvw = rng.uniform([-23.9, -67.9, 0.1], [23.9, 67.9, 30.0], size=(256, 3))
    points, geometry = uvw_to_xyz(uvw), aligned_geometry()
    mixed, mixed_ms = _timed(solid_angle_fraction, points, geometry)
    exact, exact_ms = _timed(_exact_everywhere, points[:32], geometry)
    return {
        "near exact, far expanded, ms per point": mixed_ms,
        "exact everywhere, ms per point": exact_ms,
        "ratio": exact_ms / mixed_ms,
        "largest absolute difference": float(np.abs(mixed[:32] - exact).max()),
    }


def _timed(function, points, geometry):
    function(points[:2], geometry)
    start = time.perf_counter()
    result = function(points, geometry)
    return result, 1e3 * (time.perf_counter() - start) / len(points)


def _exact_everywhere(points: np.ndarray, geometry: Geometry) -> np.ndarray:
    rows = []
    for point in points:
        offset = point - geometry.position_cm
        height = np.einsum("ij,ij->i", offset, geometry.normal)
        u = np.einsum("ij,ij->i", offset, geometry.axis_u)
        v = np.einsum("ij,ij->i", offset, geometry.axis_v)
        sipm = sipm_fraction(u[:N_SIPM], v[:N_SIPM], height[:N_SIPM])
        pmt = disk_fraction(np.hypot(u, v)[N_SIPM:], height[N_SIPM:])
        rows.append(np.concatenate([sipm, pmt]))
    return np.stack(rows)
