"""Where a training begins: afresh, or from a checkpoint; and what may not be overwritten."""

import glob
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from xec_pipeline.config.file_names import (
    ANALYSIS_FOLDER,
    checkpoint_file,
    dead_study_file,
    encoder_file,
    encoder_sidecar,
    face_weights_file,
    finished_file,
    inpainter_predictions_file,
    parity_file,
    raw_onnx_file,
    recovered_file,
    report_file,
    sensor_predictions_file,
    training_record_file,
    worst_event_file,
)
from xec_pipeline.config.tasks import TASK_NAMES
from xec_pipeline.errors import CheckpointError, ConfigError, OutputError
from xec_pipeline.training.checkpoint import (
    Checkpoint,
    checkpoint_from,
    kind_of,
    load_checkpoint,
    read_content,
)
from xec_pipeline.training.compatibility import Transfer, transfer
from xec_pipeline.training.state import TrainedRun, is_within
from xec_pipeline.training.transfer import PretrainedEncoder, read_encoder

_log = logging.getLogger(__name__)


class GoingOn(NamedTuple):
    """Where a training goes on.

    Attributes
    ----------
    checkpoint, path
        The state, and its file.
    is_own
        Whether it is the run's own state, found there by itself; else it was asked for.
    """

    checkpoint: Checkpoint
    path: Path
    is_own: bool = False

    def origin(self, run: TrainedRun) -> dict[str, Any]:
        """Return in plain values which weights are taken over."""
        return self.checkpoint.origin(self.path, use_ema=not self.begins_again(run))

    def begins_again(self, run: TrainedRun) -> bool:
        """Return whether only the weights are taken, and epochs count from 1 again."""
        return run.checkpoint.reset_epoch and not self.is_own


class Recorded(NamedTuple):
    """What Dagster knows of the weights that it asks for.

    Attributes
    ----------
    data_version
        Version that it recorded last; None if they were never made.
    code_version
        Version of the code that makes them.
    """

    data_version: str | None = None
    code_version: str | None = None


def choose_encoder(
    run: TrainedRun, kind: str, pretrained: Path | None = None
) -> PretrainedEncoder | None:
    """Return the pre-trained encoder to begin with, or None.

    It is what `checkpoint.resume_from` names if that is an encoder, else `pretrained`; a checkpoint
    to go on from has an encoder already.

    Parameters
    ----------
    run
        Configuration.
    kind
        What is to be trained.
    pretrained
        Encoder of the MAE run that the configuration names, if it names one.

    Raises
    ------
    CheckpointError
        If the checkpoint is missing or damaged, or cannot start a training of this kind.
    """
    if run.checkpoint.resume_from is None:
        return None if pretrained is None else _encoder_of_run(pretrained)
    path = Path(run.checkpoint.resume_from)
    if transfer(kind_of(read_content(path)), kind, path) is not Transfer.ENCODER:
        return None
    return read_encoder(path)


def choose_start(
    run: TrainedRun,
    kind: str,
    data: Mapping[str, str],
    *,
    encoder: PretrainedEncoder | None = None,
    auto_resume: bool = False,
    overwrite: bool = False,
    recorded: Recorded | None = None,
) -> GoingOn | None:
    """Return the checkpoint to go on from, or None to begin afresh.

    Parameters
    ----------
    run
        Configuration; its `checkpoint.resume_from`, if it is no encoder, wins over all else but the
        run's own checkpoint that was itself begun from there.
    kind
        What is to be trained.
    data
        Data versions of the shards, as checkpoints keep them.
    encoder
        Pre-trained encoder from `choose_encoder`, with which to begin afresh.
    auto_resume
        Go on from the run's own last checkpoint if it has the same configuration and data, and for
        Dagster the same code. A complete training is taken as it is; with `overwrite` it is begun
        again, unless nobody has been told of its end.
    overwrite
        Begin afresh, or from another folder's checkpoint, although the folder holds checkpoints.
    recorded
        What Dagster knows of the weights; None if they are trained by hand.

    Raises
    ------
    CheckpointError
        If the checkpoint to resume is missing, damaged, or cannot start such a training.
    ConfigError
        If it has all its epochs already.
    OutputError
        If the folder holds checkpoints that would be overwritten without leave.
    """
    source = run.checkpoint.resume_from if encoder is None else None
    asked = None if source is None else Path(source)
    last = run.run_dir / checkpoint_file(kind, "last")
    holds_checkpoints = bool(existing_checkpoints(run.run_dir, kind))
    reason = f"{run.run_dir} holds checkpoints of an earlier training"
    if holds_checkpoints and auto_resume:
        own, reason = _own(run, kind, data, encoder, recorded)
        is_done = own is not None and _is_complete(own, run) and _is_told(run, kind, recorded)
        if own is not None and not (overwrite and is_done):
            return GoingOn(own, last, is_own=True)
    is_free = overwrite or not holds_checkpoints
    if asked is not None and (is_free or is_within(asked, run.run_dir)):
        return _asked_for(run, kind, asked)
    if is_free:
        return None
    raise OutputError(
        f"{reason}; give --overwrite to begin again, --resume_from {last} to go on, "
        "or another --run_name"
    )


def existing_checkpoints(run_dir: Path, kind: str) -> list[Path]:
    """Return the checkpoints of one kind in a run's folder."""
    return sorted(run_dir.glob(checkpoint_file(kind, "*")))


