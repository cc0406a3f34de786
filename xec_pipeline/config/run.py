"""A run: the sections put together."""

import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from xec_pipeline.config.data import DataConfig
from xec_pipeline.config.model import ModelConfig
from xec_pipeline.config.normalization import NormalizationConfig
from xec_pipeline.config.output import (
    CheckpointConfig,
    DistributedConfig,
    ExportConfig,
    MlflowConfig,
    check_run_name,
)
from xec_pipeline.config.reweighting import ReweightingConfig
from xec_pipeline.config.section import Section
from xec_pipeline.config.tasks import TASK_NAMES, TasksConfig
from xec_pipeline.config.training import TrainingConfig


class RegressorRun(Section):
    """Everything that decides what a regressor training does."""

    data: DataConfig = DataConfig()
    """Events."""
    normalization: NormalizationConfig = NormalizationConfig()
    """Inputs."""
    model: ModelConfig = ModelConfig()
    """Network."""
    tasks: TasksConfig = TasksConfig()
    """Targets."""
    training: TrainingConfig = TrainingConfig()
    """Optimization."""
    loss_balance: Literal["manual", "auto"] = "manual"
    """Weights of the tasks in training: as given, or learned (then the given ones only choose)."""
    reweighting: ReweightingConfig = ReweightingConfig()
    """Weights of the training events."""
    checkpoint: CheckpointConfig = CheckpointConfig()
    """Files kept."""
    distributed: DistributedConfig = DistributedConfig()
    """Processes."""
    mlflow: MlflowConfig = MlflowConfig()
    """Tracking."""
    export: ExportConfig = ExportConfig()
    """ONNX."""

    @model_validator(mode="after")
    def _some_task_is_on(self) -> "RegressorRun":
        if not self.tasks.active:
            raise ValueError(
                "no task is enabled; set tasks.<name>.enabled for angle, energy, timing or uvwFI"
            )
        return self

    @property
    def name(self) -> str:
        """The run's name; `unnamed` outside the registry if the file gives none."""
        return self.mlflow.run_name or "unnamed"

    @property
    def run_dir(self) -> Path:
        """Folder of the run's artifacts."""
        return Path(self.checkpoint.save_dir) / self.name

    def named(self, name: str) -> "RegressorRun":
        """Return this run under another name."""
        return self.model_copy(
            update={"mlflow": self.mlflow.model_copy(update={"run_name": check_run_name(name)})}
        )

    def with_tasks(self, names: Collection[str]) -> "RegressorRun":
        """Return this run with exactly these tasks enabled."""
        switched = {
            name: self.tasks[name].model_copy(update={"enabled": name in names})
            for name in TASK_NAMES
        }
        return self.model_copy(update={"tasks": self.tasks.model_copy(update=switched)})

    def digest(self) -> str:
        """Return a short hash of everything that can change the trained weights."""
        kept = self.model_dump(exclude={"mlflow", "checkpoint", "export"})
        return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:12]
