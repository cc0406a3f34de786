"""A masked-autoencoder run: an encoder learns from events without truth, by filling gaps."""

from pathlib import Path

from pydantic import Field, field_validator

from xec_pipeline.config.file_names import encoder_file
from xec_pipeline.config.masked import MaskedModelConfig, MaskedRun, MaskedTrainingConfig
from xec_pipeline.config.output import MlflowConfig


class MaeModelConfig(MaskedModelConfig):
    """Encoder, masks and decoders."""

    mask_ratio: float = Field(default=0.6, gt=0, lt=1)
    """Fraction of an event's live sensors that are hidden."""
    decoder_dim: int = Field(default=128, ge=2)
    """Width of the decoders; even."""

    @field_validator("decoder_dim")
    @classmethod
    def _width_is_even(cls, value: int) -> int:
        if value % 2:
            raise ValueError(f"decoder_dim must be even, got {value}")
        return value


class MaeTrainingConfig(MaskedTrainingConfig):
    """Optimizer, schedule, and what the loss is made of."""

    auto_channel_weight: bool = False
    """Learn the variances of npho and time loss; the given weights then have no effect."""


class MaeMlflowConfig(MlflowConfig):
    """Tracking."""

    experiment: str = "mae_pretraining"
    """MLflow experiment."""


class MaeRun(MaskedRun):
    """Everything that decides what a masked-autoencoder training does."""

    model: MaeModelConfig = MaeModelConfig()
    """Network and masks."""
    training: MaeTrainingConfig = MaeTrainingConfig()
    """Optimization and loss."""
    mlflow: MaeMlflowConfig = MaeMlflowConfig()
    """Tracking."""

    @property
    def encoder_path(self) -> Path:
        """File of the best epoch's encoder, the one that other runs begin with."""
        return self.run_dir / encoder_file("best")
