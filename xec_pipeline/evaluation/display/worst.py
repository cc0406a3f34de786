"""Which predictions of a regressor are worst: a score without a unit, and the largest of many."""

import functools
import heapq
import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.residuals import column, residual
from xec_pipeline.evaluation.resolution import containment_68, half_width_68
from xec_pipeline.evaluation.tables import KEYS, TASK_QUANTITIES, PredictionTable

Values = NDArray[np.float64]

_log = logging.getLogger(__name__)

SCORE_TEXT: Final = "score = root mean square of residual / 68 % half width"


@dataclass(frozen=True, kw_only=True)
class Scored:
    """All events of a sample with their scores.

    Attributes
    ----------
    table
        One row per event: `run`, `event`, and truth and prediction of all tasks, NaN where a task
        has no truth. Internal units.
    score
        Shape (n_events,); infinite where a prediction is not finite.
    widths
        68 % half width that a residual was divided by, by quantity, in internal units.
    unscaled
        Quantities without a width, which do not count.
    """

    table: PredictionTable
    score: Values
    widths: Mapping[str, float]
    unscaled: tuple[str, ...] = ()


def score_events(tables: Mapping[str, PredictionTable]) -> Scored:
    """Return how wrong each event is, over all tasks.

    Parameters
    ----------
    tables
        Prediction table by task, with the columns `run` and `event`.

    Returns
    -------
    Scored
        An event in several tables is one row.

    Raises
    ------
    DataError
        If there is no table, or one lacks run and event.

    Notes
    -----
    score = sqrt(sum_k (r_k / s_k)^2 / n) with the n residuals r_k (predicted - true; energy, time,
    u, v, w, theta, phi) that have a truth and s_k their 68 % half width over the sample, or, where
    that is zero, the 68 % quantile of |r_k|. An event of a common Gaussian has a score about 1. A
    prediction that is not finite counts as infinitely wrong. The training objective of an event is
    not in the tables; it would mix units.
    """
    table = _joined(tables)
    squares, counts = np.zeros(len(table)), np.zeros(len(table))
    widths, unscaled = {}, []
    for quantity in [quantity for task in tables for quantity in TASK_QUANTITIES[task]]:
        residuals = column(table, f"residual_{quantity}")
        pulls = np.where(np.isinf(residuals), np.inf, 0.0)
        width = _width(residuals)
        if width is None:
            unscaled.append(quantity)
        else:
            widths[quantity] = width
            known = np.isfinite(residuals)
            pulls[known] = residuals[known] / width
            counts += ~np.isnan(residuals)
        squares += pulls**2
    score = np.sqrt(squares / np.maximum(counts, 1))
    return Scored(table=table, score=score, widths=widths, unscaled=tuple(unscaled))


def worst(scores: Iterable[float], n_worst: int) -> list[int]:
    """Return the numbers of the largest scores, the largest first.

    Of equal scores the earlier comes first; NaN counts as infinite. Memory does not grow with the
    number of scores.

    Parameters
    ----------
    scores
        Any number of them.
    n_worst
        How many to return; fewer if there are fewer.
    """
    # The root of the heap is the best of those kept; of equal scores it is the latest.
    kept: list[tuple[float, int]] = []
    for number, score in enumerate(scores):
        item = (math.inf if math.isnan(score) else float(score), -number)
        if len(kept) < n_worst:
            heapq.heappush(kept, item)
        elif kept and item > kept[0]:
            heapq.heapreplace(kept, item)
    return [-negated for _, negated in sorted(kept, reverse=True)]


def _joined(tables: Mapping[str, PredictionTable]) -> PredictionTable:
    """Return one row per event, by run and event, with all columns and `residual_<quantity>`."""
    if not tables:
        raise DataError("no prediction table: the worst events cannot be found")
    frames = [_with_residuals(table, task) for task, table in tables.items()]
    joined: PredictionTable = functools.reduce(lambda one, other: one.combine_first(other), frames)
    return joined.reset_index()


def _with_residuals(table: PredictionTable, task: str) -> PredictionTable:
    """Return a table by run and event; a prediction that is not finite has an infinite residual."""
    missing = [key for key in KEYS if key not in table]
    if missing:
        raise DataError(
            f"predictions of {task}: no column {', '.join(missing)}, so that an event cannot be "
            "found again in the sample; predict once more with xec validate"
        )
    unique = table.drop_duplicates(list(KEYS))
    if len(unique) < len(table):
        n_repeated = len(table) - len(unique)
        _log.warning("%s: %d rows repeat the run and event of another, left out", task, n_repeated)
    residuals = {}
    for quantity in TASK_QUANTITIES[task]:
        has_truth = np.isfinite(column(unique, f"true_{quantity}"))
        values = residual(unique, quantity)
        values[has_truth & ~np.isfinite(values)] = np.inf
        residuals[f"residual_{quantity}"] = np.where(has_truth, values, np.nan)
    return unique.assign(**residuals).set_index(list(KEYS))


def _width(residuals: Values) -> float | None:
    for estimator in (half_width_68, containment_68):
        value = estimator(residuals).value
        if math.isfinite(value) and value > 0:
            return value
    return None