def clear_run(
    run_dir: Path,
    run_name: str,
    kind: str,
    exported: Collection[str] = (),
    *,
    keep: Path | None = None,
) -> None:
    """Remove what an earlier training of this kind, and its weights, left in a run's folder.

    Files of other kinds of runs with the same name stay, and so do the tables of baselines, which
    need no weights.

    Parameters
    ----------
    run_dir, run_name
        The run's folder and name.
    kind
        What is trained.
    exported
        File names of the models that are exported.
    keep
        File that stays: the weights with which a training begins, until it has its own.
    """
    stale = files_of_training(run_dir, run_name, kind)
    stale += [run_dir / made for name in exported for made in (name, raw_onnx_file(name))]
    kept = None if keep is None else keep.resolve()
    told = (finished_file(kind), training_record_file(kind), parity_file(kind, run_name))
    stale += [run_dir / name for name in (*told, report_file(kind, run_name))]
    stale = [path for path in stale if path.is_file() and path.resolve() != kept]
    for path in stale:
        path.unlink(missing_ok=True)
    if stale:
        _log.info("%s: removed %d files of an earlier training", run_dir, len(stale))


def files_of_training(run_dir: Path, run_name: str, kind: str) -> list[Path]:
    """Return checkpoints of a kind, and all that was made with them, but exported models."""
    made = {
        "regressor": _tables_and_figures(run_name),
        "mae": (encoder_file("*"), encoder_sidecar("*"), sensor_predictions_file("*")),
        "inpainter": _recovered(run_name),
    }
    found = existing_checkpoints(run_dir, kind)
    for pattern in made.get(kind, ()):
        found += sorted(path for path in run_dir.glob(pattern) if path.is_file())
    return found


def _tables_and_figures(run_name: str) -> tuple[str, ...]:
    """Return patterns of the files that a regressor's predictions, and what shows them, are in."""
    name = glob.escape(run_name)
    heads = [f"predictions_{each}_{name}" for each in (*TASK_NAMES, "meta")]
    heads += [f"resolution_{each}_{name}" for each in (*TASK_NAMES, "table")]
    heads += [face_weights_file(name), worst_event_file("[0-9][0-9]", name)]
    patterns = [f"{head}{tail}" for head in heads for tail in (".*", "_*")]
    return (*patterns, *(f"test/{pattern}" for pattern in patterns))


def _recovered(run_name: str) -> tuple[str, ...]:
    """Return patterns of the files with what an inpainter recovered, and of what shows it."""
    name = glob.escape(run_name)
    return (
        inpainter_predictions_file("*"),
        recovered_file("*", name),
        f"{dead_study_file(name)}*",
        f"{ANALYSIS_FOLDER}/*",
    )


def _encoder_of_run(path: Path) -> PretrainedEncoder:
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no such encoder; train the MAE run '{path.parent.name}' first "
            "(xec train mae --config ...), or give --mae null to begin with random weights"
        )
    return read_encoder(path)


def _asked_for(run: TrainedRun, kind: str, path: Path) -> GoingOn:
    content = read_content(path)
    if transfer(kind_of(content), kind, path) is not Transfer.FULL:
        raise CheckpointError(
            f"{path}: holds a pre-trained encoder, which can begin a training but not continue it"
        )
    checkpoint = checkpoint_from(content, path)
    if _is_complete(checkpoint, run) and not run.checkpoint.reset_epoch:
        raise ConfigError(
            f"{path} has {checkpoint.epoch} epochs and training.epochs is {run.training.epochs}: "
            "nothing is left to train; raise --epochs, or give --reset_epoch"
        )
    return GoingOn(checkpoint, path)


def _own(
    run: TrainedRun,
    kind: str,
    data: Mapping[str, str],
    encoder: PretrainedEncoder | None,
    recorded: Recorded | None,
) -> tuple[Checkpoint | None, str]:
    """Return the run's last checkpoint if it is its own, else why not."""
    path = run.run_dir / checkpoint_file(kind, "last")
    try:
        checkpoint = load_checkpoint(path, kind)
    except CheckpointError as error:
        return None, str(error)
    begun_with = (checkpoint.encoder_source or {}).get("tensor_digest")
    # With a checkpoint to go on from, the encoder came with that.
    came_along = encoder is None and run.checkpoint.resume_from is not None
    digest = encoder.digest if encoder is not None else None
    differences = {
        "was made with another configuration": checkpoint.config_digest != run.digest(),
        "was made with other events": dict(checkpoint.data) != dict(data),
        # Dagster would take what is left of an earlier code for weights of the present one.
        "was made with other code": (
            recorded is not None and checkpoint.code_version != recorded.code_version
        ),
        "began with another encoder": not came_along and begun_with != digest,
    }
    for difference, is_there in differences.items():
        if is_there:
            return None, f"{path} {difference}"
    return checkpoint, ""


def _is_told(run: TrainedRun, kind: str, recorded: Recorded | None) -> bool:
    """Return whether the end of a training has been heard of, by Dagster where that asked for it.

    A worker marks the end when it has reported; what fails afterwards keeps Dagster from recording.
    """
    path = run.run_dir / finished_file(kind)
    if not path.is_file():
        return False
    return recorded is None or path.read_text().strip() == recorded.data_version


def _is_complete(checkpoint: Checkpoint, run: TrainedRun) -> bool:
    return checkpoint.epoch >= run.training.epochs
