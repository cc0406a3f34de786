"""Predict the validation and test events of a run and write the prediction tables.

python -m xec_pipeline.workers.evaluate --config demo [--checkpoint FILE] [--tasks energy uvwFI]

Validation events go to the run's folder, test events to its folder `test`. Works under torchrun
too: each rank predicts its share.
"""

import argparse
import logging
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from xec_pipeline.config.loader import load_regressor_run
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.config.tasks import TASK_NAMES
from xec_pipeline.data.requirements import possible_tasks, require_targets
from xec_pipeline.data.shards import ShardSet
from xec_pipeline.errors import ConfigError, DataError, XecError
from xec_pipeline.evaluation.metadata import PredictionMeta, earlier_tables
from xec_pipeline.evaluation.networks import Network, open_network
from xec_pipeline.evaluation.origins import write_origin
from xec_pipeline.evaluation.predict import Predicted, only_tasks, predict_events
from xec_pipeline.evaluation.tables import TEST_FOLDER, prediction_path, write_prediction_csvs
from xec_pipeline.training.distributed import DistContext, start_from_env
from xec_pipeline.training.metrics import task_metrics
from xec_pipeline.training.stages.regressor_events import RegressorEvents, select_events
from xec_pipeline.workers.outputs import files_version
from xec_pipeline.workers.pipes import Report, open_report
from xec_pipeline.workers.sample_shards import shards_of
from xec_pipeline.workers.table_metadata import describe_tables

BEST: Final = "checkpoint_best.pth"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Sample:
    """Events to predict and where their tables go."""

    name: str
    path: str
    """ROOT files as in the configuration, or a shard folder."""
    out_dir: Path


@dataclass(frozen=True, kw_only=True)
class Evaluated:
    """Tables of one sample; on ranks other than 0 nothing was written."""

    csvs: Mapping[str, Path]
    n_events: int
    events_per_s: float
    metrics: Mapping[str, float]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the worker; return its exit status."""
    args = build_parser().parse_args(argv)
    rank = int(os.environ.get("RANK", "0"))
    try:
        with open_report(rank) as report:
            run_worker(args, report)
    except XecError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this worker's options."""
    parser = argparse.ArgumentParser(prog="xec_pipeline.workers.evaluate", description=__doc__)
    parser.add_argument("--config", required=True, help="preset name or YAML file of a run")
    parser.add_argument(
        "--checkpoint", type=Path, help=f".pth, or exported .onnx (default: the run's {BEST})"
    )
    add_evaluation_flags(parser)
    parser.add_argument("--val_path", "--val-path", help="validation events (data.val_path)")
    return parser


def add_evaluation_flags(parser: argparse.ArgumentParser) -> None:
    """Add the options that `xec validate` has too."""
    parser.add_argument(
        "--tasks",
        nargs="+",
        choices=TASK_NAMES,
        metavar="TASK",
        help=f"of {', '.join(TASK_NAMES)} (default: all that were trained and have truth)",
    )
    parser.add_argument("--output_dir", "--output-dir", type=Path, help="folder for the tables")
    parser.add_argument("--batch_size", "--batch-size", type=int, help="events at a time")
    parser.add_argument(
        "--weights",
        choices=("ema", "raw"),
        default="ema",
        help="averaged weights, or those of the last step (default: ema)",
    )


def run_worker(args: argparse.Namespace, report: Report) -> None:
    """Predict all samples of a run and report them."""
    run = load_regressor_run(args.config, overrides(args))
    dist = start_from_env()
    try:
        path = args.checkpoint or run.run_dir / BEST
        network = open_network(path, run, dist.device, use_ema=args.weights == "ema")
        tasks = tuple(args.tasks) if args.tasks else None
        done = {
            sample.name: evaluate_sample(network, sample, tasks, dist, report)
            for sample in samples_of(run, args.output_dir)
        }
        if dist.is_main:
            csvs = [path for sample in done.values() for path in sample.csvs.values()]
            folder = args.output_dir or network.run.run_dir
            report.result(describe(network, done), files_version(csvs, folder))
    finally:
        dist.stop()


def overrides(args: argparse.Namespace) -> dict[str, Any]:
    """Return dotted option to value for the flags that were given."""
    given = {
        "data.val_path": getattr(args, "val_path", None),
        "data.batch_size": args.batch_size,
    }
    return {option: value for option, value in given.items() if value is not None}


def samples_of(run: RegressorRun, out_dir: Path | None = None) -> list[Sample]:
    """Return the validation sample and, if the run names one, the test sample.

    Raises
    ------
    ConfigError
        If the run names neither.
    """
    folder = out_dir or run.run_dir
    samples = [
        Sample(name="val", path=run.data.val_path, out_dir=folder),
        Sample(name="test", path=run.data.test_path, out_dir=folder / TEST_FOLDER),
    ]
    given = [sample for sample in samples if sample.path]
    if not given:
        raise ConfigError(f"run {run.name}: data.val_path and data.test_path are empty")
    return given


