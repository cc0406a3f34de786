"""Predict the validation and test events of a run without a network, for comparison.

python -m xec_pipeline.workers.baselines --config demo

Three methods, calibrated on the training events: `trivial`, the mean of the training targets;
`charge_weighted`, sums over the charges of the inner face; `conventional`, a fitted point, the
light of all faces and the mean of the sensor times, with corrections. Their tables stand beside the
network's: `baseline_<method>_<task>_<run>.csv`, with the same columns and units.
"""

import argparse
import logging
import sys
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.config.loader import load_regressor_run
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.data.requirements import possible_tasks
from xec_pipeline.data.shards import ShardSet
from xec_pipeline.data.targets import TARGETS, first_sensor_ns, target_values, time_offset_ns
from xec_pipeline.detector.geometry import ideal_geometry
from xec_pipeline.errors import ConfigError, DataError, XecError
from xec_pipeline.evaluation.tables import write_prediction_csvs
from xec_pipeline.reconstruction.charge_weighted import ChargeWeighted, inner_light_of
from xec_pipeline.reconstruction.conventional import TASKS, Conventional
from xec_pipeline.reconstruction.observables import Observer
from xec_pipeline.reconstruction.trivial import TrainingMean
from xec_pipeline.training.stages.regressor_events import (
    RegressorEvents,
    prediction_columns,
    select_events,
)
from xec_pipeline.workers.outputs import files_version
from xec_pipeline.workers.pipes import Report, open_report
from xec_pipeline.workers.sample_shards import shards_of
from xec_pipeline.workers.table_metadata import describe_tables

CALIBRATION_EVENTS: Final = 50_000
"""Largest number of training events used; they are spread evenly over the sample."""
CONVENTIONAL_EVENTS: Final = 4_000
"""The same for the conventional method, which looks at an event for 1.5 ms: 6 s. More events make
its corrections better by less than 2 % of the resolution."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Calibrated:
    """The methods after calibration."""

    mean: TrainingMean
    charge: ChargeWeighted | None
    """None if the training events have no true position and energy."""
    conventional: Conventional | None
    """None if the training events have neither truth nor light for it."""

    def predict(
        self, events: RegressorEvents, run: RegressorRun
    ) -> dict[str, dict[str, NDArray[Any]]]:
        """Return the predictions for the chosen events, (n_events, k) by task, by method."""
        predicted = {"trivial": self.mean.predict(len(events.chosen))}
        if self.charge is not None:
            light = inner_light_of(events.shards, events.chosen)
            predicted["charge_weighted"] = self.charge.predict(light)
        if self.conventional is not None:
            predicted["conventional"] = _predict_conventional(self.conventional, events, run)
        return predicted


def main(argv: Sequence[str] | None = None) -> int:
    """Run the worker; return its exit status."""
    args = build_parser().parse_args(argv)
    try:
        with open_report() as report:
            run_worker(args.config, args.output_dir, report)
    except XecError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this worker's options."""
    parser = argparse.ArgumentParser(prog="xec_pipeline.workers.baselines", description=__doc__)
    parser.add_argument("--config", required=True, help="preset name or YAML file of a run")
    parser.add_argument(
        "--output_dir", "--output-dir", type=Path, help="folder for the tables (default: the run's)"
    )
    return parser


def run_worker(source: str, out_dir: Path | None, report: Report) -> None:
    """Calibrate the methods, predict all samples of a run and report the tables."""
    run = load_regressor_run(source)
    if not run.data.train_path:
        raise ConfigError("data.train_path is empty; baselines are calibrated on training events")
    train = shards_of(report, run.data, run.data.train_path)
    calibrated = calibrate(train, with_tasks(run, possible_of(train, run)))
    folder = out_dir or run.run_dir
    written: list[Path] = []
    for path, place in ((run.data.val_path, folder), (run.data.test_path, folder / "test")):
        if path:
            shards = shards_of(report, run.data, path)
            written += write_tables(calibrated, shards, run, place)
            report.log(f"{path}: {shards.n_events} events, tables in {place}")
    if not written:
        raise ConfigError("data.val_path and data.test_path are empty, nothing to predict")
    described = {path.relative_to(folder).as_posix(): path for path in written}
    report.result({**described, **describe_tables(written)}, files_version(written, folder))


def calibrate(train: ShardSet, run: RegressorRun) -> Calibrated:
    """Calibrate the methods on the training events that the network learns from."""
    events = select_events(train, run)
    return Calibrated(
        TrainingMean.fit(events.chosen_targets()),
        _calibrate_charge_weighted(events, run),
        _calibrate_conventional(events, run),
    )


