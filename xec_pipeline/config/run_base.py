"""What runs of every kind have in common: a name, a folder, a digest."""

import hashlib
import json
from pathlib import Path
from typing import TypeVar

from xec_pipeline.config.output import CheckpointConfig, MlflowConfig, check_run_name
from xec_pipeline.config.section import Section

RunT = TypeVar("RunT", bound="Run")


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
        kept = self.model_dump(exclude={"mlflow", "checkpoint", "export"})
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]
