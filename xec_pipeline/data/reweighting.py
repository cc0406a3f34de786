"""Weights of training events, from their true targets alone: every rank finds the same ones."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.config.reweighting import ReweightingConfig

Values = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class WeightSummary:
    """How uneven some weights are.

    Attributes
    ----------
    smallest, largest
        Extremes.
    effective_fraction
        (sum w)^2 / (N sum w^2): the share of the events that equally weighted would say as much.
    """

    smallest: float
    largest: float
    effective_fraction: float


def event_weights(
    targets: Mapping[str, NDArray[np.floating]], config: ReweightingConfig
) -> Values | None:
    """Return the weight of each event, or None if no target asks for weights.

    Parameters
    ----------
    targets
        Task name to true values (N, k) of the training events in use, after all cuts. Targets that
        `config` does not name are ignored, and an event without a truth counts as average.
    config
        Targets, bins and the largest weight.

    Returns
    -------
    ndarray
        Shape (N,), mean 1, none above `config.max_weight`.

    Notes
    -----
    One target gives the weight (N / number of occupied bins) / (events in the bin), so that all
    occupied bins count equally. The weights of several targets are multiplied; the product is
    scaled to mean 1 together with the cap.
    """
    active = [task for task in config.active if task in targets]
    if not active:
        return None
    factors = [flattening_weights(targets[task], config.bins_of(task)) for task in active]
    return capped(np.prod(factors, axis=0), config.max_weight)


def flattening_weights(values: NDArray[np.floating], n_bins: Sequence[int]) -> Values:
    """Return weights (N,) that give each occupied bin the same sum.

    Parameters
    ----------
    values
        Shape (N, k); rows that are not finite get the weight 1.
    n_bins
        Number of equal bins for each of the k components, between its extremes.
    """
    weights = np.ones(len(values))
    known = np.isfinite(values).all(axis=1)
    if not known.any():
        return weights
    cells = _cells(np.asarray(values[known], dtype=np.float64), n_bins)
    _, cell, counts = np.unique(cells, return_inverse=True, return_counts=True)
    weights[known] = known.sum() / len(counts) / counts[cell]
    return weights


def capped(weights: Values, largest: float) -> Values:
    """Return min(c * weights, largest) with the c that makes the mean 1.

    `largest` must be at least 1, and the weights positive.
    """
    is_capped = np.zeros(len(weights), dtype=bool)
    while True:
        free = weights[~is_capped].sum()
        scale = (len(weights) - largest * is_capped.sum()) / free if free > 0 else 0.0
        too_large = ~is_capped & (scale * weights > largest)
        if not too_large.any():
            return np.where(is_capped, largest, scale * weights)
        is_capped |= too_large


def summarize(weights: Values) -> WeightSummary:
    """Return the extremes of `weights` and how many equal events they are worth."""
    effective = weights.sum() ** 2 / (len(weights) * np.square(weights).sum())
    return WeightSummary(float(weights.min()), float(weights.max()), float(effective))


def _cells(values: Values, n_bins: Sequence[int]) -> NDArray[np.int64]:
    """Return the number of the bin of each row; the largest value belongs to the last bin."""
    low = values.min(axis=0)
    width = values.max(axis=0) - low
    counts = np.asarray(n_bins, dtype=np.int64)
    # A component that is the same in all events has one bin.
    relative = np.divide(values - low, width, out=np.zeros_like(values), where=width > 0)
    index = np.minimum((relative * counts).astype(np.int64), counts - 1)
    cells: NDArray[np.int64] = np.ravel_multi_index(tuple(index.T), tuple(n_bins))
    return cells
