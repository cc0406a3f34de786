"""How a residual is distributed: width at half maximum, and tails beyond the core.

The full width at half maximum is that of a density estimated from the events, not 2.355 sigma of a
fit, so that it says something about a distribution that is not Gaussian.
"""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike
from scipy.ndimage import gaussian_filter1d
from scipy.special import ndtr

from xec_pipeline.evaluation.gaussian_core import CoreFit, gaussian_core
from xec_pipeline.evaluation.resolution import (
    Estimate,
    Values,
    centre_and_width,
    finite,
    half_width_68,
    mean_bias,
    median_bias,
    unknown,
)

FWHM: Final = "full width at half maximum of a kernel density"
GAUSSIAN_FWHM: Final = 2 * math.sqrt(2 * math.log(2))
"""Full width at half maximum of a Gaussian of width 1."""
TAIL_SIGMAS: Final = 3.0
GAUSSIAN_TAIL: Final = float(ndtr(-TAIL_SIGMAS))
"""Part of a Gaussian beyond `TAIL_SIGMAS` on one side."""

_MIN_FOR_FWHM: Final = 50
_N_RESAMPLES: Final = 100
_BANDWIDTH: Final = 1.2
"""In half widths, times n^(-1/5). Larger than usual, as the kernel's own width is taken off."""
_REACH: Final = 4.0
_N_GRID: Final = 120


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Bias, width and tails of one residual."""

    name: str
    unit: str
    mean: Estimate
    median: Estimate
    half_width: Estimate
    core: CoreFit
    fwhm: Estimate
    low_tail: Estimate
    """Part of the events below the core's mean less `TAIL_SIGMAS` widths."""
    high_tail: Estimate

    def numbers(self) -> dict[str, Any]:
        """Return all estimates; tails are fractions, `gaussian_tail` is what to compare with."""
        return {
            "unit": self.unit,
            "n": self.mean.n,
            "mean": self.mean.numbers(),
            "median": self.median.numbers(),
            "half_width_68": self.half_width.numbers(),
            "core": self.core.numbers(),
            "fwhm": self.fwhm.numbers(),
            "tail_low": self.low_tail.numbers(),
            "tail_high": self.high_tail.numbers(),
            "gaussian_tail": GAUSSIAN_TAIL,
        }


def shape_of(residual: ArrayLike, name: str, unit: str) -> Shape:
    """Return all estimates of a residual, shape (n_events,); NaN where there are too few events."""
    core = gaussian_core(residual)
    low, high = tail_fractions(residual, core)
    return Shape(
        name=name,
        unit=unit,
        mean=mean_bias(residual),
        median=median_bias(residual),
        half_width=half_width_68(residual),
        core=core,
        fwhm=fwhm(residual),
        low_tail=low,
        high_tail=high,
    )


def fwhm(residual: ArrayLike, *, seed: int = 0, n_resamples: int = _N_RESAMPLES) -> Estimate:
    """Return the full width at half maximum of a distribution with one peak.

    Parameters
    ----------
    residual
        Shape (n_events,).
    seed, n_resamples
        Of the bootstrap that gives the uncertainty.

    Returns
    -------
    Estimate
        NaN for fewer than 50 events, or if the density does not fall to half of its maximum within
        four 68 % half widths of the median.

    Notes
    -----
    The events are counted in a fine grid and smeared with a Gaussian kernel. Its width is taken off
    in quadrature, which is exact for a Gaussian. The bootstrap draws the contents of the grid.
    """
    values = finite(residual)
    if len(values) < _MIN_FOR_FWHM:
        return unknown(len(values), FWHM)
    centre, width = centre_and_width(values)
    if not width > 0:
        return unknown(len(values), FWHM)
    bandwidth = _BANDWIDTH * len(values) ** -0.2
    contents, edges = np.histogram((values - centre) / width, _N_GRID, (-_REACH, _REACH))
    outside = len(values) - contents.sum()
    rng = np.random.default_rng(seed)
    parts = np.append(contents, outside) / len(values)
    draws = rng.multinomial(len(values), parts, n_resamples)[:, :-1]
    widths = _widths(np.vstack([contents, draws]), float(edges[1] - edges[0]), bandwidth)
    kept = widths[1:][np.isfinite(widths[1:])]
    # About the value: noise makes the maximum too high, and the resamples more so.
    error = (
        math.sqrt(np.mean((kept - widths[0]) ** 2)) if len(kept) > n_resamples // 2 else math.nan
    )
    return Estimate(
        value=width * float(widths[0]), error=width * error, n=len(values), estimator=FWHM
    )


