"""Train a regressor on one or more ranks.

By hand: `python -m xec_pipeline.workers.train --config demo`, or with two ranks
`torchrun --nproc_per_node=2 -m xec_pipeline.workers.train --config demo --epochs 2`.
Every option of the configuration is a flag; `--help` lists them.
"""

import argparse
import os
import sys
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import torch

from xec_pipeline.config.flags import add_training_flags, overrides_from
from xec_pipeline.config.loader import load_regressor_run
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.data.shards import ShardSet, ensure_shards
from xec_pipeline.errors import ConfigError, XecError
from xec_pipeline.evaluation.metadata import PredictionMeta, write_meta
from xec_pipeline.evaluation.tables import write_prediction_csvs
from xec_pipeline.revision import git_revision
from xec_pipeline.training.checkpoint import (
    Checkpoint,
    load_checkpoint,
    load_weights,
    tensor_digest,
)
from xec_pipeline.training.distributed import DistContext, start_from_env
from xec_pipeline.training.guard import STOPPED_EXIT_CODE, StopSignal
from xec_pipeline.training.loop import BEST, FitResult, Trainer
from xec_pipeline.training.reporting import Reporter, SilentReporter, TerminalReporter
from xec_pipeline.training.stage import Table
from xec_pipeline.training.stages.regressor import RegressorStage
from xec_pipeline.training.start import choose_encoder, choose_start, clear_run
from xec_pipeline.training.tracking import Tracker, closing_run, open_tracker
from xec_pipeline.workers.pipes import Report, open_report

_EPOCH_NUMBERS: Final = (
    "train/loss",
    "val/loss",
    "lr",
    "energy_res_68pct",
    "timing_res_68pct",
    "uvw_dist_68pct",
    "val_resolution_deg",
    "system/throughput_events_per_sec",
    "system/epoch_duration_sec",
)


class Start(NamedTuple):
    """What the command line says beside the configuration."""

    auto_resume: bool = False
    overwrite: bool = False
    final_csvs: bool = True


class ReportReporter:
    """Passes a training's progress to the worker's report, which knows Dagster and the terminal."""

    def __init__(self, report: Report) -> None:
        self._report = report

    def progress(
        self, epoch: int, step: int, n_steps: int, *, loss: float, events_per_s: float
    ) -> None:
        """Report a step."""
        self._report.progress(
            epoch=epoch, step=f"{step}/{n_steps}", loss=loss, events_per_s=events_per_s
        )

    def epoch(self, epoch: int, n_epochs: int, metrics: Mapping[str, float]) -> None:
        """Report an epoch's main numbers."""
        shown = {name: metrics[name] for name in _EPOCH_NUMBERS if name in metrics}
        self._report.epoch(epoch=epoch, n_epochs=n_epochs, **shown)

    def log(self, text: str) -> None:
        """Report a sentence."""
        self._report.log(text)


def main(argv: Sequence[str] | None = None) -> int:
    """Train as the command line says.

    Returns
    -------
    int
        0 after the last epoch; 2 after an error that the user can mend; 143 if SIGTERM came first,
        with the state in checkpoint_last.pth.
    """
    parser = argparse.ArgumentParser(
        prog="python -m xec_pipeline.workers.train", description=__doc__, allow_abbrev=False
    )
    add_training_flags(parser)
    args = parser.parse_args(argv)
    # A depthwise kernel has an axis of length 1, whose stride is arbitrary; nothing gets slower.
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view")
    rank = int(os.environ.get("RANK", "0"))
    try:
        with open_report(rank) as report:
            return _run_worker(args, report)
    except XecError as error:
        sys.stderr.write(f"rank {rank}: {error}\n" if "RANK" in os.environ else f"{error}\n")
        return 2


def _run_worker(args: argparse.Namespace, report: Report) -> int:
    run = load_regressor_run(args.config, overrides_from(args))
    start = Start(args.auto_resume, args.overwrite, not args.skip_final)
    dist = start_from_env()
    try:
        return train(run, start, dist, report)
    finally:
        dist.stop()


def train(run: RegressorRun, start: Start, dist: DistContext, report: Report) -> int:
    """Train `run` on the ranks of `dist` and report what was made; return the exit status."""
    train_shards, val_shards = open_datasets(run, dist)
    data = {"train": train_shards.data_version, "val": val_shards.data_version}
    encoder = choose_encoder(run, "regressor")
    found = choose_start(
        run,
        "regressor",
        data,
        encoder=encoder,
        auto_resume=start.auto_resume,
        overwrite=start.overwrite,
    )
    dist.barrier()  # all ranks have looked before one of them removes anything
    if found is None and dist.is_main:
        clear_run(run.run_dir, run.name)
    if dist.device.type == "cuda":
        torch.set_float32_matmul_precision("high")
    # A training that goes on has an encoder already, and its checkpoint knows where from.
    stage = RegressorStage(run, dist, train_shards, val_shards, encoder if found is None else None)
    tracker = open_tracker_for(run, dist, found[0] if found is not None else None)
    with closing_run(tracker) as close_as:
        tracker.start(*_described(run, dist, stage))
        result = _fit(
            run, dist, stage, found, reporter=_reporter(run, dist, report), tracker=tracker
        )
        if result.was_stopped:
            close_as("KILLED")
            report.log(f"stopped in epoch {result.epoch + 1}; --auto_resume goes on from there")
            return STOPPED_EXIT_CODE
        table = _best_table(run, dist, stage, result)
        if dist.is_main:
            if start.final_csvs:
                _write_tables(run, stage, table, epoch=result.best_epoch, suffix="")
            _report_result(run, result, tracker, report)
    return 0