def evaluate_sample(
    network: Network,
    sample: Sample,
    tasks: tuple[str, ...] | None,
    dist: DistContext,
    report: Report,
) -> Evaluated:
    """Predict one sample, write its tables and their origin.

    Raises
    ------
    ConfigError
        If a task was not trained.
    DataError
        If a requested task, or every task, has no truth in the sample.
    """
    shards = open_sample(network.run, sample.path, dist, report)
    run = only_tasks(network.run, choose_tasks(network, shards, tasks))
    events = select_events(shards, run)
    predicted = predict_events(
        network.predictor,
        events,
        run,
        dist,
        on_progress=lambda n: report.progress(sample=sample.name, events=n * dist.world_size),
    )
    if predicted.table is None:
        return Evaluated(csvs={}, n_events=predicted.n_events, events_per_s=0.0, metrics={})
    csvs = write_prediction_csvs(predicted.table, sample.out_dir, run.name, tasks=run.tasks.active)
    made_from = origin(network, sample, events, predicted)
    write_origin(made_from, sample.out_dir, tasks=run.tasks.active)
    for task, earlier in earlier_tables(sample.out_dir, run.name).items():
        _log.warning(
            "%s: not predicted now, it is of %s; tables of resolutions leave it out",
            prediction_path(sample.out_dir, task, run.name),
            earlier.in_words(),
        )
    report.log(
        f"{sample.name}: {predicted.n_events} events of {sample.path} predicted in "
        f"{predicted.seconds:.1f} s ({predicted.events_per_s:.0f} events/s), "
        f"tables in {sample.out_dir}"
    )
    metrics: dict[str, float] = {}
    for task in run.tasks.active:
        metrics |= task_metrics(task, predicted.table)
    return Evaluated(
        csvs=csvs,
        n_events=predicted.n_events,
        events_per_s=predicted.events_per_s,
        metrics=metrics,
    )


def with_data(network: Network, **options: Any) -> Network:
    """Return `network` with other options of its data section; None leaves an option as it is."""
    given = {name: value for name, value in options.items() if value is not None}
    data = network.run.data.model_copy(update=given)
    return replace(network, run=network.run.model_copy(update={"data": data}))


def open_sample(run: RegressorRun, path: str, dist: DistContext, report: Report) -> ShardSet:
    """Return the shards of `path`; rank 0 sees to them first, the others wait."""
    if not dist.is_main:
        dist.barrier()
    shards = shards_of(report, run.data, path, progress=dist.is_main)
    if dist.is_main:
        dist.barrier()
    return shards


def choose_tasks(
    network: Network, shards: ShardSet, asked: tuple[str, ...] | None
) -> tuple[str, ...]:
    """Return the tasks asked for, or all trained ones that have truth in the sample."""
    reference = network.run.tasks.timing.reference
    if asked is not None:
        require_targets(shards, asked, timing_reference=reference)
        return asked
    possible = possible_tasks(shards, timing_reference=reference)
    chosen = tuple(task for task in network.predictor.tasks if task in possible)
    for task in network.predictor.tasks:
        if task not in chosen:
            _log.warning("%s: no truth for task %s, not evaluated", shards.path, task)
    if not chosen:
        raise DataError(f"{shards.path}: no truth for any of {', '.join(network.predictor.tasks)}")
    return chosen


def origin(
    network: Network, sample: Sample, events: RegressorEvents, predicted: Predicted
) -> PredictionMeta:
    """Return what the tables were made from."""
    return PredictionMeta(
        run_name=network.run.name,
        sample=sample.path,
        is_toy=events.shards.toy,
        n_events=predicted.n_events,
        n_without_truth={
            task: len(events.chosen) - count for task, count in events.count_labelled().items()
        },
        data_version=events.shards.data_version,
        model=network.path.name,
        model_digest=network.digest,
        weights=network.weights,
        epoch=network.epoch,
        git_revision=network.git_revision,
        normalization=network.run.normalization.model_dump(),
    )


def describe(network: Network, done: Mapping[str, Evaluated]) -> dict[str, Any]:
    """Return the numbers that describe an evaluation."""
    csvs = {
        f"{name}_csv_{task}": path
        for name, sample in done.items()
        for task, path in sample.csvs.items()
    }
    numbers: dict[str, Any] = {
        "model": str(network.path),  # a path would count as a file that was made
        "model_digest": network.digest or "not stated",
        "weights": network.weights,
    }
    for name, sample in done.items():
        numbers |= {
            f"{name}_events": sample.n_events,
            f"{name}_events_per_s": sample.events_per_s,
            **{
                f"{name}_{key.removeprefix('val/').removeprefix('val_')}": value
                for key, value in sample.metrics.items()
            },
        }
    return {**numbers, **csvs, **describe_tables(csvs.values())}


if __name__ == "__main__":
    sys.exit(main())
