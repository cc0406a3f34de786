"""Colours of sensor values: photons on a logarithmic scale, times and residuals on linear ones.

A range is robust against single sensors, and says of itself what it leaves out.
"""

from dataclasses import dataclass
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.colors import LogNorm, Normalize
from numpy.typing import NDArray

Values = NDArray[np.floating[Any]]
Colours = NDArray[np.float64]

NO_VALUE: Final = "#dee2e6"
"""Grey of a sensor without a value to show."""
DIMMEST_PHOTONS: Final = 1.0
"""Photon scales begin here, or above."""
_PHOTON_QUANTILES: Final = (0.005, 0.999)
_BRIGHT_FACTOR: Final = 10.0
"""A photon scale ends at the brightest sensor, but not above this multiple of the high quantile."""
_TIME_QUANTILES: Final = (0.02, 0.98)
_RESIDUAL_QUANTILE: Final = 0.98


@dataclass(frozen=True, kw_only=True)
class Scale:
    """From values to colours.

    Attributes
    ----------
    low, high
        Values beyond have the colours of the ends.
    colour_map
        Name of matplotlib.
    label
        Of the colour bar: quantity and unit.
    note
        How the range was chosen, and what lies beyond.
    is_log
        Equal ratios have equal distances.
    """

    low: float
    high: float
    colour_map: str
    label: str
    note: str = ""
    is_log: bool = False

    def norm(self) -> Normalize:
        """Return the norm, which clips."""
        kind = LogNorm if self.is_log else Normalize
        return kind(self.low, self.high, clip=True)

    def colours(self, values: Values) -> Colours:
        """Return RGBA, shape (..., 4); NaN is grey."""
        known = np.isfinite(values)
        clipped = np.clip(np.where(known, values, self.low), self.low, self.high)
        rgba: Colours = np.asarray(mpl.colormaps[self.colour_map](self.norm()(clipped)))
        rgba[~known] = mpl.colors.to_rgba(NO_VALUE)
        return rgba

    def extends(self, values: Values) -> str:
        """Return which ends values lie beyond: `neither`, `min`, `max` or `both`."""
        known = values[np.isfinite(values)]
        below, above = bool((known < self.low).any()), bool((known > self.high).any())
        names = {(False, False): "neither", (True, False): "min", (False, True): "max"}
        return names.get((below, above), "both")


def photon_scale(photons: Values) -> Scale:
    """Return the scale of the counts of an event [photons], any shape; NaN is left out.

    Counts at or below zero, pedestals, have no logarithm and get the lowest colour.
    """
    known = np.asarray(photons, dtype=np.float64)[np.isfinite(photons)]
    positive = known[known > 0]
    label = "photons per sensor"
    if not len(positive):
        note = "no sensor with more than 0 photons" if len(known) else "no sensor with a value"
        return Scale(low=1, high=10, colour_map="viridis", label=label, note=note, is_log=True)
    dim, bright = np.quantile(positive, _PHOTON_QUANTILES)
    high = max(min(float(positive.max()), _BRIGHT_FACTOR * float(bright)), DIMMEST_PHOTONS * 10)
    low = min(max(float(dim), DIMMEST_PHOTONS), high / 10)
    note = f"colours from {number(low)} to {number(high)} photons"
    n_below, n_above = int((known < low).sum()), int((known > high).sum())
    if n_below:
        n_none = int((known <= 0).sum())
        note += f"; {n_below} sensors below ({n_none} of them at 0 or less) have the lowest"
    if n_above:
        note += f"; {n_above} above have the highest"
    return Scale(low=low, high=high, colour_map="viridis", label=label, note=note, is_log=True)


def time_scale(times_ns: Values) -> Scale:
    """Return the scale of the usable times of an event [ns], any shape; NaN is left out."""
    known = np.asarray(times_ns, dtype=np.float64)[np.isfinite(times_ns)]
    label = "time after the earliest bright sensor [ns]"
    if not len(known):
        note = "no sensor with a usable time"
        return Scale(low=0, high=1, colour_map="plasma", label=label, note=note)
    low, high = _widened(*(float(end) for end in np.quantile(known, _TIME_QUANTILES)))
    note = f"colours from {low:.3g} to {high:.3g} ns, the middle 96 % of the times"
    return Scale(low=low, high=high, colour_map="plasma", label=label, note=note)


def residual_scale(residuals: Values, label: str) -> Scale:
    """Return a scale that is symmetric about zero; NaN is left out."""
    known = np.abs(np.asarray(residuals, dtype=np.float64)[np.isfinite(residuals)])
    reach = float(np.quantile(known, _RESIDUAL_QUANTILE)) if len(known) else 0.0
    reach = reach if reach > 0 else 1.0
    note = (
        f"colours to ±{number(reach)}, which 98 % of the residuals are within" if len(known) else ""
    )
    return Scale(low=-reach, high=reach, colour_map="RdBu_r", label=label, note=note)


def number(value: float) -> str:
    """Return three significant digits without an exponent, thousands apart."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def _widened(low: float, high: float) -> tuple[float, float]:
    if high - low > 1e-6 * max(abs(low), abs(high), 1e-3):
        return low, high
    return low - 0.5, high + 0.5