def _calibrate_charge_weighted(events: RegressorEvents, run: RegressorRun) -> ChargeWeighted | None:
    if not {"energy", "uvwFI"} <= set(run.tasks.active):
        _log.warning(
            "%s: no true position and energy for the charge-weighted mean", events.shards.path
        )
        return None
    used = _spread(events.chosen, CALIBRATION_EVENTS)
    columns = _columns(events.shards, used, ("energy", "uvwFI"), run)
    try:
        return ChargeWeighted.fit(
            inner_light_of(events.shards, used),
            target_values("uvwFI", columns, run),
            target_values("energy", columns, run)[:, 0],
        )
    except ValueError as error:
        raise DataError(
            f"{events.shards.path}: {error} to calibrate the charge-weighted mean"
        ) from None


def _calibrate_conventional(events: RegressorEvents, run: RegressorRun) -> Conventional | None:
    tasks = [task for task in TASKS if task in run.tasks.active]
    if not tasks:
        return None
    used = _spread(events.chosen, CONVENTIONAL_EVENTS)
    columns = _columns(events.shards, used, tasks, run)
    truth: dict[str, NDArray[np.float64]] = {
        task: target_values(task, columns, run) for task in tasks
    }
    if "timing" in truth:
        truth["timing"] -= first_sensor_ns(columns)[:, None]
    seen = Observer(ideal_geometry()).observe_shards(events.shards, used)
    try:
        return Conventional.fit(seen, truth, run.tasks.timing.reference)
    except ValueError as error:
        _log.warning(
            "%s: no conventional reconstruction, its calibration has too little: %s",
            events.shards.path,
            error,
        )
        return None


def _predict_conventional(
    conventional: Conventional, events: RegressorEvents, run: RegressorRun
) -> dict[str, NDArray[Any]]:
    """Return the predictions for the chosen events; times count from what the network's do."""
    seen = Observer(ideal_geometry()).observe_shards(events.shards, events.chosen)
    n_unfitted = int((~seen.is_fitted).sum())
    if n_unfitted:
        _log.warning(
            "%s: %d of %d events have no good fit of a point; their position is the calibrated "
            "mean of a window",
            events.shards.path,
            n_unfitted,
            len(seen),
        )
    predicted = conventional.predict(seen)
    if "timing" in predicted:
        columns = _columns(events.shards, events.chosen, ("timing",), run)
        origin = first_sensor_ns(columns) - time_offset_ns(columns, run)
        predicted["timing"] = predicted["timing"] + origin[:, None]
    return predicted


def _spread(chosen: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Return at most that many of the events, evenly spread."""
    return chosen[:: -(-len(chosen) // most)]


def _columns(
    shards: ShardSet, events: NDArray[np.int64], tasks: Collection[str], run: RegressorRun
) -> dict[str, NDArray[Any]]:
    """Return what the truth of `tasks` is made from, for some events."""
    reference = run.tasks.timing.reference
    names = {name for task in tasks for name in TARGETS[task].required_branches(reference)}
    return {name: shards.columns[name][events] for name in names}


def write_tables(
    calibrated: Calibrated, shards: ShardSet, run: RegressorRun, out_dir: Path
) -> list[Path]:
    """Predict one sample by every method and write the tables; events without truth are left out.

    Raises
    ------
    DataError
        If no task has truth in the sample.
    """
    possible = possible_of(shards, run)
    learned = [task for task in possible if task in calibrated.mean.means]
    events = select_events(shards, with_tasks(run, learned))
    written: list[Path] = []
    for method, predicted in calibrated.predict(events, run).items():
        tasks = [task for task in learned if task in predicted]
        if not tasks:
            continue
        columns = prediction_columns(
            events, {"index": events.chosen, **predicted}, with_tasks(run, tasks)
        )
        paths = write_prediction_csvs(columns, out_dir, run.name, tasks=tasks, method=method)
        written += paths.values()
    return written


def possible_of(shards: ShardSet, run: RegressorRun) -> list[str]:
    """Return the tasks for which the shards hold truth."""
    return possible_tasks(shards, timing_reference=run.tasks.timing.reference)


def with_tasks(run: RegressorRun, tasks: Collection[str]) -> RegressorRun:
    """Return `run` with these tasks, whatever the network learns; DataError if there is none."""
    if not tasks:
        raise DataError(f"run {run.name}: no task has truth in its events")
    return run.with_tasks(tasks)


if __name__ == "__main__":
    sys.exit(main())
