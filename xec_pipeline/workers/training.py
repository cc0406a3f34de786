"""What the training workers share: events, tracker, reporter, start, errors."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from torch import nn

from xec_pipeline.atomic import replacing
from xec_pipeline.config.file_names import checkpoint_file, finished_file, training_record_file
from xec_pipeline.config.inpainter import InpainterRun
from xec_pipeline.config.mae import MaeRun
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.data.shards import ShardSet
from xec_pipeline.errors import ConfigError
from xec_pipeline.training.checkpoint import Checkpoint
from xec_pipeline.training.distributed import DistContext
from xec_pipeline.training.loop import FitResult, Trainer
from xec_pipeline.training.record import RecordingTracker, read_epochs
from xec_pipeline.training.reporting import Pace, Reporter, SilentReporter, TerminalReporter
from xec_pipeline.training.start import (
    GoingOn,
    Recorded,
    choose_start,
    clear_run,
    files_of_training,
)
from xec_pipeline.training.state import is_within
from xec_pipeline.training.tracking import Tracker, open_tracker, refer_to
from xec_pipeline.training.transfer import PretrainedEncoder
from xec_pipeline.workers.pipes import Report
from xec_pipeline.workers.sample_shards import shards_of

AnyRun: TypeAlias = RegressorRun | MaeRun | InpainterRun
_SPEED: Final = "events_per_s"
_MLFLOW_SPEED: Final = "system/throughput_events_per_sec"
"""The name in MLflow; in Dagster all assets tell their speed under one name."""
UNITS: Final = "energy MeV, time ns, position cm, angle deg"
"""Of all metrics of a training, as a tag of its MLflow run."""
Found: TypeAlias = GoingOn | None
"""Checkpoint to go on from and its file; None to begin afresh."""


class DescribedStage(Protocol):
    """The part of a stage that trackers hear of."""

    @property
    def model(self) -> nn.Module:
        """The model."""

    @property
    def n_events(self) -> int:
        """Training events over all ranks."""

    @property
    def validation_shards(self) -> ShardSet:
        """Validation events."""

    def describe(self) -> dict[str, Any]:
        """Return what checkpoints hold beside the state."""


class ReportReporter:
    """Passes a training's progress to the worker's report, which knows Dagster and the terminal.

    Parameters
    ----------
    report
        The worker's report.
    names
        Numbers of an epoch that are shown.
    """

    def __init__(self, report: Report, names: Sequence[str]) -> None:
        self._report, self._names = report, names
        self._pace = Pace()

    def progress(
        self, epoch: int, step: int, n_steps: int, *, loss: float, events_per_s: float
    ) -> None:
        """Report a step, and how long the rest of the epoch will take."""
        left = self._pace.seconds_left(epoch, step, n_steps)
        numbers: dict[str, float | str] = {} if left is None else {"eta_s": round(left)}
        self._report.progress(
            epoch=epoch, step=f"{step}/{n_steps}", loss=loss, events_per_s=events_per_s, **numbers
        )

    def epoch(self, epoch: int, n_epochs: int, metrics: Mapping[str, float]) -> None:
        """Report an epoch's main numbers."""
        self._report.epoch(epoch=epoch, n_epochs=n_epochs, **chosen(metrics, self._names))

    def log(self, text: str) -> None:
        """Report a sentence."""
        self._report.log(text)


