"""The checkpoints of a training in its run's folder, written so that no end of it loses one."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from xec_pipeline.atomic import replacing
from xec_pipeline.config.file_names import checkpoint_file
from xec_pipeline.training.checkpoint import Checkpoint, write_checkpoint

_BEFORE: Final = "before"
"""Which checkpoint is from before the epoch that is being validated."""


class CheckpointFiles:
    """Writes checkpoints of one kind into a folder; for rank 0.

    Parameters
    ----------
    run_dir
        Folder of the run.
    kind
        What is trained.
    """

    def __init__(self, run_dir: Path, kind: str) -> None:
        self._run_dir, self._kind = run_dir, kind

    def path(self, which: str) -> Path:
        """Return where a checkpoint is; see `checkpoint_file`."""
        return self._run_dir / checkpoint_file(self._kind, which)

    def write(self, checkpoint: Checkpoint, copies: Sequence[str] = ()) -> None:
        """Write `copies` and then the last checkpoint, which tells of the best one.

        Raises
        ------
        OutputError
            If a file cannot be written.
        """
        first, *others = (*copies, "last")
        write_checkpoint(self.path(first), checkpoint)
        for which in others:
            self._copy(first, which)
        if checkpoint.step_in_epoch == 0:
            self.path(_BEFORE).unlink(missing_ok=True)

    def write_trained(self, checkpoint: Checkpoint) -> None:
        """Write the last checkpoint of an epoch that is still to be validated.

        Whatever ends the validation, training need not be repeated. The one from before the epoch
        stays until the next `write`; it is there already if the validation was broken off once.

        Raises
        ------
        OutputError
            If a file cannot be written.
        """
        if self.path("last").exists() and not self.path(_BEFORE).exists():
            self._copy("last", _BEFORE)
        write_checkpoint(self.path("last"), checkpoint)

    def take_back(self) -> None:
        """Let the last checkpoint be the one from before the epoch, or none in the first epoch."""
        if self.path(_BEFORE).exists():
            self.path(_BEFORE).replace(self.path("last"))
        else:
            self.path("last").unlink(missing_ok=True)

    def _copy(self, source: str, target: str) -> None:
        with replacing(self.path(target)) as partial:
            shutil.copyfile(self.path(source), partial)
