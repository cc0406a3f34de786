"""A run: the sections put together."""

from collections.abc import Collection
from pathlib import Path
from typing import Literal

from pydantic import field_validator, model_validator

from xec_pipeline.config.data import DataConfig
from xec_pipeline.config.file_names import encoder_file
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
from xec_pipeline.config.run_base import Run
from xec_pipeline.config.tasks import TASK_NAMES, TasksConfig
from xec_pipeline.config.training import TrainingConfig


class RegressorRun(Run):
    """Everything that decides what a regressor training does."""

    data: DataConfig = DataConfig()
    """Events."""
    normalization: NormalizationConfig = NormalizationConfig()
    """Inputs."""
    mae: str | None = None
    """Registered masked-autoencoder run whose encoder the training begins with; null for none."""
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

    @field_validator("mae")
    @classmethod
    def _mae_is_a_run_name(cls, value: str | None) -> str | None:
        return value if value is None else check_run_name(value)

    @model_validator(mode="after")
    def _some_task_is_on(self) -> "RegressorRun":
        if not self.tasks.active:
            raise ValueError(
                "no task is enabled; set tasks.<name>.enabled for angle, energy, timing or uvwFI"
            )
        return self

    @property
    def encoder_path(self) -> Path | None:
        """File of the pre-trained encoder that `mae` names, in the folder beside this run's."""
        if self.mae is None:
            return None
        return Path(self.checkpoint.save_dir) / self.mae / encoder_file("best")

    def with_tasks(self, names: Collection[str]) -> "RegressorRun":
        """Return this run with exactly these tasks enabled."""
        switched = {
            name: self.tasks[name].model_copy(update={"enabled": name in names})
            for name in TASK_NAMES
        }
        return self.model_copy(update={"tasks": self.tasks.model_copy(update=switched)})
