"""Train an inpainter on one or more ranks.

By hand: `python -m xec_pipeline.workers.train_inpainter --config runs/inpainter/demo.yaml`, or with
two ranks `torchrun --nproc_per_node=2 -m xec_pipeline.workers.train_inpainter --config ...`.
Every option of the configuration is a flag; `--help` lists them.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from xec_pipeline.config.file_names import checkpoint_file
from xec_pipeline.config.flags import add_training_flags, overrides_from
from xec_pipeline.config.inpainter import InpainterRun
from xec_pipeline.config.loader import load_inpainter_run
from xec_pipeline.errors import CheckpointError, ConfigError
from xec_pipeline.revision import git_revision
from xec_pipeline.training.checkpoint import kind_of, load_checkpoint, read_content, tensor_digest
from xec_pipeline.training.compatibility import Transfer, transfer
from xec_pipeline.training.distributed import DistContext, start_from_env
from xec_pipeline.training.guard import STOPPED_EXIT_CODE, StopSignal
from xec_pipeline.training.loop import FitResult, Trainer
from xec_pipeline.training.stages.inpainter import InpainterStage
from xec_pipeline.training.start import choose_encoder
from xec_pipeline.training.tracking import Tracker, closing_run
from xec_pipeline.training.transfer import PretrainedEncoder, read_encoder
from xec_pipeline.training.weight_count import n_weights
from xec_pipeline.workers.entry import run_worker
from xec_pipeline.workers.inpainter_files import InpainterFiles
from xec_pipeline.workers.pipes import Report
from xec_pipeline.workers.training import (
    Found,
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

_KIND: Final = "inpainter"
_BEST: Final = checkpoint_file(_KIND, "best")
_STATES: Final = {True: "frozen", False: "trained"}
_EPOCH_NUMBERS: Final = (
    "train/total_loss",
    "val/total_loss",
    "val/npho_loss",
    "val/time_loss",
    "val/mae_npho",
    "val/mae_time",
    "actual_mask_ratio",
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
        with the state in inpainter_checkpoint_last.pth.
    """
    parser = argparse.ArgumentParser(
        prog="python -m xec_pipeline.workers.train_inpainter",
        description=__doc__,
        allow_abbrev=False,
    )
    add_training_flags(parser, InpainterRun)
    return run_worker(parser.parse_args(argv), _work)


def _work(args: argparse.Namespace, report: Report) -> int:
    run = load_inpainter_run(args.config, overrides_from(args, InpainterRun))
    dist = start_from_env()
    try:
        return train(run, dist, report, auto_resume=args.auto_resume, overwrite=args.overwrite)
    finally:
        dist.stop()


def train(
    run: InpainterRun, dist: DistContext, report: Report, *, auto_resume: bool, overwrite: bool
) -> int:
    """Train `run` on the ranks of `dist` and report what was made; return the exit status."""
    shards = open_datasets(run, dist, report)
    encoder = _encoder(run, report)
    recorded = recorded_weights(report.extras)
    found = begin(
        run,
        _KIND,
        shards,
        dist,
        encoder=encoder,
        auto_resume=auto_resume,
        overwrite=overwrite,
        recorded=recorded,
    )
    require_recorded(report.extras, found)
    _check_start(run, found, encoder)
    # A training that goes on has an encoder already, and its checkpoint knows where from.
    stage = InpainterStage(run, dist, *shards, encoder if found is None else None)
    files = InpainterFiles(run, stage)
    tracker = open_tracker_for(run, _KIND, dist, found)
    with closing_run(tracker) as close_as, StopSignal() as stop:
        tracker.start(*described(run, dist, stage, found, encoder))
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
        result = fit(trainer, run, _KIND, dist, found, reporter, recorded)
        if result.was_stopped:
            close_as("KILLED")
            report.log(f"stopped in epoch {result.epoch + 1}; --auto_resume goes on from there")
            return STOPPED_EXIT_CODE
        if dist.is_main:
            files.complete(trainer.state.best_model)
            refer_to_files(run, _KIND, tracker)
            _report_result(run, stage, result, tracker, report)
    return 0


def _encoder(run: InpainterRun, report: Report) -> PretrainedEncoder | None:
    """Return the encoder to begin with: what is resumed, that of a run, or of a file."""
    named = run.training.mae_checkpoint
    if named is not None and run.checkpoint.resume_from is None:
        path = Path(named)
        if transfer(kind_of(read_content(path)), _KIND, path) is not Transfer.ENCODER:
            raise CheckpointError(
                f"{path}: is an inpainter, and training.mae_checkpoint takes an encoder; give it "
                "as --resume_from"
            )
        return read_encoder(path)
    pretrained = recorded_path(report.extras) or (run.encoder_path if named is None else None)
    encoder = choose_encoder(run, _KIND, pretrained)
    require_recorded(report.extras, encoder)
    return encoder


def _check_start(run: InpainterRun, found: Found, encoder: PretrainedEncoder | None) -> None:
    """Refuse to freeze random numbers, and to take over moments that other weights belong to."""
    is_frozen = run.model.freeze_encoder
    if found is None:
        if is_frozen and encoder is None:
            raise ConfigError(
                "model.freeze_encoder is true, but there is no trained encoder to begin with; give "
                "--mae or --mae_checkpoint, or train it too with --finetune_encoder"
            )
        return
    was_frozen = found.checkpoint.config.get("model", {}).get("freeze_encoder", is_frozen)
    has_moments = found.checkpoint.optimizer_state_dict is not None
    if was_frozen != is_frozen and has_moments and not run.checkpoint.reset_epoch:
        raise CheckpointError(
            f"{found.path}: its encoder was {_STATES[was_frozen]} and is {_STATES[is_frozen]} in "
            "this run, so the optimizer's state does not fit; --reset_epoch takes the weights and "
            "begins with a fresh optimizer"
        )


def _report_result(
    run: InpainterRun, stage: InpainterStage, result: FitResult, tracker: Tracker, report: Report
) -> None:
    path = run.run_dir / _BEST
    checkpoint = load_checkpoint(path, _KIND)
    weights = checkpoint.inference_weights()
    metadata = {
        "run_name": run.name,
        "checkpoint": path,
        "epochs": result.epoch,
        "best_epoch": result.best_epoch,
        "best_val_loss": result.best_val,
        "n_weights": n_weights(weights),
        "config_digest": run.digest(),
        "mlflow_run_id": tracker.run_id or "none",
        "git_revision": git_revision(),
        **origin_metadata(checkpoint),
        **chosen(result.best_metrics, _EPOCH_NUMBERS),
        **without_learning(stage.constant_losses()),
    }
    report_finished(run, _KIND, report, metadata, tensor_digest(weights))


if __name__ == "__main__":
    sys.exit(main())
