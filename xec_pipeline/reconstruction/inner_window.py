"""A square of SiPMs around the brightest place of the inner face.

Shapes: B events, W sensors of a window.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import uniform_filter

from xec_pipeline.detector.sensors import INNER_COLUMNS, INNER_ROWS, N_SIPM

Values = NDArray[np.float64]
Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]

_SQUARE: Final = 3
_MIN_IN_SQUARE: Final = 3


class InnerWindow(NamedTuple):
    """Sensors of one window per event, each (B, W): numbers, photons (0 if unusable), usable."""

    ids: Numbers
    light: Values
    usable: Flags


def cut_out(light: Values, usable: Flags, centre: Numbers, half_width: int) -> InnerWindow:
    """Return the sensors in a square around SiPMs, moved to lie inside the face.

    Parameters
    ----------
    light, usable
        Photons of the SiPMs, 0 where not usable, and which are usable; shape (B, 4092).
    centre
        Number of the SiPM in the middle, shape (B,).
    half_width
        Rows and columns to each side.
    """
    row, column = np.divmod(centre, INNER_COLUMNS)
    row = np.clip(row, half_width, INNER_ROWS - 1 - half_width)
    column = np.clip(column, half_width, INNER_COLUMNS - 1 - half_width)
    steps = np.arange(-half_width, half_width + 1)
    offsets = (steps[:, None] * INNER_COLUMNS + steps).ravel()
    ids = (row * INNER_COLUMNS + column)[:, None] + offsets
    return InnerWindow(
        ids=ids,
        light=np.take_along_axis(light, ids, axis=1),
        usable=np.take_along_axis(usable, ids, axis=1),
    )


def brightest_place(light: Values, usable: Flags) -> Numbers:
    """Return the SiPM whose square of 3 x 3 has the largest mean over usable sensors, shape (B,).

    Arguments as in `cut_out`. Squares with fewer than three usable sensors do not take part; the
    centre need not be usable.
    """
    shape = (len(light), INNER_ROWS, INNER_COLUMNS)
    total, count = (
        _SQUARE**2 * uniform_filter(values.reshape(shape), (0, _SQUARE, _SQUARE), mode="constant")
        for values in (light, usable.astype(np.float64))
    )
    mean = np.full(shape, -np.inf)
    np.divide(total, count, out=mean, where=count > _MIN_IN_SQUARE - 0.5)
    place: Numbers = mean.reshape(len(light), N_SIPM).argmax(axis=1)
    return place
