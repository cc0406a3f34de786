"""The conventional reconstruction of the same events, beside the predictions of a network.

It stands in the table as columns `conventional_<quantity>`, NaN for events that it does not have.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import numpy as np

from xec_pipeline.data.targets import TARGETS
from xec_pipeline.evaluation.tables import (
    KEYS,
    TASK_QUANTITIES,
    PredictionTable,
    prediction_path,
    read_prediction_csv,
)

CONVENTIONAL: Final = "conventional"
"""Name of the method in the files."""

_log = logging.getLogger(__name__)


def with_conventional(
    tables: Mapping[str, PredictionTable], run_dir: Path | str, run_name: str
) -> dict[str, PredictionTable]:
    """Return tables, by task, with the conventional predictions of those that have a CSV for it.

    Events are matched by run and event number. A CSV whose truth is another, as that of an earlier
    sample, is not used, with a warning.
    """
    return {task: _joined(table, task, run_dir, run_name) for task, table in tables.items()}


def conventional_table(table: PredictionTable) -> PredictionTable | None:
    """Return `table` with the conventional predictions in place of its own; None without any."""
    names = [name for quantities in TASK_QUANTITIES.values() for name in quantities]
    found = {
        f"pred_{name}": table[f"{CONVENTIONAL}_{name}"]
        for name in names
        if f"{CONVENTIONAL}_{name}" in table
    }
    if not found:
        return None
    replaced: PredictionTable = table.assign(**found)
    return replaced


def _joined(
    table: PredictionTable, task: str, run_dir: Path | str, run_name: str
) -> PredictionTable:
    path = prediction_path(run_dir, task, run_name, method=CONVENTIONAL)
    keys, target = list(KEYS), TARGETS[task]
    if not path.is_file() or not set(keys) <= set(table):
        return table
    other = read_prediction_csv(path, task)
    if not set(keys) <= set(other):
        return table
    renamed = dict(zip(target.csv_pred, _columns(task), strict=True))
    renamed |= {name: f"{CONVENTIONAL}_{name}" for name in target.csv_true}
    taken = other.drop_duplicates(keys).rename(columns=renamed)[[*keys, *renamed.values()]]
    joined = table.merge(taken, on=keys, how="left")
    for name in target.csv_true:
        true = joined.pop(renamed[name]).to_numpy(dtype=np.float64)
        if not np.isclose(true, table[name], equal_nan=True)[np.isfinite(true)].all():
            _log.warning("%s: not used, its %s is that of other events", path, name)
            return table
    return joined


def _columns(task: str) -> list[str]:
    return [f"{CONVENTIONAL}_{name}" for name in TASK_QUANTITIES[task]]
