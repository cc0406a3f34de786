"""The network."""

from typing import Literal

from pydantic import Field, field_validator

from xec_pipeline.config.section import Section


class EncoderConfig(Section):
    """The part of a network that all kinds of training share."""

    encoder: Literal["xec_v1", "xec_v2"] = "xec_v1"
    """xec_v1: the public architecture; xec_v2: strided patches and a token of light moments."""
    layout: Literal["physical", "legacy"] = "physical"
    """Sensor maps: physical, or the earlier system's (only for its checkpoints)."""
    outer_mode: Literal["finegrid", "split"] = "finegrid"
    """Outer face as one fine grid, or as a coarse grid and a centre patch."""
    outer_fine_pool: tuple[int, int] | None = None
    """Average pooling of the fine grid (rows, columns)."""
    encoder_dim: int = Field(default=1024, ge=32)
    """Width D of the tokens; a multiple of 32."""
    hex_dim: int = Field(default=96, ge=8)
    """Width of the hexagonal faces' network; 96 in the public architecture."""
    dim_feedforward: int | None = None
    """Inner width of the fusion layers; null for 4 D."""
    num_fusion_layers: int = Field(default=2, ge=1)
    """Transformer layers that join the faces."""
    drop_path_rate: float = Field(default=0.0, ge=0, lt=1)
    """Probability of skipping a residual branch in training."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Dropout of the fusion layers."""

    @field_validator("encoder_dim")
    @classmethod
    def _width_divides(cls, value: int) -> int:
        if value % 32:
            raise ValueError(f"encoder_dim must be a multiple of 32, got {value}")
        return value


class ModelConfig(EncoderConfig):
    """Encoder and regression heads."""

    hidden_dim: int = Field(default=256, ge=1)
    """Width of the regression heads."""
    head_dropout: float = Field(default=0.2, ge=0, lt=1)
    """Dropout of the regression heads."""
