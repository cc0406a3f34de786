"""What runs of every kind have in common: a name, a folder, a digest."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

from xec_pipeline.config.output import CheckpointConfig, MlflowConfig, check_run_name
from xec_pipeline.config.section import Section

RunT = TypeVar("RunT", bound="Run")

_WITHOUT_EFFECT: Final[dict[str, Any]] = {
    "data": {
        "test_path",
        "shard_dir",
        "chunksize",
        "num_workers",
        "num_threads",
        "prefetch_factor",
        "log_invalid_npho",
    },
    "training": {"profile", "track_mae_rmse", "track_metrics"},
    "checkpoint": True,
    "distributed": True,
    "mlflow": True,
    "export": True,
    "validation": True,
    "schedule": True,
}
"""Where things are kept, how fast they are read and what is told of them; never the weights."""
_WAYS_TO_BEGIN: Final = {"resume_from", "reset_epoch", "refresh_lr"}
"""Options of `checkpoint` that decide the weights, if there is something to resume."""


class Run(Section):
    """Base of all runs."""

    checkpoint: CheckpointConfig = CheckpointConfig()
    """Files kept."""
    mlflow: MlflowConfig = MlflowConfig()
    """Tracking."""

    @property
    def name(self) -> str:
        """The run's name; `unnamed` outside the registry if the file gives none."""
        return self.mlflow.run_name or "unnamed"

    @property
    def run_dir(self) -> Path:
        """Folder of the run's artifacts."""
        return Path(self.checkpoint.save_dir) / self.name

    def named(self: RunT, name: str) -> RunT:
        """Return this run under another name."""
        return self.model_copy(
            update={"mlflow": self.mlflow.model_copy(update={"run_name": check_run_name(name)})}
        )

    def digest(self) -> str:
        """Return a short hash of everything that can change the trained weights."""
        kept = self.model_dump(exclude=_WITHOUT_EFFECT)
        if self.checkpoint.resume_from is not None:
            kept["checkpoint"] = self.checkpoint.model_dump(include=_WAYS_TO_BEGIN)
        return short_hash(kept)


def short_hash(options: Mapping[str, Any], content: bytes = b"") -> str:
    """Return twelve hexadecimal digits for options and, if there is one, a file that they name."""
    text = json.dumps(options, sort_keys=True).encode()
    return hashlib.sha256(text + content).hexdigest()[:12]
