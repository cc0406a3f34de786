"""Sensor values in 16 bits: the signed square root of the photon count, and the time in ns.

Counting noise grows like the square root of the light, so equal steps in the root lose equally
little everywhere: at most 2^-10 of the count. A time below 16 ns is kept to 4 ps. NaN means dead
(photons) or not measured (time).
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.units import NS_PER_S

N_FEATURES: Final = 2
"""Photons and time, in this order."""
LARGEST_ROOT: Final = float(np.finfo(np.float16).max)
"""A root beyond this, 4.3e9 photons, or a time beyond this, 65 us, is not a measurement."""

F32 = NDArray[np.float32]
F16 = NDArray[np.float16]


def encode(npho: F32, time_s: F32) -> F16:
    """Return photons and times as 16-bit numbers.

    Parameters
    ----------
    npho
        Photons, shape (N, S). NaN, infinity and |npho| > 4.3e9 (so also 1e10) are dead.
    time_s
        Relative time [s], shape (N, S). NaN, infinity and more than 65 us are not measured.

    Returns
    -------
    ndarray
        Shape (N, 2, S): signed root of the photons, time [ns].
    """
    coded = np.empty((npho.shape[0], N_FEATURES, npho.shape[1]), dtype=np.float16)
    root = np.abs(npho)
    np.sqrt(root, out=root)
    root[~(root <= LARGEST_ROOT)] = np.nan
    coded[:, 0] = np.copysign(root, npho, out=root)
    with np.errstate(over="ignore"):
        time_ns = np.multiply(time_s, np.float32(NS_PER_S), dtype=np.float32)
    time_ns[~(np.abs(time_ns) <= LARGEST_ROOT)] = np.nan
    coded[:, 1] = time_ns
    return coded


def decode_npho(root: F16) -> F32:
    """Return photons from signed roots, any shape; NaN stays NaN."""
    wide = root.astype(np.float32)
    photons: F32 = wide * np.abs(wide)
    return photons


def decode_time_ns(time: F16) -> F32:
    """Return times [ns] in single precision, any shape; NaN stays NaN."""
    return time.astype(np.float32)
