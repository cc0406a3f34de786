"""The detector unfolded on paper: where each sensor and each point of the xenon is drawn.

One looks outward from the target, so +z (downstream) is to the left. Inner face in the middle, top
above, bottom below, downstream to the left, upstream and then outer to the right:

                top
    downstream  inner  upstream  outer
               bottom

Paper coordinates are cm. Lengths along z and along the radius are to scale on every face. On inner,
outer, downstream and upstream, phi runs upward with the scale of the inner face, so that equal phi
is at equal height; the outer face is wider in truth by the ratio of the radii. A top or bottom row
is drawn at its radius, a sensor of the other faces as the cell that it stands in.
"""

import functools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xec_pipeline.detector.coordinates import INNER_RADIUS_CM, xyz_to_uvw
from xec_pipeline.detector.faces import OUTER_CENTER_ROWS, Face, face_of_sensor, sensors_of_face
from xec_pipeline.detector.geometry import (
    CENTER_STEP_DEG,
    CENTER_Z_STEP_CM,
    HEX_COLUMN_STEP_CM,
    HEX_ROW_STEP_CM,
    INNER_COLUMN_STEP_CM,
    INNER_ROW_STEP_DEG,
    OUTER_Z_STEP_CM,
    SIDE_RADIUS_STEP_CM,
    STRIP_STEP_DEG,
    ideal_geometry,
)

Points = NDArray[np.float64]

