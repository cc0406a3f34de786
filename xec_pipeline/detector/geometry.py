"""Positions and orientations of the sensors, in closed form.

Cylindrical description: radius r from the beam axis, phi from the -x axis toward +y, z along the
beam. Every normal points into the xenon. Lengths cm, angles degree.

Two geometries are offered. `ideal_geometry` is the drawing; `aligned_geometry` is the detector as
surveyed and cooled down, where the inner face is four slightly misplaced panels and all
photomultipliers together moved by a fraction of a millimetre.
"""

import functools
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xec_pipeline.detector.coordinates import INNER_RADIUS_CM
from xec_pipeline.detector.faces import HEX_ROW_LENGTHS, N_HEX, OUTER_CENTER_ROWS
from xec_pipeline.detector.sensors import (
    FIRST_BOTTOM,
    FIRST_DS,
    FIRST_OUTER,
    FIRST_TOP,
    FIRST_US,
    INNER_COLUMNS,
    INNER_ROWS,
    N_SENSORS,
    N_SIPM,
)
from xec_pipeline.errors import ConfigError, did_you_mean

FloatArray = NDArray[np.float64]

INNER_ROW_STEP_DEG: Final = 1.349677283
INNER_COLUMN_STEP_CM: Final = 1.50977234

OUTER_RADIUS_CM: Final = 106.27
STRIP_STEP_DEG: Final = 5.23
"""Step in phi of the 24 strips of the outer, US and DS faces."""
OUTER_Z_STEP_CM: Final = 10.356
CENTER_STEP_DEG: Final = STRIP_STEP_DEG * 2 / 3
CENTER_Z_STEP_CM: Final = 6.2

SIDE_FIRST_RADIUS_CM: Final = 69.53
SIDE_RADIUS_STEP_CM: Final = 6.684
SIDE_FIRST_Z_CM: Final = 35.1547
SIDE_Z_STEP_CM: Final = 2.3369
CONE_SLOPE: Final = 0.5 * (96.0 - 67.03) / (OUTER_RADIUS_CM - 64.84)
"""dz/dr of the US and DS faces, from the lengths in z at the inner and the outer radius."""

PHI_HALF_OPENING_DEG: Final = 125.52 / 2
HEX_FIRST_RADIUS_CM: Final = 68.27
HEX_ROW_STEP_CM: Final = 6.91
HEX_COLUMN_STEP_CM: Final = 6.12

_N_STRIPS = 24
_STRIP_CENTER = (_N_STRIPS - 1) / 2


@dataclass(frozen=True, kw_only=True, eq=False)
class Geometry:
    """Where the 4760 sensors are and where they look; arrays are read-only.

    Attributes
    ----------
    name
        "ideal", "aligned", or the name given to `geometry_from_arrays`.
    position_cm
        Centres of the sensitive surfaces in the laboratory, shape (4760, 3).
    normal
        Unit normals that point into the xenon, shape (4760, 3).
    axis_u, axis_v
        Unit vectors along the edges of a sensor, shape (4760, 3): v = z x normal (normalised),
        u = v x normal.
    """

    name: str
    position_cm: FloatArray
    normal: FloatArray
    axis_u: FloatArray
    axis_v: FloatArray


@dataclass(frozen=True, kw_only=True)
class _Panel:
    """One panel of the inner face: a patch of a cylinder, placed as a rigid body."""

    first_row: int
    end_row: int
    radius_cm: float
    row_step_deg: float
    column_step_cm: float
    center_cm: tuple[float, float, float]
    rotation_deg: tuple[float, float, float]


_PANELS: Final = (
    _Panel(
        first_row=0,
        end_row=24,
        radius_cm=62.29476,
        row_step_deg=1.4082494,
        column_step_cm=1.506909,
        center_cm=(-44.25282, 47.00070, -0.24982),
        rotation_deg=(0.06368, -0.14097, 0.06109),
    ),
    _Panel(
        first_row=24,
        end_row=47,
        radius_cm=62.70525,
        row_step_deg=1.3989204,
        column_step_cm=1.507470,
        center_cm=(-62.33117, 16.43449, -0.26727),
        rotation_deg=(0.14631, -0.02880, -0.00020),
    ),
    _Panel(
        first_row=47,
        end_row=70,
        radius_cm=64.95512,
        row_step_deg=1.3493182,
        column_step_cm=1.506659,
        center_cm=(-61.83045, -18.34583, -0.24605),
        rotation_deg=(0.16084, 0.05402, 0.27973),
    ),
    _Panel(
        first_row=70,
        end_row=93,
        radius_cm=62.59084,
        row_step_deg=1.4039338,
        column_step_cm=1.507386,
        center_cm=(-43.44719, -47.86212, -0.24765),
        rotation_deg=(0.16413, 0.24097, 0.49293),
    ),
)
_PMT_ROTATION_DEG: Final = (0.001597, 0.005632, -0.045686)
_PMT_SHIFT_CM: Final = (0.01227, -0.08217, 0.01505)


