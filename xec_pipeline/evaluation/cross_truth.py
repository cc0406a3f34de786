"""True energy and position of events in the tables of all tasks, taken over from one another."""

import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

import pandas as pd

from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.tables import (
    KEYS,
    PredictionTable,
    predicted_tasks,
    prediction_path,
    read_prediction_csv,
)

_CROSS_TRUTH: Final = ("true_energy", "true_u", "true_v", "true_w")

_log = logging.getLogger(__name__)


def with_cross_truth(
    tables: Mapping[str, PredictionTable], others: Iterable[PredictionTable] = ()
) -> dict[str, PredictionTable]:
    """Return the tables with true energy and position taken over from one another and `others`.

    Tables of this program carry them already. Of others, columns are taken over by run and event,
    or by row where the tables have no such keys and are equally long.
    """
    sources = [*tables.values(), *others]
    return {task: _completed(table, sources) for task, table in tables.items()}


def _completed(table: PredictionTable, others: Iterable[PredictionTable]) -> PredictionTable:
    completed = table
    for other in others:
        wanted = [name for name in _CROSS_TRUTH if name in other and name not in completed]
        if not wanted:
            continue
        if all(key in completed and key in other for key in KEYS):
            unique = other.drop_duplicates(list(KEYS))
            completed = completed.merge(unique[[*KEYS, *wanted]], on=list(KEYS), how="left")
        elif len(completed) == len(other) and not any(key in completed for key in KEYS):
            completed = pd.concat([completed, other[wanted]], axis=1)
    return completed


def further_tables(
    tables: Mapping[str, PredictionTable], run_dir: Path | str, run_name: str, csv_suffix: str = ""
) -> dict[str, PredictionTable]:
    """Return the tables of other tasks if some of `tables` lack truth that these may hold."""
    if all(name in table for table in tables.values() for name in _CROSS_TRUTH):
        return {}
    found = {}
    for task in predicted_tasks(run_dir, run_name, csv_suffix):
        if task not in tables:
            try:
                found[task] = read_prediction_csv(
                    prediction_path(run_dir, task, run_name, suffix=csv_suffix), task
                )
            except DataError as error:
                _log.warning("no further truth from it: %s", error)
    return found
