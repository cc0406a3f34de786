"""The six faces of the detector and the sensor numbers on each.

Face codes are those of the file formats: inner 0, us 1, ds 2, outer 3, top 4, bottom 5.
Upstream (US) is z < 0, downstream (DS) z > 0, top y > 0.
"""

import enum
import functools
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.detector.sensors import (
    FIRST_BOTTOM,
    FIRST_DS,
    FIRST_OUTER,
    FIRST_OUTER_EXTRA,
    FIRST_TOP,
    FIRST_US,
    N_SENSORS,
)


class Face(enum.IntEnum):
    """One wall of the xenon volume; the value is the code in files."""

    INNER = 0
    US = 1
    DS = 2
    OUTER = 3
    TOP = 4
    BOTTOM = 5


FACE_NAMES: Final = {
    Face.INNER: "inner",
    Face.US: "us",
    Face.DS: "ds",
    Face.OUTER: "outer",
    Face.TOP: "top",
    Face.BOTTOM: "bot",
}
"""Names of the faces in output files."""

HEX_ROW_LENGTHS: Final = (11, 12, 11, 12, 13, 14)
"""Sensors per row of the top and bottom faces, from the inside outward."""
N_HEX: Final = sum(HEX_ROW_LENGTHS)

OUTER_CENTER_ROWS: Final = (
    (4185, 4742, 4186, 4743, 4187),
    (4744, 4745, 4746, 4747, 4748),
    (4194, 4749, 4195, 4750, 4196),
    (4203, 4751, 4204, 4752, 4205),
    (4753, 4754, 4755, 4756, 4757),
    (4212, 4758, 4213, 4759, 4214),
)
"""The dense centre of the outer face: six rows in phi, top first, of five in z, upstream first.

Twelve of its sensors belong to the coarse grid by number but were moved to the finer pitch.
"""


@functools.cache
def face_of_sensor() -> NDArray[np.int8]:
    """Return the face code of every sensor, shape (4760,), read-only."""
    face = np.empty(N_SENSORS, dtype=np.int8)
    face[:FIRST_OUTER] = Face.INNER
    face[FIRST_OUTER:FIRST_US] = Face.OUTER
    face[FIRST_US:FIRST_DS] = Face.US
    face[FIRST_DS:FIRST_TOP] = Face.DS
    face[FIRST_TOP:FIRST_BOTTOM] = Face.TOP
    face[FIRST_BOTTOM:FIRST_OUTER_EXTRA] = Face.BOTTOM
    face[FIRST_OUTER_EXTRA:] = Face.OUTER
    face.setflags(write=False)
    return face


@functools.cache
def sensors_of_face(face: Face) -> NDArray[np.int64]:
    """Return the sensor numbers of one face in ascending order, read-only.

    Lengths: inner 4092, us and ds 144, outer 234, top and bottom 73.
    """
    ids = np.flatnonzero(face_of_sensor() == face).astype(np.int64)
    ids.setflags(write=False)
    return ids
