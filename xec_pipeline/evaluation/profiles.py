"""Profiles: an estimate in bins of another variable.

A bin holds low <= x < high; the last one is closed. Its abscissa is the mean of x over its events.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xec_pipeline.evaluation.resolution import Estimator, Values

MAX_BINS: Final = 20
EVENTS_PER_BIN: Final = 50
"""Wanted on average; fewer events give fewer bins."""
MIN_EVENTS: Final = 10
"""A bin with fewer events has a count but no estimate."""


@dataclass(frozen=True, kw_only=True)
class Profile:
    """Estimates in bins; arrays of shape (n_bins,), NaN where a bin has too few events."""

    edges: Values
    """Bin edges, shape (n_bins + 1,)."""
    x: Values
    """Mean of the variable in the bin; its centre if the bin is empty."""
    value: Values
    error: Values
    n: NDArray[np.int64]
    """Events in the bin."""
    estimator: str

    @property
    def is_drawn(self) -> NDArray[np.bool_]:
        """True where the bin has an estimate."""
        return np.isfinite(self.value)

    def numbers(self) -> dict[str, Any]:
        """Return the profile as lists."""
        return {
            "estimator": self.estimator,
            "edges": self.edges.tolist(),
            "x": self.x.tolist(),
            "value": self.value.tolist(),
            "error": self.error.tolist(),
            "n": self.n.tolist(),
        }


def bin_edges(
    x: ArrayLike, *, max_bins: int = MAX_BINS, events_per_bin: int = EVENTS_PER_BIN
) -> Values:
    """Return equal-width edges over the range of `x`; one bin if `x` is constant or empty.

    The number of bins falls below `max_bins` when there are fewer than `events_per_bin` events for
    each.
    """
    values = np.asarray(x, dtype=np.float64)
    if not len(values):
        return np.array([0.0, 1.0])
    low, high = float(values.min()), float(values.max())
    # Relative, because a fixed energy read from float32 is not one number in float64.
    if high - low <= 1e-6 * max(abs(low), abs(high)):
        margin = max(0.01 * abs(low), 0.5)
        return np.array([low - margin, high + margin])
    n_bins = int(np.clip(len(values) // events_per_bin, 1, max_bins))
    return np.linspace(low, high, n_bins + 1)


def depth_edges(
    w_cm: ArrayLike, *, max_bins: int = MAX_BINS, events_per_bin: int = EVENTS_PER_BIN
) -> Values:
    """Return edges for the depth: bins of equal content, because its distribution falls steeply.

    Bins narrower than 2 % of the range are merged with the next.
    """
    values = np.asarray(w_cm, dtype=np.float64)
    equal_width = bin_edges(values, max_bins=max_bins, events_per_bin=events_per_bin)
    if len(equal_width) < 4:
        return equal_width
    n_bins = len(equal_width) - 1
    edges = np.quantile(values, np.linspace(0, 1, n_bins + 1))
    narrowest = 0.02 * (edges[-1] - edges[0])
    kept = [edges[0]]
    for edge in edges[1:-1]:
        if edge - kept[-1] >= narrowest and edges[-1] - edge >= narrowest:
            kept.append(edge)
    return np.array([*kept, edges[-1]])


def bin_numbers(x: Values, edges: Values) -> NDArray[np.intp]:
    """Return the bin of each value; -1 or the number of bins where it lies outside or is NaN."""
    bin_of = np.searchsorted(edges, x, side="right") - 1
    bin_of[x == edges[-1]] = len(edges) - 2
    return bin_of


def binned_profile(
    x: ArrayLike,
    y: ArrayLike,
    estimator: Estimator,
    *,
    edges: Values | None = None,
    min_events: int = MIN_EVENTS,
) -> Profile:
    """Return `estimator` of `y` in bins of `x`.

    Parameters
    ----------
    x, y
        Shape (n_events,). Events where either is not finite are left out.
    estimator
        One of the functions of `evaluation.resolution`.
    edges
        Bin edges; by default `bin_edges(x)`. Events outside are not used.
    min_events
        Smallest number of events for which a bin gets an estimate.
    """
    x_all, y_all = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    is_usable = np.isfinite(x_all) & np.isfinite(y_all)
    x_kept, y_kept = x_all[is_usable], y_all[is_usable]
    chosen = bin_edges(x_kept) if edges is None else edges
    x_in, y_in = in_bins(x_kept, x_kept, chosen), in_bins(x_kept, y_kept, chosen)
    centres = (chosen[1:] + chosen[:-1]) / 2
    unknown = estimator(np.empty(0))
    found = [estimator(part) if len(part) >= max(min_events, 1) else unknown for part in y_in]
    return Profile(
        edges=chosen,
        x=np.array([part.mean() if len(part) else centres[i] for i, part in enumerate(x_in)]),
        value=np.array([one.value for one in found]),
        error=np.array([one.error for one in found]),
        n=np.array([len(part) for part in x_in], dtype=np.int64),
        estimator=unknown.estimator,
    )


def in_bins(x: ArrayLike, y: ArrayLike, edges: Values) -> list[Values]:
    """Return the finite `y` of each bin of `x`, in their order; both of shape (n_events,)."""
    values = np.asarray(y, dtype=np.float64)
    bin_of = bin_numbers(np.asarray(x, dtype=np.float64), edges)
    bin_of[~np.isfinite(values)] = -1
    order = np.argsort(bin_of, kind="stable")
    first = np.searchsorted(bin_of[order], np.arange(len(edges)))
    return [values[order[first[i] : first[i + 1]]] for i in range(len(edges) - 1)]
