"""Trainings of one MLflow experiment beside each other: what differs, and which is best."""

import dataclasses
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from xec_pipeline.data.root_files import find_root_files
from xec_pipeline.data.root_io import read_provenance_tree
from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.text import NOT_KNOWN, aligned_lines
from xec_pipeline.training.tracking import tracking_uri_exists

VAL_LOSS: Final = "val/loss"
TRAIN_LOSS: Final = "train/loss"
RANKED: Final[Mapping[str, tuple[str, str]]] = {
    "angle": ("angle_resolution_68pct", "deg"),
    "energy": ("energy_res_68pct", "MeV"),
    "timing": ("timing_res_68pct", "ns"),
    "uvwFI": ("uvw_dist_68pct", "cm"),
}
"""By task: the metric that runs are ranked by, and its unit."""
_LOSS: Final = (VAL_LOSS, "")
_BESIDE: Final = ("lr", "train/grad_norm_max")
_MOST_RUNS: Final = 10_000
_NO_DIFFERENCE: Final = ("mlflow.", "checkpoint.", "resume_state", "preset")
"""Parameters (or what they begin with) that only say where a run is kept."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScanRun:
    """One training as MLflow has it."""

    run_id: str
    name: str
    status: str
    params: Mapping[str, str]
    histories: Mapping[str, Mapping[int, float]]
    """Values by epoch, by metric."""

    @property
    def best_epoch(self) -> int | None:
        """Epoch of the lowest loss of the validation events, whose weights are kept as the best."""
        losses = self.histories.get(VAL_LOSS, {})
        finite = {epoch: loss for epoch, loss in losses.items() if math.isfinite(loss)}
        return min(finite, key=lambda epoch: finite[epoch]) if finite else None

    def at_best(self, metric: str) -> float:
        """Return a metric at that epoch; NaN if there is none."""
        best = self.best_epoch
        return math.nan if best is None else self.histories.get(metric, {}).get(best, math.nan)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scan:
    """Trainings in the order of a metric, the best first."""

    experiment: str
    metric: str
    unit: str
    runs: tuple[ScanRun, ...]

    def differing(self) -> list[str]:
        """Return the parameters in which the runs differ."""
        names = sorted({name for run in self.runs for name in run.params})
        return [
            name
            for name in names
            if not name.startswith(_NO_DIFFERENCE)
            and len({run.params.get(name) for run in self.runs}) > 1
        ]

    def metrics(self) -> list[str]:
        """Return the metrics of the table: that of the ranking, losses, those of all tasks."""
        known = {name for run in self.runs for name in run.histories}
        others = [metric for metric, _ in RANKED.values()]
        wanted = dict.fromkeys((self.metric, VAL_LOSS, TRAIN_LOSS, *others, *_BESIDE))
        return [name for name in wanted if name in known]

    def records(self) -> list[dict[str, Any]]:
        """Return one row for each run, with all that the tables show."""
        return [
            {
                "rank": rank,
                "run": run.name,
                "mlflow_run_id": run.run_id,
                "status": run.status,
                "epochs": max(run.histories.get(VAL_LOSS, {}), default=0),
                "best_epoch": run.best_epoch,
                **{name: run.at_best(name) for name in self.metrics()},
                **{name: run.params.get(name, "") for name in self.differing()},
            }
            for rank, run in enumerate(self.runs, 1)
        ]

    def text(self) -> str:
        """Return ranking and differing parameters for a terminal."""
        records, numbers = self.records(), self.metrics()
        head = ["rank", "run", "status", "epochs", "best_epoch"]
        table = [[*head, *numbers]]
        table += [
            [str(row[name]) for name in head] + [_short(row[name]) for name in numbers]
            for row in records
        ]
        unit = f" [{self.unit}]" if self.unit else ""
        lines = [f"{self.experiment}: {len(self.runs)} runs by {self.metric}{unit}"]
        lines += aligned_lines(table, 3)
        differing = self.differing()
        if differing:
            cells = [["parameter", *(str(row["run"]) for row in records)]]
            cells += [[name, *(str(row[name]) for row in records)] for name in differing]
            lines += ["", "what differs", *aligned_lines(cells, len(cells[0]))]
        return "\n".join([*lines, *NOTES, *self._loss_notes()]) + "\n"

    @property
    def is_by_loss(self) -> bool:
        """The runs are ranked by their objective, which may not be the same for all of them."""
        return self.metric == VAL_LOSS

    def _loss_notes(self) -> list[str]:
        if not self.is_by_loss:
            return []
        notes = ["Runs with other tasks, weights or losses are not to be compared by val/loss."]
        known = {name for run in self.runs for name in run.histories}
        tasks = [task for task, (metric, _) in RANKED.items() if metric in known]
        if tasks:
            notes.append(f"To rank by one task: --task {', '.join(tasks)}.")
        return notes


NOTES: Final = (
    "Metrics are of the epoch with the lowest val/loss, on the events that chose that epoch;",
    "what a run resolves on other events, with uncertainties, is in its own table.",
    "train/loss has dropout and may weigh tasks otherwise: it is not to be compared with val/loss.",
)


def read_scan(uri: str, experiment: str, prefix: str = "", task: str | None = None) -> Scan:
    """Read the trainings of an experiment.

    Parameters
    ----------
    uri
        MLflow store.
    experiment, prefix
        Name of the experiment, and what names of the runs begin with.
    task
        Rank by the resolution of this task; None for the only task that the runs have, or the
        loss if they have several or none.

    Raises
    ------
    DataError
        If there is no such store, experiment or run, or no run has the task.
    """
    from mlflow import MlflowClient

    if not tracking_uri_exists(uri):
        raise DataError(f"{uri}: no such MLflow store; name it with --tracking_uri")
    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    if found is None:
        known = ", ".join(sorted(each.name for each in client.search_experiments()))
        raise DataError(f"{uri}: no experiment {experiment}; there are {known}")
    kept = client.search_runs([found.experiment_id], max_results=_MOST_RUNS)
    names = [run.data.tags.get("run_name", run.info.run_name) for run in kept]
    pairs = [(name, run) for name, run in zip(names, kept, strict=True) if name.startswith(prefix)]
    if not pairs:
        raise DataError(f"{uri}: no run in {experiment} begins with '{prefix}'; there are {names}")
    twice = {name for name, n in Counter(name for name, _ in pairs).items() if n > 1}
    runs = [_read_run(client, name, run, is_twice=name in twice) for name, run in pairs]
    return _ranked(experiment, runs, task)


def made_with_toy(runs: Iterable[ScanRun]) -> bool | None:
    """Tell whether any run learned from the toy detector; None if the events are not here."""
    answers: list[bool] = []
    for path in {run.params.get("data.train_path", "") for run in runs}:
        try:
            first = find_root_files(Path(path))[0] if path else None
        except DataError:
            first = None
        if first is not None:
            answers.append(read_provenance_tree(first) is not None)
    return any(answers) if answers else None


def _read_run(client: Any, name: str, run: Any, *, is_twice: bool) -> ScanRun:
    run_id = str(run.info.run_id)
    wanted = {VAL_LOSS, TRAIN_LOSS, *_BESIDE, *(metric for metric, _ in RANKED.values())}
    histories = {
        metric: {int(point.step): float(point.value) for point in points}
        for metric in sorted(wanted & set(run.data.metrics))
        if (points := client.get_metric_history(run_id, metric))
    }
    return ScanRun(
        run_id=run_id,
        name=f"{name} ({run_id[:6]})" if is_twice else name,
        status=run.info.status,
        params=dict(run.data.params),
        histories=histories,
    )


def _ranked(experiment: str, runs: list[ScanRun], task: str | None) -> Scan:
    known = {metric for run in runs for metric in run.histories}
    of_tasks = [each for each in RANKED.values() if each[0] in known]
    # Of several tasks none is the one that counts, but for the user.
    candidates = [RANKED[task]] if task else [*(of_tasks if len(of_tasks) == 1 else ()), _LOSS]
    chosen = next((each for each in candidates if each[0] in known), None)
    if chosen is None:
        wanted = ", ".join(metric for metric, _ in candidates)
        raise DataError(f"{experiment}: no run has the metric {wanted}; there are {sorted(known)}")

    def order(run: ScanRun) -> tuple[bool, float, str]:
        value = run.at_best(chosen[0])
        return (math.isnan(value), 0.0 if math.isnan(value) else value, run.name)

    return Scan(
        experiment=experiment, metric=chosen[0], unit=chosen[1], runs=tuple(sorted(runs, key=order))
    )


def _short(value: float) -> str:
    return f"{value:.5g}" if math.isfinite(value) else NOT_KNOWN
