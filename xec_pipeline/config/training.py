"""How a model learns."""

from typing import Literal

from pydantic import Field, field_validator

from xec_pipeline.config.section import Section


class TrainingConfig(Section):
    """Optimizer, schedule, precision, seeds."""

    epochs: int = Field(default=20, ge=1)
    """Passes over the training events."""
    lr: float = Field(default=3e-4, gt=0)
    """Peak learning rate."""
    weight_decay: float = Field(default=1e-4, ge=0)
    """AdamW weight decay, applied to matrices only."""
    warmup_epochs: float = Field(default=2, ge=0)
    """Linear warm-up from 1 % of lr."""
    lr_scheduler: Literal["cosine", "cosine_restarts", "onecycle", "plateau", "none"] | None = (
        "cosine"
    )
    """Learning-rate schedule; all but onecycle begin with the warm-up."""
    lr_min: float = Field(default=1e-7, ge=0)
    """Final learning rate of the cosines, smallest one of plateau."""
    max_lr: float | None = Field(default=None, gt=0)
    """Peak of onecycle; null for lr."""
    pct_start: float = Field(default=0.3, gt=0, lt=1)
    """Fraction of the epochs in which onecycle rises."""
    lr_patience: int = Field(default=5, ge=0)
    """Epochs without a better validation loss that plateau bears before it lowers the rate."""
    lr_factor: float = Field(default=0.5, gt=0, lt=1)
    """What plateau multiplies the learning rate with."""
    lr_restart_period: int = Field(default=10, ge=1)
    """Epochs of the first cycle of cosine_restarts."""
    lr_restart_mult: int = Field(default=2, ge=1)
    """How much longer each cycle of cosine_restarts is than the one before."""
    amp: bool = True
    """bfloat16 autocast on a GPU; inputs, first layers and losses stay in float32."""
    ema_decay: float | None = Field(default=0.999, gt=0, lt=1)
    """Decay of the averaged weights used for validation and export; null for none."""
    channel_dropout_rate: float = Field(default=0.0, ge=0, lt=1)
    """Fraction of sensors marked dead at random in training."""
    grad_clip: float = Field(default=1.0, ge=0)
    """Largest gradient norm; 0 for no clipping."""
    grad_accum_steps: int = Field(default=1, ge=1)
    """Batches per optimizer step."""
    compile: str = "none"
    """torch.compile mode on a GPU: none, default, reduce-overhead, max-autotune."""
    compile_fullgraph: bool = False
    """Refuse graph breaks when compiling."""
    profile: bool = False
    """Print where the time of an epoch goes."""
    seed: int = Field(default=1234, ge=0)
    """Root of every random draw: initial weights, order of events, dropout."""

    @field_validator("compile", mode="before")
    @classmethod
    def _compile_mode(cls, value: object) -> object:
        names = {True: "max-autotune", False: "none", "false": "none"}
        mode = names.get(value, value) if isinstance(value, (bool, str)) else value
        known = ("none", "default", "reduce-overhead", "max-autotune")
        if mode not in known:
            raise ValueError(f"compile must be one of {', '.join(known)}; got {value!r}")
        return mode
