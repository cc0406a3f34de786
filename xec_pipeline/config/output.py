"""What is kept of a run, and where: checkpoints, tracking, export."""

import re

from pydantic import Field, field_validator

from xec_pipeline.config.section import Section

RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]*")
PRODUCTION = "production"
"""Folder of the model in use among those of the runs; no run may have this name."""


def check_run_name(name: str) -> str:
    """Return `name` if it can be a folder and a partition key, else raise ValueError."""
    if not RUN_NAME.fullmatch(name):
        raise ValueError(
            f"run name {name!r} must start with a letter or digit and hold only letters, "
            "digits, '_', '-' and '.', because it names a folder, files and a partition"
        )
    if name == PRODUCTION:
        raise ValueError(f"{name!r} is no run name: it is the folder of the model in use")
    return name


class CheckpointConfig(Section):
    """Checkpoints and artifacts of the run, in `save_dir/<run_name>/`."""

    save_dir: str = "artifacts"
    """Parent of the run's folder."""
    resume_from: str | None = None
    """Checkpoint to go on from."""
    save_interval: int = Field(default=10, ge=1)
    """Keep a copy of the last checkpoint every this many epochs."""
    save_artifacts: bool = True
    """Write prediction tables (CSV, ROOT) and figures; without, a training leaves its weights."""
    refresh_lr: bool = False
    """On resuming, run a new schedule over the remaining epochs."""
    reset_epoch: bool = False
    """On resuming, take the weights only and start at epoch 1, in an MLflow run of its own."""
    new_mlflow_run: bool = False
    """On resuming, open a new MLflow run instead of continuing the old one."""


class MlflowConfig(Section):
    """Tracking."""

    experiment: str = "xec_regressor"
    """MLflow experiment."""
    run_name: str | None = None
    """Name of the run, its artifact folder and its partition; the YAML file's name if null."""
    tracking_uri: str = "sqlite:///mlruns.db"
    """MLflow store; a relative SQLite path counts from the working folder."""

    @field_validator("run_name")
    @classmethod
    def _name_is_usable(cls, value: str | None) -> str | None:
        return value if value is None else check_run_name(value)


class ExportConfig(Section):
    """Export for inference elsewhere."""

    onnx: str | None = "model.onnx"
    """File name of the ONNX model; null for none."""


class DistributedConfig(Section):
    """How many processes train."""

    num_gpus: int = Field(default=1, ge=1)
    """Ranks per node; a launcher's number of ranks wins."""
