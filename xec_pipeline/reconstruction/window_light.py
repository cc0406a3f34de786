"""Charge-weighted mean in a small window: the simplest position, and how compact the light is.

Around the brightest place the mean of 5 x 5 sensors stays near the conversion, where that of the
whole face is drawn to its middle; deep events, whose light is wider than the window, are drawn
toward the window's centre. How much of the light of 11 x 11 sensors the inner ones hold tells the
depth. Shapes: B events.
"""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.reconstruction.inner_window import Flags, Numbers, cut_out

Values = NDArray[np.float64]

_HALF_WIDTHS: Final = (1, 2, 5)
"""3 x 3, 5 x 5 and 11 x 11 sensors."""


class WindowLight(NamedTuple):
    """Observables of the window; NaN where a sum is not above 0.

    Attributes
    ----------
    mean_uv_cm
        Charge-weighted mean position in 5 x 5 sensors, shape (B, 2).
    offset_uv_cm
        The same from the middle of the window, shape (B, 2).
    ln_shares
        Logarithm of what 3 x 3 and 5 x 5 sensors hold of 11 x 11, shape (B, 2).
    ln_width
        Logarithm of the charge-weighted r.m.s. distance from the mean [cm], shape (B,).
    """

    mean_uv_cm: Values
    offset_uv_cm: Values
    ln_shares: Values
    ln_width: Values


def window_light(light: Values, usable: Flags, centre: Numbers, place_uv_cm: Values) -> WindowLight:
    """Return the observables of windows around SiPMs.

    Parameters
    ----------
    light, usable
        Photons of the SiPMs, 0 where not usable, and which are usable; shape (B, 4092).
    centre
        Number of the SiPM in the middle, shape (B,).
    place_uv_cm
        u and v of the SiPMs, shape (4092, 2).

    Notes
    -----
    A negative charge weighs nothing in the mean, which it would push out of the window.
    """
    small, middle, large = (cut_out(light, usable, centre, half) for half in _HALF_WIDTHS)
    weight = np.maximum(middle.light, 0.0)
    total = _positive(weight.sum(axis=1))
    place = place_uv_cm[middle.ids]
    mean = np.einsum("bw,bwx->bx", weight, place) / total[:, None]
    squares = ((place - mean[:, None]) ** 2).sum(axis=2)
    variance = _positive((weight * squares).sum(axis=1) / total)
    inner = np.stack([small.light.sum(axis=1), middle.light.sum(axis=1)], axis=1)
    return WindowLight(
        mean_uv_cm=mean,
        offset_uv_cm=mean - place.mean(axis=1),
        ln_shares=np.log(_positive(inner)) - np.log(_positive(large.light.sum(axis=1)))[:, None],
        ln_width=0.5 * np.log(variance),
    )


def _positive(values: Values) -> Values:
    return np.where(values > 0, values, np.nan)
