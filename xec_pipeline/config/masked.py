"""What runs have in common that learn to predict hidden sensors: events, loss, files."""

from typing import Literal

from pydantic import Field, field_validator

from xec_pipeline.config.data import DataConfig
from xec_pipeline.config.model import EncoderConfig
from xec_pipeline.config.normalization import NormalizationConfig
from xec_pipeline.config.output import CheckpointConfig, DistributedConfig
from xec_pipeline.config.run_base import Run
from xec_pipeline.config.section import Section
from xec_pipeline.config.training import TrainingConfig

Feature = Literal["npho", "time"]
SensorLoss = Literal[
    "smooth_l1",
    "huber",
    "l1",
    "mse",
    "l2",
    "relative_l1",
    "relative_smooth_l1",
    "relative_mse",
    "relative_l2",
]


class MaskedDataConfig(DataConfig):
    """ROOT files, branches and batches; no truth is needed."""

    batch_size: int = Field(default=1024, ge=1)
    """Events per step and per rank."""
    max_events: int | None = Field(default=None, ge=1)
    """Train on this many events, spread evenly over the files; null for all."""
    max_val_events: int | None = Field(default=None, ge=1)
    """Validate with this many events, spread evenly over the files; null for all."""


class MaskedModelConfig(EncoderConfig):
    """Encoder and predicted features."""

    predict_channels: tuple[Feature, ...] = ("npho", "time")
    """What is predicted of hidden sensors: [npho, time] or [npho]."""

    @field_validator("predict_channels")
    @classmethod
    def _channels_are_known(cls, value: tuple[Feature, ...]) -> tuple[Feature, ...]:
        if value not in (("npho",), ("npho", "time")):
            raise ValueError("predict_channels must be [npho] or [npho, time]")
        return value


class HiddenTimeConfig(Section):
    """How hidden times count."""

    weight: float = Field(default=1.0, ge=0)
    """Weight of the time loss."""
    mask_ratio_scale: float = Field(default=1.0, gt=0)
    """How much more readily sensors above npho_threshold are hidden than others; 1 for equally."""
    use_npho_weight: bool = True
    """Weigh hidden times by the square root of their light, as their precision goes."""
    npho_threshold: float | None = Field(default=None, ge=0)
    """Smallest count [photons] of a sensor in the time loss; null for the normalization's."""


class NphoLossWeight(Section):
    """Weights (npho + 1)^alpha of hidden sensors in the npho loss."""

    enabled: bool = False
    """Let bright sensors count more."""
    alpha: float = Field(default=0.5, ge=0)
    """Exponent."""


class IntensityReweighting(Section):
    """Weights of events that make the distribution of their total light flat."""

    enabled: bool = False
    """Weigh events by the population of their bin of ln(total light)."""
    nbins: int = Field(default=5, ge=1)
    """Bins, equally wide between the dimmest and the brightest training event."""
    target: Literal["uniform", "sqrt"] = "uniform"
    """uniform: all bins count equally; sqrt: bins count as the root of their population."""
    max_weight: float = Field(default=10.0, ge=1)
    """Largest weight of an event; what it cuts off is shared among the other events."""


class MaskedTrainingConfig(TrainingConfig):
    """Optimizer, schedule, and what the loss is made of."""

    lr: float = Field(default=1e-4, gt=0)
    """Peak learning rate."""
    warmup_epochs: float = Field(default=0, ge=0)
    """Linear warm-up from 1 % of lr."""
    lr_min: float = Field(default=1e-6, ge=0)
    """Final learning rate of the cosines, smallest one of plateau."""
    lr_scheduler: Literal["cosine", "cosine_restarts", "onecycle", "plateau", "none"] | None = None
    """Learning-rate schedule; all but onecycle begin with the warm-up."""
    ema_decay: float | None = Field(default=None, gt=0, lt=1)
    """Decay of the averaged weights used for validation and export; null for none."""
    loss_fn: SensorLoss = "smooth_l1"
    """Loss of one hidden sensor, in normalized units."""
    loss_beta: float = Field(default=1.0, ge=0)
    """Knee of smooth_l1 in normalized units."""
    npho_weight: float = Field(default=1.0, ge=0)
    """Weight of the npho loss."""
    time: HiddenTimeConfig = HiddenTimeConfig()
    """The time loss."""
    track_mae_rmse: bool = False
    """Log mean absolute and root-mean-square errors of hidden sensors."""
    track_metrics: bool = False
    """Log the losses of each face for the training events too."""
    npho_loss_weight: NphoLossWeight = NphoLossWeight()
    """Weights of sensors."""
    intensity_reweighting: IntensityReweighting = IntensityReweighting()
    """Weights of events."""


class MaskedCheckpointConfig(CheckpointConfig):
    """Checkpoints and artifacts of the run, in `save_dir/<run_name>/`."""

    save_interval: int = Field(default=10, ge=1)
    """Epochs between copies of the last checkpoint, and of the encoder if that is the result."""
    save_predictions: bool = True
    """Write predictions of validation events as ROOT files."""
    root_save_interval: int = Field(default=10, ge=1)
    """Epochs between these files."""
    max_predicted_events: int | None = Field(default=1000, ge=1)
    """Validation events in these files, from the first on; null for all."""


class MaskedRun(Run):
    """A run that hides sensors and learns to predict them."""

    data: MaskedDataConfig = MaskedDataConfig()
    """Events."""
    normalization: NormalizationConfig = NormalizationConfig()
    """Inputs."""
    model: MaskedModelConfig = MaskedModelConfig()
    """Network."""
    training: MaskedTrainingConfig = MaskedTrainingConfig()
    """Optimization and loss."""
    checkpoint: MaskedCheckpointConfig = MaskedCheckpointConfig()
    """Files kept."""
    distributed: DistributedConfig = DistributedConfig()
    """Processes."""

    @property
    def time_threshold(self) -> float:
        """Smallest count [photons] of a sensor whose hidden time is in the loss."""
        chosen = self.training.time.npho_threshold
        return self.normalization.npho_threshold if chosen is None else chosen
