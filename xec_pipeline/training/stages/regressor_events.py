"""Which events a regressor learns from, what it should say of them, and what it said."""

import dataclasses
import logging
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.config.run import RegressorRun
from xec_pipeline.config.tasks import TASK_NAMES
from xec_pipeline.data.reweighting import event_weights, summarize
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
from xec_pipeline.training.stages.event_names import event_names

Values = NDArray[np.float64]

_log = logging.getLogger(__name__)


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
        return event_names(self.shards, events)


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
    _require_logarithms(found, run)
    return found


def sample_weights(events: RegressorEvents, run: RegressorRun) -> NDArray[np.float32] | None:
    """Return the weight in training of each event of the shards, or None if all count the same.

    The weights come from the chosen events only and have mean 1 over them; see
    `xec_pipeline.data.reweighting`. A target may make weights although no head learns it.

    Returns
    -------
    ndarray
        Shape (n_events,), 1 for events that are not chosen.

    Raises
    ------
    DataError
        If no chosen event has a truth for a target that is to make weights.
    """
    columns = {
        task: _learned(task, events.shards, run)[events.chosen] for task in run.reweighting.active
    }
    for task, values in columns.items():
        if not np.isfinite(values).any():
            raise DataError(
                f"{events.shards.path}: reweighting.{task}.enabled needs the truth of {task}; none "
                f"of {len(events.chosen)} events has it"
            )
    chosen = event_weights(columns, run.reweighting)
    if chosen is None:
        return None
    weights = np.ones(events.shards.n_events, dtype=np.float32)
    weights[events.chosen] = chosen
    found = summarize(chosen)
    _log.info(
        "training events weigh %.3g to %.3g by %s and are worth %.0f %% of their number; "
        "validation has no weights",
        found.smallest,
        found.largest,
        ", ".join(run.reweighting.active),
        100 * found.effective_fraction,
    )
    return weights


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
            pred = pred + time_offset_ns(columns, run)[:, None]
        table |= dict(zip(TARGETS[task].csv_pred, pred.T, strict=True))
        if f"sigma_{task}" in predicted:
            sigma = predicted[f"sigma_{task}"][order].astype(np.float64)
            table |= dict(zip(TARGETS[task].csv_sigma, sigma.T, strict=True))
    return table


def _learned(task: str, shards: ShardSet, run: RegressorRun) -> NDArray[np.float32]:
    values: Values = target_values(task, shards.columns, run)
    if task == "timing":
        values = timing_training_target(values, shards.columns, run)
    return values.astype(np.float32)


def _require_logarithms(events: RegressorEvents, run: RegressorRun) -> None:
    for task, values in events.chosen_targets().items():
        if run.tasks[task].log_transform and (values <= 0).any():
            raise DataError(
                f"{events.shards.path}: tasks.{task}.log_transform needs positive values, "
                f"the smallest is {np.nanmin(values):g} {TARGETS[task].unit}"
            )


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
