"""Light of the six faces, as it would be if sensors covered the walls completely.

A sensor stands for its share of the wall, so a face with few sensors counts as much as its area.
An unusable sensor counts as the mean of its face. Shapes: B events.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.detector.coordinates import INNER_RADIUS_CM
from xec_pipeline.detector.faces import Face, sensors_of_face
from xec_pipeline.detector.geometry import (
    CONE_SLOPE,
    HEX_COLUMN_STEP_CM,
    HEX_ROW_STEP_CM,
    INNER_COLUMN_STEP_CM,
    INNER_ROW_STEP_DEG,
    OUTER_RADIUS_CM,
    OUTER_Z_STEP_CM,
    SIDE_FIRST_RADIUS_CM,
    SIDE_RADIUS_STEP_CM,
    STRIP_STEP_DEG,
)
from xec_pipeline.detector.sensors import PMT_AREA_CM2, SIPM_AREA_CM2

Values = NDArray[np.float64]
Flags = NDArray[np.bool_]

_SIDE_RINGS: Final = 6
_SIDE_RADIUS_CM: Final = SIDE_FIRST_RADIUS_CM + (_SIDE_RINGS - 1) / 2 * SIDE_RADIUS_STEP_CM


def face_weights() -> Values:
    """Return the area of wall per sensitive area of each face, shape (6,), by face code."""
    step = np.deg2rad(STRIP_STEP_DEG)
    side = _SIDE_RADIUS_CM * step * SIDE_RADIUS_STEP_CM * np.hypot(1.0, CONE_SLOPE)
    end = HEX_ROW_STEP_CM * HEX_COLUMN_STEP_CM
    walls = {
        Face.INNER: INNER_COLUMN_STEP_CM * INNER_RADIUS_CM * np.deg2rad(INNER_ROW_STEP_DEG),
        Face.US: side,
        Face.DS: side,
        Face.OUTER: OUTER_Z_STEP_CM * OUTER_RADIUS_CM * step,
        Face.TOP: end,
        Face.BOTTOM: end,
    }
    sensitive = [SIPM_AREA_CM2 if face is Face.INNER else PMT_AREA_CM2 for face in Face]
    weights: Values = np.array([walls[face] for face in Face]) / np.array(sensitive)
    return weights


def face_light(light: Values, usable: Flags) -> Values:
    """Return the weighted photons of each face.

    Parameters
    ----------
    light, usable
        Photons, 0 where not usable, and which sensors are usable; shape (B, 4760).

    Returns
    -------
    ndarray
        Shape (B, 6), by face code; NaN for a face without a usable sensor.
    """
    sums = np.full((len(light), len(Face)), np.nan)
    for face in Face:
        ids = sensors_of_face(face)
        count = usable[:, ids].sum(axis=1)
        total = light[:, ids].sum(axis=1) * len(ids)
        np.divide(total, count, out=sums[:, face], where=count > 0)
    return sums * face_weights()