@functools.cache
def ideal_geometry() -> Geometry:
    """Return the detector as drawn."""
    position, normal = _ideal_arrays()
    return geometry_from_arrays("ideal", position, normal)


@functools.cache
def aligned_geometry() -> Geometry:
    """Return the detector as surveyed, cold.

    Notes
    -----
    Inner face: each panel has its own radius, pitch, centre and rotation; the surveyed positions
    are met within 0.36 mm. Photomultipliers: one rotation and one shift for all 668; 0.013 mm.
    """
    position, normal = _ideal_arrays()
    rotation = _rotation_matrix(_PMT_ROTATION_DEG)
    position[N_SIPM:] = position[N_SIPM:] @ rotation.T + np.asarray(_PMT_SHIFT_CM)
    normal[N_SIPM:] = normal[N_SIPM:] @ rotation.T
    for panel in _PANELS:
        ids = slice(panel.first_row * INNER_COLUMNS, panel.end_row * INNER_COLUMNS)
        position[ids], normal[ids] = _panel_arrays(panel)
    return geometry_from_arrays("aligned", position, normal)


def geometry_by_name(name: str) -> Geometry:
    """Return the geometry called `name`.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    builders = {"ideal": ideal_geometry, "aligned": aligned_geometry}
    if name not in builders:
        near = did_you_mean(name, builders)
        raise ConfigError(f"unknown geometry '{name}'{near}; known: {', '.join(builders)}")
    return builders[name]()


def geometry_from_arrays(name: str, position_cm: ArrayLike, normal: ArrayLike) -> Geometry:
    """Return a geometry made from a survey of one's own.

    Parameters
    ----------
    name
        Any name.
    position_cm
        Centres of the sensitive surfaces, shape (4760, 3).
    normal
        Vectors that point into the xenon, none along z, shape (4760, 3); they are normalised.

    Raises
    ------
    ValueError
        If an array has another shape.
    """
    position, direction = np.array(position_cm, np.float64), np.array(normal, np.float64)
    for what, array in (("position_cm", position), ("normal", direction)):
        if array.shape != (N_SENSORS, 3):
            raise ValueError(f"{what} must have shape ({N_SENSORS}, 3), got {array.shape}")
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    axis_v = np.cross([0.0, 0.0, 1.0], direction)
    axis_v /= np.linalg.norm(axis_v, axis=1, keepdims=True)
    axis_u = np.cross(axis_v, direction)
    for array in (position, direction, axis_u, axis_v):
        array.setflags(write=False)
    return Geometry(name=name, position_cm=position, normal=direction, axis_u=axis_u, axis_v=axis_v)


def _ideal_arrays() -> tuple[FloatArray, FloatArray]:
    position, normal = np.empty((N_SENSORS, 3)), np.empty((N_SENSORS, 3))

    def put(ids: ArrayLike, points: FloatArray, normals: FloatArray) -> None:
        position[np.asarray(ids)], normal[np.asarray(ids)] = points, normals

    put(np.arange(N_SIPM), *_inner_face())
    put(np.arange(FIRST_OUTER, FIRST_US), *_outer_coarse())
    # The centre comes second: twelve coarse sensors were moved to its finer pitch.
    put(np.ravel(OUTER_CENTER_ROWS), *_outer_center())
    put(np.arange(FIRST_US, FIRST_DS), *_side_face(-1))
    put(np.arange(FIRST_DS, FIRST_TOP), *_side_face(+1))
    put(np.arange(FIRST_TOP, FIRST_TOP + N_HEX), *_hex_face(+1))
    put(np.arange(FIRST_BOTTOM, FIRST_BOTTOM + N_HEX), *_hex_face(-1))
    return position, normal


def _inner_face() -> tuple[FloatArray, FloatArray]:
    row, column = np.divmod(np.arange(N_SIPM), INNER_COLUMNS)
    phi = INNER_ROW_STEP_DEG * ((INNER_ROWS - 1) / 2 - row)
    z = INNER_COLUMN_STEP_CM * (column - (INNER_COLUMNS - 1) / 2)
    return _on_cylinder(INNER_RADIUS_CM, phi, z), _oriented(phi, radial=1.0)


def _outer_coarse() -> tuple[FloatArray, FloatArray]:
    strip, cell = np.divmod(np.arange(_N_STRIPS * 9), 9)
    phi = STRIP_STEP_DEG * (_STRIP_CENTER - strip)
    points = _on_cylinder(OUTER_RADIUS_CM, phi, OUTER_Z_STEP_CM * (cell - 4.0))
    return points, _oriented(phi, radial=-1.0)


def _outer_center() -> tuple[FloatArray, FloatArray]:
    row, cell = np.divmod(np.arange(30), 5)
    phi = CENTER_STEP_DEG * (2.5 - row)
    points = _on_cylinder(OUTER_RADIUS_CM, phi, CENTER_Z_STEP_CM * (cell - 2.0))
    return points, _oriented(phi, radial=-1.0)


def _side_face(z_sign: int) -> tuple[FloatArray, FloatArray]:
    strip, ring = np.divmod(np.arange(_N_STRIPS * 6), 6)
    phi = STRIP_STEP_DEG * (_STRIP_CENTER - strip)
    radius = SIDE_FIRST_RADIUS_CM + SIDE_RADIUS_STEP_CM * ring
    z = z_sign * (SIDE_FIRST_Z_CM + SIDE_Z_STEP_CM * ring)
    cosine = 1 / np.hypot(1.0, CONE_SLOPE)
    normals = _oriented(phi, radial=CONE_SLOPE * cosine, along_z=-z_sign * cosine)
    return _on_cylinder(radius, phi, z), normals


def _hex_face(y_sign: int) -> tuple[FloatArray, FloatArray]:
    row = np.repeat(np.arange(len(HEX_ROW_LENGTHS)), HEX_ROW_LENGTHS)
    z = np.concatenate([HEX_COLUMN_STEP_CM * (np.arange(n) - (n - 1) / 2) for n in HEX_ROW_LENGTHS])
    phi = np.full(N_HEX, y_sign * PHI_HALF_OPENING_DEG)
    points = _on_cylinder(HEX_FIRST_RADIUS_CM + HEX_ROW_STEP_CM * row, phi, z)
    return points, _oriented(phi, tangential=-float(y_sign))


def _on_cylinder(radius_cm: ArrayLike, phi_deg: FloatArray, z_cm: FloatArray) -> FloatArray:
    radius, phi = np.asarray(radius_cm), np.deg2rad(phi_deg)
    return np.stack([-radius * np.cos(phi), radius * np.sin(phi), z_cm], axis=-1)


def _oriented(
    phi_deg: FloatArray, *, radial: float = 0.0, tangential: float = 0.0, along_z: float = 0.0
) -> FloatArray:
    """Return vectors with components outward, toward growing phi and along z, as xyz."""
    cosine, sine = np.cos(np.deg2rad(phi_deg)), np.sin(np.deg2rad(phi_deg))
    x = -radial * cosine + tangential * sine
    y = radial * sine + tangential * cosine
    return np.stack([x, y, np.full_like(x, along_z)], axis=-1)


def _panel_arrays(panel: _Panel) -> tuple[FloatArray, FloatArray]:
    """Return positions and normals of a panel, row by row, each of shape (rows * 44, 3)."""
    rows = np.arange(panel.first_row, panel.end_row)
    middle_row = (panel.first_row + panel.end_row - 1) / 2
    middle_phi = INNER_ROW_STEP_DEG * ((INNER_ROWS - 1) / 2 - middle_row)
    phi = np.repeat(middle_phi - panel.row_step_deg * (rows - middle_row), INNER_COLUMNS)
    columns = np.tile(np.arange(INNER_COLUMNS) - (INNER_COLUMNS - 1) / 2, rows.size)
    local = _on_cylinder(panel.radius_cm, phi, panel.column_step_cm * columns)
    local -= _on_cylinder(panel.radius_cm, np.array([middle_phi]), np.zeros(1))
    rotation = _rotation_matrix(panel.rotation_deg)
    position = local @ rotation.T + np.asarray(panel.center_cm)
    return position, _oriented(phi, radial=1.0) @ rotation.T


def _rotation_matrix(rotation_deg: tuple[float, float, float]) -> FloatArray:
    """Return the matrix of a rotation vector (axis times angle): Rodrigues' formula."""
    vector = np.deg2rad(np.asarray(rotation_deg))
    angle = float(np.linalg.norm(vector))
    x, y, z = vector / angle
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    matrix: FloatArray = np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * (cross @ cross)
    return matrix