def tail_fractions(residual: ArrayLike, core: CoreFit) -> tuple[Estimate, Estimate]:
    """Return the parts of the events beyond three widths of the core, below and above its mean.

    Notes
    -----
    Uncertainty: half of Wilson's binomial interval, and in quadrature half of the change when the
    limit moves by its own uncertainty (that of the mean and three times that of the width).
    """
    values = np.sort(finite(residual))
    if core.note or not len(values):
        return unknown(len(values), _tail_name("below")), unknown(len(values), _tail_name("above"))
    mean, sigma = core.mean, core.sigma
    reach, shift = TAIL_SIGMAS * sigma.value, math.hypot(mean.error, TAIL_SIGMAS * sigma.error)
    return (
        _tail(values, mean.value - reach, shift, _tail_name("below")),
        _tail(-values[::-1], -(mean.value + reach), shift, _tail_name("above")),
    )


def binomial_error(count: int, n: int) -> float:
    """Return half of Wilson's interval of one standard deviation; positive also for no event."""
    part = count / n
    return math.sqrt(part * (1 - part) / n + 1 / (4 * n**2)) / (1 + 1 / n)


def _tail(values: Values, limit: float, shift: float, name: str) -> Estimate:
    n = len(values)
    count, fewer, more = np.searchsorted(values, [limit, limit - shift, limit + shift])
    error = math.hypot(binomial_error(int(count), n), (more - fewer) / (2 * n))
    return Estimate(value=float(count / n), error=float(error), n=n, estimator=name)


def _tail_name(side: str) -> str:
    return f"part {side} {TAIL_SIGMAS:g} core sigma"


def _widths(contents: Values, step: float, bandwidth: float) -> Values:
    """Return the full width at half maximum of every row (n_rows, n_grid), less the kernel's."""
    density = gaussian_filter1d(
        contents.astype(np.float64), bandwidth / step, axis=1, mode="constant"
    )
    level = density.max(axis=1, keepdims=True) / 2
    peak = density.argmax(axis=1)[:, None]
    place = np.arange(density.shape[1])
    is_below = density < level
    left = np.where(is_below & (place < peak), place, -1).max(axis=1)
    right = np.where(is_below & (place > peak), place, len(place)).min(axis=1)
    is_inside = (left >= 0) & (right < len(place))
    rows = np.arange(len(density))
    left, right = np.where(is_inside, left, 0), np.where(is_inside, right, 1)
    rise = _crossing(density[rows, left], density[rows, left + 1], level[:, 0])
    fall = _crossing(density[rows, right], density[rows, right - 1], level[:, 0])
    full = step * (right - left - rise - fall)
    # The kernel and the grid's cells both widen the density.
    added = (GAUSSIAN_FWHM * bandwidth) ** 2 + GAUSSIAN_FWHM**2 * step**2 / 12
    return np.where(is_inside, np.sqrt(np.maximum(full**2 - added, 0)), np.nan)


def _crossing(low: Values, high: Values, level: Values) -> Values:
    """Return how far between two densities the level lies, from 0 to 1."""
    rise = np.where(high > low, high - low, 1.0)
    return np.clip((level - low) / rise, 0, 1)
