"""A run: the sections put together."""

from collections.abc import Collection
from typing import Literal

from pydantic import model_validator

from xec_pipeline.config.data import DataConfig
from xec_pipeline.config.datasets import dataset_key
from xec_pipeline.config.model import ModelConfig
from xec_pipeline.config.normalization import NormalizationConfig
from xec_pipeline.config.output import (
    CheckpointConfig,
    DistributedConfig,
    ExportConfig,
    MlflowConfig,
)
from xec_pipeline.config.pretrained import PretrainedRun
from xec_pipeline.config.retraining import ScheduleConfig
from xec_pipeline.config.reweighting import ReweightingConfig
from xec_pipeline.config.run_base import short_hash
from xec_pipeline.config.tasks import TASK_NAMES, TasksConfig
from xec_pipeline.config.training import TrainingConfig


class RegressorRun(PretrainedRun):
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
    schedule: ScheduleConfig = ScheduleConfig()
    """Retraining."""

    @model_validator(mode="after")
    def _some_task_is_on(self) -> "RegressorRun":
        if not self.tasks.active:
            raise ValueError(
                "no task is enabled; set tasks.<name>.enabled for angle, energy, timing or uvwFI"
            )
        return self

    @model_validator(mode="after")
    def _what_is_retrained_can_be_used(self) -> "RegressorRun":
        if self.schedule.cron is not None and self.export.onnx is None:
            raise ValueError(
                "schedule.cron is set but export.onnx is null; a retrained model is compared with "
                "the one in use, which is published as ONNX"
            )
        return self

    def evaluation_digest(self) -> str:
        """Return a short hash of which events are looked at, and what is asked of them."""
        paths = (self.data.train_path, self.data.val_path, self.data.test_path)
        cut = self.data.fiducial
        return short_hash(
            {
                "samples": [dataset_key(path) if path else "" for path in paths],
                # Baselines are calibrated on the training events inside it.
                "fiducial": cut.model_dump() if cut.enabled else None,
                "tasks": self.tasks.active,
                "timing_reference": self.tasks.timing.reference,
                "truth_time_unit": self.data.truth_time_unit,
            }
        )

    def with_tasks(self, names: Collection[str]) -> "RegressorRun":
        """Return this run with exactly these tasks enabled."""
        switched = {
            name: self.tasks[name].model_copy(update={"enabled": name in names})
            for name in TASK_NAMES
        }
        return self.model_copy(update={"tasks": self.tasks.model_copy(update=switched)})
