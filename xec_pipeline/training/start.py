"""Where a training begins: afresh, or from a checkpoint; and what may not be overwritten."""

import logging
from collections.abc import Mapping
from pathlib import Path

from xec_pipeline.errors import CheckpointError, ConfigError, OutputError
from xec_pipeline.training.checkpoint import Checkpoint, load_checkpoint
from xec_pipeline.training.loop import LAST
from xec_pipeline.training.state import TrainedRun

_log = logging.getLogger(__name__)


def choose_start(
    run: TrainedRun,
    kind: str,
    data: Mapping[str, str],
    *,
    auto_resume: bool = False,
    overwrite: bool = False,
) -> tuple[Checkpoint, Path] | None:
    """Return the checkpoint to go on from, or None to begin afresh.

    Parameters
    ----------
    run
        Configuration; its `checkpoint.resume_from` wins over all else.
    kind
        Kind of checkpoint that fits.
    data
        Data versions of the shards, as checkpoints keep them.
    auto_resume
        Go on from the run's own last checkpoint if it has the same configuration and data. A
        complete training is taken as it is, or begun again with `overwrite`.
    overwrite
        Begin afresh where nothing can be resumed, although the folder holds checkpoints.

    Raises
    ------
    CheckpointError
        If the checkpoint to resume is missing, damaged, or of another kind.
    ConfigError
        If it has all its epochs already.
    OutputError
        If the folder holds checkpoints that would be overwritten without leave.
    """
    if run.checkpoint.resume_from is not None:
        return _asked_for(run, kind, Path(run.checkpoint.resume_from))
    if not existing_checkpoints(run.run_dir):
        return None
    reason = f"{run.run_dir} holds checkpoints of an earlier training"
    if auto_resume:
        own, reason = _own(run, kind, data)
        if own is not None and not (overwrite and _is_complete(own, run)):
            return own, run.run_dir / LAST
    if overwrite:
        return None
    raise OutputError(
        f"{reason}; give --overwrite to begin again, --resume_from {run.run_dir / LAST} to go on, "
        "or another --run_name"
    )


def existing_checkpoints(run_dir: Path) -> list[Path]:
    """Return the regressor checkpoints in a run's folder."""
    return sorted(run_dir.glob("checkpoint_*.pth"))


def clear_run(run_dir: Path, run_name: str) -> None:
    """Remove the checkpoints and best-epoch tables of an earlier training from a run's folder."""
    stale = existing_checkpoints(run_dir) + sorted(
        run_dir.glob(f"predictions_*_{run_name}_ep*.csv")
    )
    for path in stale:
        path.unlink(missing_ok=True)
    if stale:
        _log.info("%s: removed %d files of an earlier training", run_dir, len(stale))


def _asked_for(run: TrainedRun, kind: str, path: Path) -> tuple[Checkpoint, Path]:
    checkpoint = load_checkpoint(path, kind)
    if _is_complete(checkpoint, run) and not run.checkpoint.reset_epoch:
        raise ConfigError(
            f"{path} has {checkpoint.epoch} epochs and training.epochs is {run.training.epochs}: "
            "nothing is left to train; raise --epochs, or give --reset_epoch"
        )
    return checkpoint, path


def _own(run: TrainedRun, kind: str, data: Mapping[str, str]) -> tuple[Checkpoint | None, str]:
    """Return the run's last checkpoint if it is its own, else why not."""
    path = run.run_dir / LAST
    try:
        checkpoint = load_checkpoint(path, kind)
    except CheckpointError as error:
        return None, str(error)
    if checkpoint.config_digest != run.digest():
        return None, f"{path} was made with another configuration"
    if dict(checkpoint.data) != dict(data):
        return None, f"{path} was made with other events"
    return checkpoint, ""


def _is_complete(checkpoint: Checkpoint, run: TrainedRun) -> bool:
    return checkpoint.epoch >= run.training.epochs
