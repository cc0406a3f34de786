"""Which events of a dataset are used."""

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.config.data import FiducialConfig

Mask = NDArray[np.bool_]


def fiducial_mask(uvw_cm: NDArray[np.floating], cut: FiducialConfig) -> Mask:
    """Return which events lie in the fiducial volume.

    Parameters
    ----------
    uvw_cm
        First interaction point, shape (N, 3). An unknown point (NaN) is outside.
    cut
        |u| < u_max, |v| < v_max, w_min <= w <= w_max.

    Returns
    -------
    ndarray
        Shape (N,); all true if the cut is off.
    """
    if not cut.enabled:
        return np.ones(len(uvw_cm), dtype=bool)
    u, v, w = np.asarray(uvw_cm, dtype=np.float64).T
    inside = (np.abs(u) < cut.u_max) & (np.abs(v) < cut.v_max) & (w >= cut.w_min)
    if cut.w_max is not None:
        inside &= w <= cut.w_max
    return np.asarray(inside, dtype=bool)