def open_datasets(run: RegressorRun, dist: DistContext) -> tuple[ShardSet, ShardSet]:
    """Return training and validation shards; rank 0 builds them if need be, the others wait.

    Raises
    ------
    ConfigError
        If the run names no events.
    """
    for name, path in (("train", run.data.train_path), ("val", run.data.val_path)):
        if not path:
            raise ConfigError(f"data.{name}_path is empty; give --{name}_path")
    if not dist.is_main:
        dist.barrier()
    opened = [
        ensure_shards(run.data, path, progress=dist.is_main)
        for path in (run.data.train_path, run.data.val_path)
    ]
    if dist.is_main:
        dist.barrier()
    return opened[0], opened[1]


def open_tracker_for(
    run: RegressorRun, dist: DistContext, checkpoint: Checkpoint | None
) -> Tracker:
    """Return this rank's tracker; it goes on with the MLflow run of `checkpoint` if it may."""
    continues = checkpoint is not None and not run.checkpoint.new_mlflow_run
    continued = checkpoint.mlflow_run_id if checkpoint is not None and continues else None
    return open_tracker(run.mlflow, run.name, is_main=dist.is_main, continued=continued)


def _described(
    run: RegressorRun, dist: DistContext, stage: RegressorStage
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return parameters and tags for the tracker."""
    described = stage.describe()
    sizes = [weight.numel() for weight in stage.model.parameters()]
    params = {
        **run.model_dump(),
        "active_tasks": ",".join(run.tasks.active),
        "total_params": sum(sizes),
        "trainable_params": sum(w.numel() for w in stage.model.parameters() if w.requires_grad),
        "world_size": dist.world_size,
        "n_train_events": stage.n_events,
    }
    tags = {
        "run_name": run.name,
        "config_digest": run.digest(),
        "git_revision": described["git_revision"],
        "train_data_version": described["data"]["train"],
        "val_data_version": described["data"]["val"],
    }
    return params, tags


def _reporter(run: RegressorRun, dist: DistContext, report: Report) -> Reporter:
    if not dist.is_main:
        return SilentReporter()
    if sys.stderr.isatty():
        return TerminalReporter(run.training.epochs)
    return ReportReporter(report)


def _fit(
    run: RegressorRun,
    dist: DistContext,
    stage: RegressorStage,
    found: tuple[Checkpoint, Path] | None,
    *,
    reporter: Reporter,
    tracker: Tracker,
) -> FitResult:
    with StopSignal() as stop:
        trainer = Trainer(
            stage,
            run,
            dist,
            reporter=reporter,
            tracker=tracker,
            stop=stop,
            on_best=lambda epoch, table: _write_tables(
                run, stage, table, epoch=epoch, suffix=f"_ep{epoch}"
            ),
        )
        if found is not None:
            trainer.resume(*found)
            done = trainer.state.progress
            reporter.log(f"going on from {found[1]} after {done.epoch} epochs, {done.step} steps")
        return trainer.fit()


def _best_table(
    run: RegressorRun, dist: DistContext, stage: RegressorStage, result: FitResult
) -> Table:
    """Return the predictions of the best epoch, made again if an earlier process trained it."""
    if not dist.from_main(result.best_table is None):
        return result.best_table or {}
    path = run.run_dir / BEST
    load_weights(stage.model, load_checkpoint(path).inference_weights(), path)
    return stage.validate(stage.model).table or {}


def _write_tables(
    run: RegressorRun, stage: RegressorStage, table: Table, *, epoch: int, suffix: str
) -> None:
    """Write the prediction CSVs, and where they come from."""
    if not run.checkpoint.save_artifacts:
        return
    write_prediction_csvs(table, run.run_dir, run.name, suffix, tasks=run.tasks.active)
    path = run.run_dir / BEST
    checkpoint = load_checkpoint(path)
    meta = PredictionMeta(
        run_name=run.name,
        sample=run.data.val_path,
        is_toy=stage.validation_shards.toy,
        n_events=len(table["run"]),
        data_version=stage.validation_shards.data_version,
        model=str(path),
        model_digest=tensor_digest(checkpoint.inference_weights()),
        weights="ema" if checkpoint.ema_state_dict else "raw",
        epoch=epoch,
        git_revision=checkpoint.git_revision,
        normalization=checkpoint.normalization,
    )
    write_meta(meta, run.run_dir, suffix)


def _report_result(run: RegressorRun, result: FitResult, tracker: Tracker, report: Report) -> None:
    path = run.run_dir / BEST
    weights = load_checkpoint(path).inference_weights()
    best = result.best_metrics
    metadata = {
        "run_name": run.name,
        "checkpoint": path,
        "epochs": result.epoch,
        "best_epoch": result.best_epoch,
        "best_val_loss": result.best_val,
        "n_weights": sum(weight.numel() for weight in weights.values()),
        "mlflow_run_id": tracker.run_id or "none",
        "git_revision": git_revision(),
        **{name: best[name] for name in _EPOCH_NUMBERS if name in best},
    }
    report.result(metadata, tensor_digest(weights))


if __name__ == "__main__":
    sys.exit(main())
