"""Train a regressor on one or more ranks.

By hand: `python -m xec_pipeline.workers.train --config demo`, or with two ranks
`torchrun --nproc_per_node=2 -m xec_pipeline.workers.train --config demo --epochs 2`.
Every option of the configuration is a flag; `--help` lists them.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Final, NamedTuple

from xec_pipeline.config.file_names import checkpoint_file
from xec_pipeline.config.flags import add_training_flags, overrides_from
from xec_pipeline.config.loader import load_regressor_run
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.evaluation.metadata import PredictionMeta
from xec_pipeline.evaluation.origins import write_origin
from xec_pipeline.evaluation.tables import write_prediction_csvs
from xec_pipeline.revision import git_revision
from xec_pipeline.training.checkpoint import load_checkpoint, load_weights, tensor_digest
from xec_pipeline.training.distributed import DistContext, start_from_env
from xec_pipeline.training.guard import STOPPED_EXIT_CODE, StopSignal
from xec_pipeline.training.loop import FitResult, Trainer
from xec_pipeline.training.stage import Table
from xec_pipeline.training.stages.regressor import RegressorStage
from xec_pipeline.training.start import choose_encoder
from xec_pipeline.training.tracking import Tracker, closing_run
from xec_pipeline.training.weight_count import n_weights
from xec_pipeline.workers.entry import run_worker
from xec_pipeline.workers.pipes import Report
from xec_pipeline.workers.training import (
    begin,
    chosen,
    described,
    fit,
    open_datasets,
    open_tracker_for,
    origin_metadata,
    refer_to_files,
    report_finished,
    reporter_for,
    without_learning,
)
from xec_pipeline.workers.upstream import recorded_path, recorded_weights, require_recorded

_BEST: Final = checkpoint_file("regressor", "best")

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
    return run_worker(parser.parse_args(argv), _work)


def _work(args: argparse.Namespace, report: Report) -> int:
    run = load_regressor_run(args.config, overrides_from(args))
    start = Start(args.auto_resume, args.overwrite, not args.skip_final)
    dist = start_from_env()
    try:
        return train(run, start, dist, report)
    finally:
        dist.stop()


def train(run: RegressorRun, start: Start, dist: DistContext, report: Report) -> int:
    """Train `run` on the ranks of `dist` and report what was made; return the exit status."""
    shards = open_datasets(run, dist, report)
    pretrained = recorded_path(report.extras) or run.encoder_path
    encoder = choose_encoder(run, "regressor", pretrained)
    require_recorded(report.extras, encoder)
    recorded = recorded_weights(report.extras)
    found = begin(
        run,
        "regressor",
        shards,
        dist,
        encoder=encoder,
        auto_resume=start.auto_resume,
        overwrite=start.overwrite,
        recorded=recorded,
    )
    require_recorded(report.extras, found)
    # A training that goes on has an encoder already, and its checkpoint knows where from.
    stage = RegressorStage(run, dist, *shards, encoder if found is None else None)
    tracker = open_tracker_for(run, "regressor", dist, found)
    with closing_run(tracker) as close_as, StopSignal() as stop:
        params, tags = described(run, dist, stage, found, encoder)
        tracker.start({**params, "active_tasks": ",".join(run.tasks.active)}, tags)
        reporter = reporter_for(run, dist, report, _EPOCH_NUMBERS)
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
        result = fit(trainer, run, "regressor", dist, found, reporter, recorded)
        if result.was_stopped:
            close_as("KILLED")
            report.log(f"stopped in epoch {result.epoch + 1}; --auto_resume goes on from there")
            return STOPPED_EXIT_CODE
        table = _best_table(run, dist, stage, result)
        if dist.is_main:
            if start.final_csvs:
                _write_tables(run, stage, table, epoch=result.best_epoch, suffix="")
            refer_to_files(run, "regressor", tracker)
            _report_result(run, stage, result, tracker, report)
    return 0


def _best_table(
    run: RegressorRun, dist: DistContext, stage: RegressorStage, result: FitResult
) -> Table:
    """Return the predictions of the best epoch, made again if an earlier process trained it."""
    if not dist.from_main(result.best_table is None):
        return result.best_table or {}
    path = run.run_dir / _BEST
    load_weights(stage.model, load_checkpoint(path).inference_weights(), path)
    return stage.validate(stage.model).table or {}


def _write_tables(
    run: RegressorRun, stage: RegressorStage, table: Table, *, epoch: int, suffix: str
) -> None:
    """Write the prediction CSVs, and where they come from."""
    if not run.checkpoint.save_artifacts:
        return
    write_prediction_csvs(table, run.run_dir, run.name, suffix, tasks=run.tasks.active)
    path = run.run_dir / _BEST
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
    write_origin(meta, run.run_dir, suffix, tasks=run.tasks.active)


def _report_result(
    run: RegressorRun, stage: RegressorStage, result: FitResult, tracker: Tracker, report: Report
) -> None:
    path = run.run_dir / _BEST
    checkpoint = load_checkpoint(path)
    weights = checkpoint.inference_weights()
    metadata = {
        "run_name": run.name,
        "checkpoint": path,
        "epochs": result.epoch,
        "best_epoch": result.best_epoch,
        "best_val_loss": result.best_val,
        "n_weights": n_weights(weights),
        "mlflow_run_id": tracker.run_id or "none",
        "git_revision": git_revision(),
        **origin_metadata(checkpoint),
        **chosen(result.best_metrics, _EPOCH_NUMBERS),
        **without_learning(stage.constant_losses()),
    }
    report_finished(run, "regressor", report, metadata, tensor_digest(weights))


if __name__ == "__main__":
    sys.exit(main())