def open_datasets(run: AnyRun, dist: DistContext, report: Report) -> tuple[ShardSet, ShardSet]:
    """Return training and validation shards; rank 0 sees to them first, the others wait.

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
        shards_of(report, run.data, path, progress=dist.is_main)
        for path in (run.data.train_path, run.data.val_path)
    ]
    if dist.is_main:
        dist.barrier()
    return opened[0], opened[1]


def begin(
    run: AnyRun,
    kind: str,
    shards: tuple[ShardSet, ShardSet],
    dist: DistContext,
    *,
    encoder: PretrainedEncoder | None = None,
    auto_resume: bool = False,
    overwrite: bool = False,
    recorded: Recorded | None = None,
) -> Found:
    """Return the checkpoint to go on from; see `choose_start` for what is raised."""
    train, val = shards
    found = choose_start(
        run,
        kind,
        {"train": train.data_version, "val": val.data_version},
        encoder=encoder,
        auto_resume=auto_resume,
        overwrite=overwrite,
        recorded=recorded,
    )
    dist.barrier()  # all ranks have looked before one of them removes anything
    return found


def fit(
    trainer: Trainer,
    run: AnyRun,
    kind: str,
    dist: DistContext,
    found: Found,
    reporter: Reporter,
    recorded: Recorded | None = None,
) -> FitResult:
    """Train, going on from `found` if there is something.

    What an earlier training left in the run's folder goes only now, when configuration, events and
    checkpoint have all been accepted.
    """
    if found is not None:
        trainer.resume(found.checkpoint, found.path, is_own=found.is_own)
        done = trainer.state.progress
        reporter.log(f"going on from {found.path} after {done.epoch} epochs, {done.step} steps")
    trainer.state.code_version = None if recorded is None else recorded.code_version
    if dist.is_main:
        (run.run_dir / finished_file(kind)).unlink(missing_ok=True)
        if _leaves_nothing_of_before(run, found):
            source = None if found is None else _kept(found.path, run, kind)
            clear_run(run.run_dir, run.name, kind, _exported(run), keep=source)
    return trainer.fit()


def _kept(source: Path, run: AnyRun, kind: str) -> Path:
    """Return the weights that a training begins with, under a name that it will not overwrite."""
    if not is_within(source, run.run_dir):
        return source
    kept = run.run_dir / checkpoint_file(kind, "start")
    if kept != source:
        with replacing(kept) as partial:
            shutil.copyfile(source, partial)
    return kept


def without_learning(losses: Mapping[str, float]) -> dict[str, float]:
    """Return the losses that need no learning under the names of metadata: `constant_val/loss`."""
    return {f"constant_{name}": value for name, value in losses.items()}


def report_finished(
    run: AnyRun, kind: str, report: Report, metadata: Mapping[str, Any], data_version: str
) -> None:
    """Report what a training made, and mark that nothing of it is missing any more."""
    speed = {_SPEED: metadata[_MLFLOW_SPEED]} if _MLFLOW_SPEED in metadata else {}
    report.result({**metadata, **speed}, data_version)
    (run.run_dir / finished_file(kind)).write_text(f"{data_version}\n")


def _leaves_nothing_of_before(run: AnyRun, found: Found) -> bool:
    """Return whether what lies in the run's folder belongs to another training."""
    if found is None or found.begins_again(run):
        return True
    return not is_within(found.path, run.run_dir)


def _exported(run: AnyRun) -> tuple[str, ...]:
    """Return the file names of the models that are exported."""
    if isinstance(run, MaeRun):
        return ()
    names = [run.export.onnx]
    if isinstance(run, InpainterRun):
        names.append(run.export.torchscript)
    return tuple(name for name in names if name is not None)


def open_tracker_for(run: AnyRun, kind: str, dist: DistContext, found: Found) -> Tracker:
    """Return this rank's tracker; it goes on with the MLflow run of the checkpoint if it may.

    A training whose epochs count from 1 again has a run of its own: its curves begin anew.
    """
    is_new = found is None or run.checkpoint.new_mlflow_run or found.begins_again(run)
    continued = None if found is None or is_new else found.checkpoint.mlflow_run_id
    tracker = open_tracker(run.mlflow, run.name, is_main=dist.is_main, continued=continued)
    if not dist.is_main:
        return tracker
    record = training_record_file(kind)
    carried: dict[int, dict[str, float]] = {}
    if found is not None and not found.begins_again(run):
        carried = read_epochs(found.path.parent / record, found.checkpoint.epoch)
    return RecordingTracker(tracker, run.run_dir / record, carried)


