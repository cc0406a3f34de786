"""The 4760 sensors: their numbers, kinds and windows.

A sensor number is the position of the sensor in every per-sensor array. Numbers below `N_SIPM`
are SiPMs of the inner face; all others are photomultipliers (PMTs).
"""

from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

N_SENSORS: Final = 4760
N_SIPM: Final = 4092
N_PMT: Final = N_SENSORS - N_SIPM

INNER_ROWS: Final = 93
INNER_COLUMNS: Final = 44

FIRST_OUTER: Final = 4092
FIRST_US: Final = 4308
FIRST_DS: Final = 4452
FIRST_TOP: Final = 4596
FIRST_BOTTOM: Final = 4669
FIRST_OUTER_EXTRA: Final = 4742
"""The 18 sensors that refine the centre of the outer face carry the last numbers."""

SIPM_CHIP_CM: Final = 0.59
"""Side of one of the four square chips of a SiPM."""
SIPM_GAP_CM: Final = 0.05
"""Distance between neighbouring chips of a SiPM."""
SIPM_AREA_CM2: Final = 4 * SIPM_CHIP_CM**2

PMT_RADIUS_CM: Final = 2.25
"""Radius of a photocathode."""
PMT_AREA_CM2: Final = float(np.pi) * PMT_RADIUS_CM**2


def is_sipm(ids: ArrayLike) -> NDArray[np.bool_]:
    """Return True where a sensor number belongs to a SiPM.

    Parameters
    ----------
    ids
        Sensor numbers, any shape.

    Returns
    -------
    ndarray
        Same shape as `ids`.
    """
    numbers = np.asarray(ids)
    return (numbers >= 0) & (numbers < N_SIPM)