FACE_TITLES: Final = {
    Face.INNER: "Inner",
    Face.US: "Upstream (z < 0)",
    Face.DS: "Downstream (z > 0)",
    Face.OUTER: "Outer",
    Face.TOP: "Top",
    Face.BOTTOM: "Bottom",
}
GAP_CM: Final = 7.0
"""Between two faces."""
_CM_PER_DEG: Final = INNER_RADIUS_CM * np.pi / 180


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle on paper [cm]."""

    left: float
    right: float
    bottom: float
    top: float

    def holds(self, points: Points) -> NDArray[np.bool_]:
        """Return which points, shape (..., 2), are inside; NaN is not."""
        x, y = points[..., 0], points[..., 1]
        inside: NDArray[np.bool_] = (
            (self.left <= x) & (x <= self.right) & (self.bottom <= y) & (y <= self.top)
        )
        return inside

    def widened(self, margin_cm: float) -> "Box":
        """Return the rectangle with a margin on all sides."""
        return Box(
            left=self.left - margin_cm,
            right=self.right + margin_cm,
            bottom=self.bottom - margin_cm,
            top=self.top + margin_cm,
        )


@functools.cache
def polygons() -> tuple[Points, ...]:
    """Return the corners of all sensors on paper [cm], each of shape (4, 2) or (6, 2)."""
    centers = sensor_centers()
    made: list[Points | None] = [None] * len(centers)
    for face in Face:
        for sensor in sensors_of_face(face):
            made[sensor] = centers[sensor] + _shape(int(sensor), face)
    return tuple(corners for corners in made if corners is not None)


@functools.cache
def sensor_centers() -> Points:
    """Return the centres of all sensors on paper [cm], shape (4760, 2), read-only."""
    uvw = xyz_to_uvw(ideal_geometry().position_cm)
    centers = np.empty((len(uvw), 2))
    for face in Face:
        ids = sensors_of_face(face)
        centers[ids] = on_face(face, uvw[ids])
    centers.setflags(write=False)
    return centers


def on_face(face: Face, uvw_cm: ArrayLike) -> Points:
    """Project points onto a face.

    Inner and outer show z and phi, downstream and upstream radius and phi, top and bottom z and
    radius.

    Parameters
    ----------
    face
        Where to draw.
    uvw_cm
        Points in detector coordinates [cm], shape (..., 3).

    Returns
    -------
    ndarray
        Paper coordinates [cm], shape (..., 2).
    """
    u, v, w = np.moveaxis(np.asarray(uvw_cm, dtype=np.float64), -1, 0)
    x0, y0 = _origin(face)
    if face in {Face.INNER, Face.OUTER}:
        return np.stack([x0 - u, y0 + v], axis=-1)
    if face in {Face.DS, Face.US}:
        sign = -1.0 if face == Face.DS else 1.0
        return np.stack([x0 + sign * w, y0 + v], axis=-1)
    sign = 1.0 if face == Face.TOP else -1.0
    return np.stack([x0 - u, y0 + sign * w], axis=-1)


@functools.cache
def face_box(face: Face) -> Box:
    """Return the smallest rectangle around the sensors of a face."""
    return box_of_sensors(sensors_of_face(face))


def box_of_sensors(ids: Iterable[int] | NDArray[np.integer]) -> Box:
    """Return the smallest rectangle around some sensors."""
    corners = np.concatenate([polygons()[sensor] for sensor in ids])
    (left, bottom), (right, top) = corners.min(axis=0), corners.max(axis=0)
    return Box(left=float(left), right=float(right), bottom=float(bottom), top=float(top))


@functools.cache
def net_box() -> Box:
    """Return the rectangle around all faces with room for their titles."""
    boxes = [face_box(face) for face in Face]
    return Box(
        left=min(box.left for box in boxes) - 1.0,
        right=max(box.right for box in boxes) + 1.0,
        bottom=min(box.bottom for box in boxes) - 1.0,
        top=max(box.top for box in boxes) + GAP_CM,
    )


@functools.cache
def _origin(face: Face) -> tuple[float, float]:
    """Return where u = v = w = 0 of a face is drawn [cm]."""
    half_width, half_height = 22 * INNER_COLUMN_STEP_CM, 46.5 * INNER_ROW_STEP_DEG * _CM_PER_DEG
    # What lies between w = 0 and the edge of the face: its first row less half a pitch.
    uvw = xyz_to_uvw(ideal_geometry().position_cm)
    side_edge = float(uvw[sensors_of_face(Face.DS), 2].min()) - SIDE_RADIUS_STEP_CM / 2
    hex_edge = float(uvw[sensors_of_face(Face.TOP), 2].min()) - 2 / 3 * HEX_ROW_STEP_CM
    side = half_width + GAP_CM - side_edge
    above = half_height + GAP_CM - hex_edge
    outer = half_width + GAP_CM + 6 * SIDE_RADIUS_STEP_CM + GAP_CM + 4.5 * OUTER_Z_STEP_CM
    return {
        Face.INNER: (0.0, 0.0),
        Face.DS: (-side, 0.0),
        Face.US: (side, 0.0),
        Face.OUTER: (outer, 0.0),
        Face.TOP: (0.0, above),
        Face.BOTTOM: (0.0, -above),
    }[face]


def _shape(sensor: int, face: Face) -> Points:
    """Return the corners of a sensor about its centre [cm]."""
    if face in {Face.TOP, Face.BOTTOM}:
        return _hexagon(HEX_COLUMN_STEP_CM, HEX_ROW_STEP_CM)
    if face == Face.INNER:
        return _rectangle(INNER_COLUMN_STEP_CM, INNER_ROW_STEP_DEG)
    if face in {Face.US, Face.DS}:
        return _rectangle(SIDE_RADIUS_STEP_CM, STRIP_STEP_DEG)
    if sensor in _center_sensors():
        return _rectangle(CENTER_Z_STEP_CM, CENTER_STEP_DEG)
    return _rectangle(OUTER_Z_STEP_CM, STRIP_STEP_DEG)


@functools.cache
def _center_sensors() -> frozenset[int]:
    return frozenset(sensor for row in OUTER_CENTER_ROWS for sensor in row)


def _rectangle(width_cm: float, height_deg: float) -> Points:
    half = np.array([width_cm, height_deg * _CM_PER_DEG]) / 2
    return np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half


def _hexagon(column_step_cm: float, row_step_cm: float) -> Points:
    """Return the hexagon that tiles rows displaced by half a column."""
    x, shoulder, tip = column_step_cm / 2, row_step_cm / 3, row_step_cm * 2 / 3
    right = [[0, -tip], [x, -shoulder], [x, shoulder]]
    left = [[0, tip], [-x, shoulder], [-x, -shoulder]]
    return np.array(right + left)


def is_pmt() -> NDArray[np.bool_]:
    """Return True for the photomultipliers, shape (4760,)."""
    on_others: NDArray[np.bool_] = face_of_sensor() != Face.INNER
    return on_others
