"""Which events a regressor learns from, what it should say of them, and what it said."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.config.run import RegressorRun
from xec_pipeline.config.tasks import TASK_NAMES
from xec_pipeline.data.selection import fiducial_mask
from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline.data.targets import (
    TARGETS,
    target_values,
    time_offset_ns,
    timing_training_target,
)
from xec_pipeline.errors import DataError
from xec_pipeline.training.stage import Table

Values = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RegressorEvents:
    """Events of one dataset with their targets.

    Attributes
    ----------
    shards
        All events.
    chosen
        Numbers of the events in use: inside the cut, and with at least one target.
    targets
        Task to what the head should say of each event of the shards, (n_events, k): MeV, cm, deg,
        and ns relative to the earliest sensor. NaN where there is no truth.
    """

    shards: ShardSet
    chosen: NDArray[np.int64]
    targets: Mapping[str, NDArray[np.float32]]

    def count_labelled(self) -> dict[str, int]:
        """Return the number of chosen events with a truth, by task."""
        return {
            task: int(np.isfinite(values).all(axis=1).sum())
            for task, values in self.chosen_targets().items()
        }

    def chosen_targets(self) -> dict[str, NDArray[np.float32]]:
        """Return the targets of the chosen events."""
        return {task: values[self.chosen] for task, values in self.targets.items()}

    def names(self, events: Sequence[int]) -> list[str]:
        """Return run, event, entry and file of events, for messages."""
        columns, sources = self.shards.columns, self.shards.manifest.sources
        return [
            f"run {columns['run'][event]} event {columns['event'][event]} "
            f"(entry {columns['entry'][event]} of {sources[columns['source'][event]].source})"
            for event in events
        ]


def select_events(shards: ShardSet, run: RegressorRun) -> RegressorEvents:
    """Choose the events of `shards` for the active tasks of `run`.

    Raises
    ------
    DataError
        If no event is inside the fiducial cut, or a task has no truth in any of them; the message
        names the branches it needs.
    """
    targets = {task: _learned(task, shards, run) for task in run.tasks.active}
    has_any = np.logical_or.reduce([np.isfinite(t).all(axis=1) for t in targets.values()])
    inside = fiducial_mask(shards.columns["uvwTruth"], run.data.fiducial)
    if not inside.any():
        raise DataError(f"{shards.path}: no event is inside the fiducial cut {run.data.fiducial}")
    chosen = np.flatnonzero(has_any & inside)
    found = RegressorEvents(shards=shards, chosen=chosen, targets=targets)
    _require_truth(found, run)
    return found


def prediction_columns(events: RegressorEvents, predicted: Table, run: RegressorRun) -> Table:
    """Return truth and predictions in internal units, in the order of the files.

    Parameters
    ----------
    events
        Events that were predicted.
    predicted
        `index` (N,) of the event, `<task>` (N, k) and perhaps `sigma_<task>` (N, k), in any order.
    run
        Says which time is the true one.

    Returns
    -------
    dict
        `run`, `event`, and `true_<quantity>`, `pred_<quantity>`, `pred_sigma_<quantity>` of the
        active tasks, times absolute; also the truth of the other tasks where the file knows it.
    """
    order = np.argsort(predicted["index"], kind="stable")
    index = predicted["index"][order]
    columns = {name: values[index] for name, values in events.shards.columns.items()}
    table: Table = {"run": columns["run"], "event": columns["event"]}
    for task in TASK_NAMES:
        true = target_values(task, columns, run)
        if task in run.tasks.active or np.isfinite(true).any():
            table |= dict(zip(TARGETS[task].csv_true, true.T, strict=True))
    for task in run.tasks.active:
        pred = predicted[task][order].astype(np.float64)
        if task == "timing":
            pred = pred + time_offset_ns(columns)[:, None]
        table |= dict(zip(TARGETS[task].csv_pred, pred.T, strict=True))
        if f"sigma_{task}" in predicted:
            sigma = predicted[f"sigma_{task}"][order].astype(np.float64)
            table |= dict(zip(TARGETS[task].csv_sigma, sigma.T, strict=True))
    return table


def _learned(task: str, shards: ShardSet, run: RegressorRun) -> NDArray[np.float32]:
    values: Values = target_values(task, shards.columns, run)
    if task == "timing":
        values = timing_training_target(values, shards.columns)
    return values.astype(np.float32)


def _require_truth(events: RegressorEvents, run: RegressorRun) -> None:
    missing = [task for task, count in events.count_labelled().items() if not count]
    if missing:
        reference = run.tasks.timing.reference
        needed = "; ".join(
            f"{task} needs {', '.join(TARGETS[task].required_branches(reference))}"
            for task in missing
        )
        first, *others = [part.source for part in events.shards.manifest.sources]
        files = f"{first} and {len(others)} more" if others else first
        raise DataError(
            f"{files}: no truth for {', '.join(missing)} in any of "
            f"{events.shards.n_events} events ({needed}). Disable the task with "
            "tasks.<name>.enabled: false, or give files that hold these branches"
        )