def described(
    run: AnyRun,
    dist: DistContext,
    stage: DescribedStage,
    found: Found = None,
    encoder: PretrainedEncoder | None = None,
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return parameters and tags for the tracker.

    Parameters
    ----------
    run, dist, stage
        What is trained.
    found, encoder
        Checkpoint that it goes on from, and pre-trained encoder that it begins with otherwise.
    """
    about = stage.describe()
    weights = list(stage.model.parameters())
    params = {
        **run.model_dump(),
        "total_params": sum(weight.numel() for weight in weights),
        "trainable_params": sum(weight.numel() for weight in weights if weight.requires_grad),
        "world_size": dist.world_size,
        "n_train_events": stage.n_events,
        "resume_state": _resume_state(run, found, encoder),
    }
    tags = {
        "run_name": run.name,
        "config_digest": run.digest(),
        "git_revision": about["git_revision"],
        "train_data_version": about["data"]["train"],
        "val_data_version": about["data"]["val"],
        "units": UNITS,
        "detector": _detector(stage.validation_shards),
        **_origin_tags("encoder", _encoder_source(found, encoder)),
        **_origin_tags("resumed_from", _resumed_from(run, found)),
        **_earlier_part(found),
    }
    return params, tags


def _detector(shards: ShardSet) -> str:
    """Return what the events are of: the toy detector, or another."""
    return "toy" if shards.toy else "not toy"


def origin_metadata(checkpoint: Checkpoint) -> dict[str, str]:
    """Return which weights a training began with, as its checkpoint tells; none if at random."""
    origins = {"encoder": checkpoint.encoder_source, "resumed_from": checkpoint.resumed_from}
    return {
        f"{what}_{name}": str(origin[name])
        for what, origin in origins.items()
        if origin is not None
        for name in ("file", "run_name", "tensor_digest")
        if origin.get(name) is not None
    }


def _resume_state(run: AnyRun, found: Found, encoder: PretrainedEncoder | None) -> str:
    """Return in a word how a training begins."""
    if found is not None:
        return "weights" if found.begins_again(run) else "resumed"
    return "new" if encoder is None else "encoder"


def _encoder_source(found: Found, encoder: PretrainedEncoder | None) -> Mapping[str, Any] | None:
    """Return where the encoder of a training came from; None for random weights."""
    if found is not None:
        return found.checkpoint.encoder_source
    return None if encoder is None else encoder.source


def _resumed_from(run: AnyRun, found: Found) -> Mapping[str, Any] | None:
    """Return the checkpoint that a training was told to go on from; None if it began by itself."""
    if found is None:
        return None
    return found.checkpoint.resumed_from if found.is_own else found.origin(run)


def _earlier_part(found: Found) -> dict[str, str]:
    """Return as a tag which MLflow run holds the first epochs of a training that was broken off."""
    earlier = found.checkpoint.mlflow_run_id if found is not None and found.is_own else None
    return {"continues.mlflow_run_id": earlier} if earlier else {}


def _origin_tags(what: str, origin: Mapping[str, Any] | None) -> dict[str, str]:
    """Return an origin of weights as tags `<what>.<name>`; none without one."""
    plain = {
        name: value for name, value in (origin or {}).items() if not isinstance(value, Mapping)
    }
    data = (origin or {}).get("data") or {}
    plain |= {f"{name}_data_version": version for name, version in data.items()}
    return {f"{what}.{name}": str(value) for name, value in plain.items() if value is not None}


def refer_to_files(run: AnyRun, kind: str, tracker: Tracker) -> None:
    """Tell MLflow of the files that a training left, without copying them."""
    refer_to(run.mlflow, tracker.run_id, "training", files_of_training(run.run_dir, run.name, kind))


def reporter_for(run: AnyRun, dist: DistContext, report: Report, names: Sequence[str]) -> Reporter:
    """Return this rank's reporter; `names` are the numbers of an epoch that are shown."""
    if not dist.is_main:
        return SilentReporter()
    if sys.stderr.isatty():
        return TerminalReporter(run.training.epochs)
    return ReportReporter(report, names)


def chosen(metrics: Mapping[str, float], names: Sequence[str]) -> dict[str, float]:
    """Return the metrics of these names, as far as they exist."""
    return {name: metrics[name] for name in names if name in metrics}
