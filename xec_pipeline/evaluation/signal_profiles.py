"""Errors of masked sensors in bins of the signal, with uncertainties by event."""

from typing import Final

import numpy as np

from xec_pipeline.evaluation.event_bootstrap import ESTIMATORS, Resampled
from xec_pipeline.evaluation.masked_metrics import enough
from xec_pipeline.evaluation.masked_rows import Bools
from xec_pipeline.evaluation.masked_samples import TRUTH, Sample
from xec_pipeline.evaluation.profiles import EVENTS_PER_BIN, Profile, bin_numbers
from xec_pipeline.evaluation.resolution import Values

_BINS_PER_DECADE: Final = 8
_LINEAR_BINS: Final = 30
_LINEAR_TO: Final = 0.95
_PERCENT: Final = 100.0


def log_edges(values: Values, lowest: float) -> Values:
    """Return bins from `lowest` to the largest value, which the last one holds.

    Eight per decade, or fewer for fewer than 50 values per bin on average.
    """
    kept = values[values >= lowest]
    highest = max(float(kept.max(initial=0.0)), 2 * lowest)
    finest = int(np.ceil(_BINS_PER_DECADE * np.log10(highest / lowest)))
    n_bins = int(np.clip(len(kept) // EVENTS_PER_BIN, 1, finest))
    edges = np.geomspace(lowest, highest, n_bins + 1)
    # The power may miss the ends by a rounding, and with it the brightest sensor.
    edges[[0, -1]] = lowest, highest
    return edges


def linear_edges(values: Values) -> Values:
    """Return 30 bins from zero (or the smallest value above) to the 95 % quantile."""
    kept = values[np.isfinite(values)]
    if not len(kept):
        return np.array([0.0, 1.0])
    low, high = max(0.0, float(kept.min())), float(np.quantile(kept, _LINEAR_TO))
    return np.linspace(low, high if high > low else low + 1, _LINEAR_BINS + 1)


def error_profiles(
    sample: Sample, method: str, reference: str, edges: Values, rows: Bools
) -> dict[str, Profile]:
    """Return the estimates of `event_bootstrap.ESTIMATORS` in bins of the reference.

    Counts: of (predicted - reference) / reference in percent; normalized values: of predicted -
    reference. A bin with fewer than `masked_metrics.MIN_PER_BIN` rows has a count only; rows
    outside the edges are in no bin.
    """
    error = (
        _PERCENT * sample.relative_error(method, reference)
        if sample.in_photons
        else sample.error(method, reference)
    )
    return _profiles(sample, sample.references[reference], error, edges, rows)


def predicted_profiles(
    sample: Sample, method: str, reference: str, edges: Values, rows: Bools
) -> dict[str, Profile]:
    """Return the same in bins of what `method` predicted, relative to the prediction."""
    predicted = sample.predicted(method)
    error = sample.error(method, reference)
    if sample.in_photons:
        error = _PERCENT * error / np.where(predicted > 0, predicted, np.nan)
    return _profiles(sample, predicted, error, edges, rows)


def noise_profile(sample: Sample, edges: Values, rows: Bools) -> Profile | None:
    """Return the counting noise by formula, relative to the count [%]; None if not known."""
    if sample.floor is None:
        return None
    count = sample.references[TRUTH]
    noise = _PERCENT * sample.floor / np.where(count > 0, count, np.nan)
    return _profiles(sample, count, noise, edges, rows)["rmse"]


def _profiles(
    sample: Sample, x: Values, error: Values, edges: Values, rows: Bools
) -> dict[str, Profile]:
    n_bins = len(edges) - 1
    number = np.where(rows & np.isfinite(error), bin_numbers(x, edges), -1)
    # Sorted by bin once, instead of a search through all rows for every bin.
    order = np.argsort(number, kind="stable")
    first = np.searchsorted(number[order], np.arange(n_bins + 1))
    parts = [order[first[i] : first[i + 1]] for i in range(n_bins)]
    found = [sample.bootstrap.summary(error[part], part) for part in parts]
    centres = (edges[1:] + edges[:-1]) / 2
    means = [x[part].mean() if len(part) else centres[i] for i, part in enumerate(parts)]
    return {
        name: _profile(edges, np.array(means), [one[name] for one in found]) for name in ESTIMATORS
    }


def _profile(edges: Values, means: Values, found: list[Resampled]) -> Profile:
    estimates = [enough(one.estimate()) for one in found]
    return Profile(
        edges=edges,
        x=means,
        value=np.array([one.value for one in estimates]),
        error=np.array([one.error for one in estimates]),
        n=np.array([one.n for one in estimates], dtype=np.int64),
        estimator=found[0].estimator,
    )
