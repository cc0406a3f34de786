"""Uncertainties by drawing events anew: the sensors of one event have errors in common.

A resample takes as many events as there are, with replacement; all rows of a drawn event count as
often as it was drawn. The standard deviation of an estimate over the resamples is its uncertainty.
All estimates of one `EventBootstrap` see the same resamples, so that ratios of methods that predict
the same sensors profit from what their errors share.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
import xxhash
from numpy.typing import NDArray

from xec_pipeline.evaluation.resolution import COVERAGE, Estimate, Values

Integers = NDArray[np.integer[Any]]

N_RESAMPLES: Final = 200
_MAX_CLUSTERS: Final = 5000
"""More events are put together to this many groups, which are drawn in their place."""
_MIN_EVENTS: Final = 5
"""Fewer events give no uncertainty."""
_GRID: Final = 61
_GRID_SIGMAS: Final = 6.0

ESTIMATORS: Final[Mapping[str, str]] = {
    "mae": "mean of |error|",
    "rmse": "root of the mean square",
    "bias": "mean",
    "std": "standard deviation",
    "68pct": "68.27 % quantile of |error|",
    "95pct": "95 % quantile of |error|",
}
"""Names of the estimates and what they are; `std` divides by n."""
_QUANTILES: Final = {"68pct": COVERAGE, "95pct": 0.95}


@dataclass(frozen=True, kw_only=True)
class Resampled:
    """An estimate and what the resamples make of it."""

    value: float
    draws: Values
    """Estimates of the resamples, shape (n_resamples,); NaN where one holds no row."""
    n: int
    n_events: int
    estimator: str

    def estimate(self) -> Estimate:
        """Return the value with its uncertainty, NaN for fewer than five events."""
        return Estimate(
            value=self.value, error=self._spread(self.draws), n=self.n, estimator=self.estimator
        )

    def over(self, other: "Resampled") -> Estimate:
        """Return this value over that of another method for the same events."""
        if not other.value > 0:
            return Estimate(value=math.nan, error=math.nan, n=self.n, estimator="ratio")
        with np.errstate(divide="ignore", invalid="ignore"):
            ratios = self.draws / other.draws
        return Estimate(
            value=self.value / other.value,
            error=self._spread(ratios),
            n=min(self.n, other.n),
            estimator=f"ratio, {self.estimator}",
        )

    def _spread(self, draws: Values) -> float:
        kept = draws[np.isfinite(draws)]
        if self.n_events < _MIN_EVENTS or len(kept) < 2:
            return math.nan
        # Drawing n of n events varies by (n - 1) / n of what n new events would.
        return float(kept.std(ddof=1)) * math.sqrt(self.n_events / (self.n_events - 1))


class EventBootstrap:
    """Resamples of the events that the rows of a table belong to.

    Parameters
    ----------
    event
        Number of the event of every row, shape (n_rows,).
    seed
        See `content_seed`.
    n_resamples
        The relative error of an uncertainty is 1 / sqrt(2 n_resamples), 5 % for 200.
    """

    def __init__(self, event: Integers, seed: int, n_resamples: int = N_RESAMPLES) -> None:
        self._event = event
        self._rng_seed = seed
        self._n_resamples = n_resamples

    @cached_property
    def cluster(self) -> Integers:
        """Number of the drawn unit of every row; an event, or a group of many."""
        events, number = np.unique(self._event, return_inverse=True)
        return number % _MAX_CLUSTERS if len(events) > _MAX_CLUSTERS else number

    @cached_property
    def _weights(self) -> Values:
        """How often every cluster is drawn, shape (n_resamples, n_clusters)."""
        n = int(self.cluster.max(initial=-1)) + 1
        rng = np.random.default_rng(self._rng_seed)
        drawn = rng.integers(0, max(n, 1), (self._n_resamples, n))
        shift = np.arange(self._n_resamples)[:, None] * n
        counts = np.bincount((drawn + shift).ravel(), minlength=self._n_resamples * n)
        return counts.reshape(self._n_resamples, n).astype(np.float64)

    def summary(self, error: Values, rows: NDArray[Any] | None = None) -> dict[str, Resampled]:
        """Return the estimates of `ESTIMATORS`.

        Parameters
        ----------
        error
            Predicted minus true, or a ratio, shape (n,); values that are not finite are left out.
        rows
            Mask or positions of these values among the table's rows; None for all rows.
        """
        cluster = self.cluster if rows is None else self.cluster[rows]
        is_usable = np.isfinite(error)
        return _Sample(error[is_usable], cluster[is_usable], self._weights).summary()


class _Sample:
    """Some rows with the weights of their clusters."""

    def __init__(self, error: Values, cluster: Integers, weights: Values) -> None:
        present = np.flatnonzero(np.bincount(cluster, minlength=weights.shape[1]))
        place = np.empty(weights.shape[1], dtype=np.int64)
        place[present] = np.arange(len(present))
        self._local = place[cluster]
        self._error = error.astype(np.float64)
        self._n_clusters = len(present)
        self._weights = weights[:, present]
        self._per_cluster = self._summed(np.ones(len(error)))
        self._n_drawn = self._weights @ self._per_cluster

    def summary(self) -> dict[str, Resampled]:
        if not len(self._error):
            nothing = np.full(len(self._weights), np.nan)
            return {name: self._resampled(name, math.nan, nothing) for name in ESTIMATORS}
        found = self._moments()
        size = np.abs(self._error)
        for name, fraction in _QUANTILES.items():
            found[name] = float(np.quantile(size, fraction)), self._quantile(size, fraction)
        return {name: self._resampled(name, *found[name]) for name in ESTIMATORS}

    def _summed(self, values: Values) -> Values:
        """Return the sum of each cluster."""
        total = np.bincount(self._local, values, minlength=self._n_clusters)
        return total.astype(np.float64, copy=False)

    def _mean(self, values: Values) -> Values:
        with np.errstate(divide="ignore", invalid="ignore"):
            mean: Values = (self._weights @ self._summed(values)) / self._n_drawn
        return mean

    def _moments(self) -> dict[str, tuple[float, Values]]:
        error = self._error
        bias = float(error.mean())
        # Around the mean, so that a large bias does not cost the digits of a small width.
        shift, spread = self._mean(error - bias), self._mean((error - bias) ** 2)
        return {
            "mae": (float(np.abs(error).mean()), self._mean(np.abs(error))),
            "rmse": (float(np.sqrt((error**2).mean())), np.sqrt(self._mean(error**2))),
            "bias": (bias, bias + shift),
            "std": (float(error.std()), np.sqrt(np.maximum(spread - shift**2, 0))),
        }

    def _quantile(self, size: Values, fraction: float) -> Values:
        """Return the weighted quantile of every resample.

        The share of the resampled rows below each point of a grid is exact; between two points it
        is interpolated. The grid holds quantiles of the sample as far from `fraction` as six
        standard deviations would reach if the rows of an event were one.
        """
        n_effective = self._per_cluster.sum() ** 2 / (self._per_cluster**2).sum()
        reach = _GRID_SIGMAS * math.sqrt(fraction * (1 - fraction) / n_effective)
        levels = np.clip(fraction + reach * np.linspace(-1, 1, _GRID), 0, 1)
        grid = np.quantile(size, levels)
        place = np.searchsorted(grid, size, side="left")
        flat = self._local * (_GRID + 1) + place
        counts = np.bincount(flat, minlength=self._n_clusters * (_GRID + 1))
        below = np.cumsum(counts.reshape(self._n_clusters, _GRID + 1), axis=1)[:, :_GRID]
        with np.errstate(divide="ignore", invalid="ignore"):
            share = (self._weights @ below) / self._n_drawn[:, None]
        return _crossing(grid, share, fraction)

    def _resampled(self, name: str, value: float, draws: Values) -> Resampled:
        return Resampled(
            value=value,
            draws=draws,
            n=len(self._error),
            n_events=self._n_clusters,
            estimator=ESTIMATORS[name],
        )


def content_seed(*arrays: NDArray[Any]) -> int:
    """Return a seed that equal arrays make equal."""
    digest = xxhash.xxh3_64()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.intdigest()


def _crossing(grid: Values, share: Values, fraction: float) -> Values:
    """Return where `share` (n, n_grid), rising along the grid, passes `fraction`; NaN stays."""
    upper = np.clip((share < fraction).sum(axis=1), 1, len(grid) - 1)
    row = np.arange(len(share))
    low, high = share[row, upper - 1], share[row, upper]
    rise = np.where(high > low, high - low, 1.0)
    part = np.clip((fraction - low) / rise, 0, 1)
    found: Values = grid[upper - 1] + part * (grid[upper] - grid[upper - 1])
    return found
