"""Pre-train an encoder as a masked autoencoder on one or more ranks.

By hand: `python -m xec_pipeline.workers.train_mae --config runs/mae/demo.yaml`, or with two ranks
`torchrun --nproc_per_node=2 -m xec_pipeline.workers.train_mae --config runs/mae/demo.yaml`.
Every option of the configuration is a flag; `--help` lists them.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Final

from xec_pipeline.config.file_names import checkpoint_file
from xec_pipeline.config.flags import add_training_flags, overrides_from
from xec_pipeline.config.loader import load_mae_run
from xec_pipeline.config.mae import MaeRun
from xec_pipeline.revision import git_revision
from xec_pipeline.training.checkpoint import load_checkpoint, tensor_digest
from xec_pipeline.training.distributed import DistContext, start_from_env
from xec_pipeline.training.guard import STOPPED_EXIT_CODE, StopSignal
from xec_pipeline.training.loop import FitResult, Trainer
from xec_pipeline.training.stages.mae import MaeStage
from xec_pipeline.training.start import choose_encoder
from xec_pipeline.training.tracking import Tracker, closing_run
from xec_pipeline.training.weight_count import n_weights
from xec_pipeline.workers.entry import run_worker
from xec_pipeline.workers.mae_files import MaeFiles
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
from xec_pipeline.workers.upstream import recorded_weights

_BEST: Final = checkpoint_file("mae", "best")
_EPOCH_NUMBERS: Final = (
    "train/total_loss",
    "val/total_loss",
    "val/npho_loss",
    "val/time_loss",
    "val/mae_npho",
    "val/mae_time",
    "lr",
    "system/throughput_events_per_sec",
    "system/epoch_duration_sec",
)


def main(argv: Sequence[str] | None = None) -> int:
    """Train as the command line says.

    Returns
    -------
    int
        0 after the last epoch; 2 after an error that the user can mend; 143 if SIGTERM came first,
        with the state in mae_checkpoint_last.pth.
    """
    parser = argparse.ArgumentParser(
        prog="python -m xec_pipeline.workers.train_mae", description=__doc__, allow_abbrev=False
    )
    add_training_flags(parser, MaeRun)
    return run_worker(parser.parse_args(argv), _work)


def _work(args: argparse.Namespace, report: Report) -> int:
    run = load_mae_run(args.config, overrides_from(args, MaeRun))
    dist = start_from_env()
    try:
        return train(run, dist, report, auto_resume=args.auto_resume, overwrite=args.overwrite)
    finally:
        dist.stop()


def train(
    run: MaeRun, dist: DistContext, report: Report, *, auto_resume: bool, overwrite: bool
) -> int:
    """Train `run` on the ranks of `dist` and report what was made; return the exit status."""
    shards = open_datasets(run, dist, report)
    choose_encoder(run, "mae")  # refuses what cannot start a masked autoencoder
    recorded = recorded_weights(report.extras)
    found = begin(
        run,
        "mae",
        shards,
        dist,
        auto_resume=auto_resume,
        overwrite=overwrite,
        recorded=recorded,
    )
    stage = MaeStage(run, dist, *shards)
    files = MaeFiles(run, stage)
    tracker = open_tracker_for(run, "mae", dist, found)
    with closing_run(tracker) as close_as, StopSignal() as stop:
        tracker.start(*described(run, dist, stage, found))
        reporter = reporter_for(run, dist, report, _EPOCH_NUMBERS)
        trainer = Trainer(
            stage,
            run,
            dist,
            reporter=reporter,
            tracker=tracker,
            stop=stop,
            on_epoch=files.after_epoch,
        )
        result = fit(trainer, run, "mae", dist, found, reporter, recorded)
        if result.was_stopped:
            close_as("KILLED")
            report.log(f"stopped in epoch {result.epoch + 1}; --auto_resume goes on from there")
            return STOPPED_EXIT_CODE
        if dist.is_main:
            files.complete(trainer.state.best_model)
            refer_to_files(run, "mae", tracker)
            _report_result(run, stage, result, tracker, report)
    return 0


def _report_result(
    run: MaeRun, stage: MaeStage, result: FitResult, tracker: Tracker, report: Report
) -> None:
    path = run.encoder_path
    encoder = load_checkpoint(path, "encoder")
    weights = encoder.model_state_dict
    metadata = {
        "run_name": run.name,
        "encoder": path,
        "checkpoint": run.run_dir / _BEST,
        "epochs": result.epoch,
        "best_epoch": result.best_epoch,
        "best_val_loss": result.best_val,
        "n_weights": n_weights(weights),
        "config_digest": run.digest(),
        "train_data_version": encoder.data["train"],
        "val_data_version": encoder.data["val"],
        "mlflow_run_id": tracker.run_id or "none",
        "git_revision": git_revision(),
        **origin_metadata(encoder),
        **chosen(result.best_metrics, _EPOCH_NUMBERS),
        **without_learning(stage.constant_losses()),
    }
    report_finished(run, "mae", report, metadata, tensor_digest(weights))


if __name__ == "__main__":
    sys.exit(main())
