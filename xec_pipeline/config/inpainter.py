"""An inpainter run: dead sensors learn from live ones, which are hidden for the purpose."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from xec_pipeline.config.masked import (
    Feature,
    MaskedCheckpointConfig,
    MaskedModelConfig,
    MaskedRun,
    MaskedTrainingConfig,
)
from xec_pipeline.config.output import ExportConfig, MlflowConfig, check_run_name
from xec_pipeline.config.pretrained import PretrainedRun
from xec_pipeline.config.run_base import short_hash
from xec_pipeline.config.section import Section
from xec_pipeline.errors import did_you_mean

BaselineName = Literal["avg", "sa", "localfit", "knn"]

_HEAD_GROUPS: Final = 8
"""Groups of the normalization in the heads of a face."""
_ATTENTION_HEADS: Final = 4
_SINES: Final = 6
"""Sine and cosine of three coordinates."""


def _number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return -1.0


class FaceRatios(Section):
    """Fractions of the live sensors of each face that are hidden."""

    inner: float = Field(default=0.0, ge=0, lt=1)
    """Of the inner face."""
    us: float = Field(default=0.0, ge=0, lt=1)
    """Of the upstream face."""
    ds: float = Field(default=0.0, ge=0, lt=1)
    """Of the downstream face."""
    outer: float = Field(default=0.0, ge=0, lt=1)
    """Of the outer face."""
    top: float = Field(default=0.0, ge=0, lt=1)
    """Of the top face."""
    bot: float = Field(default=0.0, ge=0, lt=1)
    """Of the bottom face."""


class InpainterModelConfig(MaskedModelConfig):
    """Encoder, masks and heads."""

    mask_ratio: float | FaceRatios = 0.05
    """Fraction of an event's live sensors that are hidden, or fractions by face: {inner: 0.05}."""
    mask_npho_flat: bool = False
    """Hide bright and dim sensors alike: as flat in ln(npho) as the event's sensors allow."""
    mask_boards: float = Field(default=0.0, ge=0, le=1)
    """Fraction of the hidden sensors that are on whole electronics boards of the inner face, 22
    neighbours each, as real failures are; needs one mask_ratio for all faces."""
    predict_channels: tuple[Feature, ...] = ("npho",)
    """What is predicted of hidden sensors: [npho] or [npho, time]."""
    freeze_encoder: bool = True
    """Train the heads alone."""
    head_type: Literal["per_face", "cross_attention"] = "per_face"
    """A network for each face, or one that attends to the nearest sensors and to the tokens."""
    use_local_context: bool = True
    """Let the heads of the faces see their face, not the tokens alone (for comparison)."""
    use_masked_attention: bool = False
    """Predict from the visible neighbours only; for heads of faces."""
    head_width: int = Field(default=64, ge=_HEAD_GROUPS)
    """Width of the heads of the rectangular faces; a multiple of 8."""
    hex_head_width: int = Field(default=96, ge=2)
    """Width of the heads of the hexagonal faces; even."""
    cross_attn_k: int = Field(default=16, ge=1)
    """Nearest sensors that a hidden one attends to."""
    cross_attn_hidden: int = Field(default=64, ge=1)
    """Width of the attention to sensors."""
    cross_attn_latent_dim: int = Field(default=128, ge=_ATTENTION_HEADS)
    """Width of the attention to tokens; a multiple of 4."""
    cross_attn_pos_dim: int = Field(default=96, ge=_SINES)
    """Sines and cosines of a sensor's position; a multiple of 6."""
    relative_values: bool = False
    """Predict the difference from a local estimate, in the attention to sensors."""

    @field_validator("mask_ratio", mode="before")
    @classmethod
    def _ratios_are_fractions(cls, value: object) -> object:
        if isinstance(value, FaceRatios):
            value = value.model_dump()
        given = value if isinstance(value, Mapping) else {"": value}
        known = list(FaceRatios.model_fields)
        for face, ratio in given.items():
            if face not in known and face != "":
                raise ValueError(
                    f"unknown face '{face}'{did_you_mean(str(face), known)}; "
                    f"known: {', '.join(known)}"
                )
            if not 0 <= _number(ratio) < 1:
                raise ValueError("expected a fraction, 0 <= mask_ratio < 1, or fractions by face")
        if not any(_number(ratio) > 0 for ratio in given.values()):
            raise ValueError("no sensor would be hidden")
        return value

    @model_validator(mode="after")
    def _boards_need_one_ratio(self) -> "InpainterModelConfig":
        if self.mask_boards and (isinstance(self.mask_ratio, FaceRatios) or self.mask_npho_flat):
            raise ValueError(
                "mask_boards needs one mask_ratio for all faces, and no mask_npho_flat"
            )
        return self

    @field_validator("head_width", "hex_head_width", "cross_attn_latent_dim", "cross_attn_pos_dim")
    @classmethod
    def _head_width_divides(cls, value: int, info: ValidationInfo) -> int:
        factors = {
            "head_width": _HEAD_GROUPS,
            "cross_attn_latent_dim": _ATTENTION_HEADS,
            "cross_attn_pos_dim": _SINES,
        }
        factor = factors.get(info.field_name or "", 2)
        if value % factor:
            raise ValueError(f"must be a multiple of {factor}, got {value}")
        return value


class InpainterTrainingConfig(MaskedTrainingConfig):
    """Optimizer, schedule, and what the loss is made of."""

    epochs: int = Field(default=50, ge=1)
    """Passes over the training events."""
    mae_checkpoint: str | None = None
    """File of an MAE, or of an encoder, to begin with instead of the run that `mae` names."""
    track_mae_rmse: bool = True
    """Log mean absolute and root-mean-square errors of hidden sensors."""
    track_metrics: bool = True
    """Log the losses of each face for the training events too."""


class InpainterMlflowConfig(MlflowConfig):
    """Tracking."""

    experiment: str = "inpainting"
    """MLflow experiment."""


class InpainterExportConfig(ExportConfig):
    """Export for inference elsewhere; photons and seconds in and out."""

    torchscript: str | None = "inpainter.pt"
    """File name of the TorchScript model; null for none."""
    onnx: str | None = "inpainter.onnx"
    """File name of the ONNX model; null for none."""
    clamp_negative: bool = True
    """Let exported models predict no fewer than 0 photons."""


class ArtificialSensors(Section):
    """Live sensors that are hidden in each event and face to compare with."""

    inner: int = Field(default=10, ge=0)
    """Of the inner face."""
    us: int = Field(default=1, ge=0)
    """Of the upstream face."""
    ds: int = Field(default=1, ge=0)
    """Of the downstream face."""
    outer: int = Field(default=1, ge=0)
    """Of the outer face."""
    top: int = Field(default=1, ge=0)
    """Of the top face."""
    bot: int = Field(default=1, ge=0)
    """Of the bottom face."""


class ValidationConfig(Section):
    """How a trained inpainter is measured; nothing here changes its weights."""

    dead_file: str | None = None
    """Dead sensors: a text file, a folder of them, a table (.csv), `database` for the URL in
    XEC_DEAD_DB; null to draw a pattern for simulated events."""
    dead_run: int | None = Field(default=None, ge=0)
    """Run whose dead sensors are taken; null for that of each event, or with a plain file."""
    dead_fraction: float = Field(default=0.03, gt=0, lt=1)
    """Fraction of all sensors in a drawn pattern."""
    dead_seed: int = Field(default=1, ge=0)
    """Root of the drawn pattern."""
    n_artificial: ArtificialSensors = ArtificialSensors()
    """Sensors that are hidden in events with real dead sensors."""
    seed: int = Field(default=42, ge=0)
    """Root of the masks of single events."""
    baselines: tuple[BaselineName, ...] = ("avg", "sa", "localfit", "knn")
    """Other methods for the same sensors: avg, sa, localfit, knn."""
    max_events: int | None = Field(default=None, ge=1)
    """Use this many events, from the first on; null for all."""
    regressor: str | None = None
    """Registered regressor run that is tried with dead and with filled sensors; null for none."""

    @field_validator("regressor")
    @classmethod
    def _regressor_is_a_run_name(cls, value: str | None) -> str | None:
        return value if value is None else check_run_name(value)


class InpainterRun(PretrainedRun, MaskedRun):
    """Everything that decides what an inpainter training does."""

    model: InpainterModelConfig = InpainterModelConfig()
    """Network and masks."""
    training: InpainterTrainingConfig = InpainterTrainingConfig()
    """Optimization and loss."""
    checkpoint: MaskedCheckpointConfig = MaskedCheckpointConfig()
    """Files kept."""
    mlflow: InpainterMlflowConfig = InpainterMlflowConfig()
    """Tracking."""
    export: InpainterExportConfig = InpainterExportConfig()
    """TorchScript and ONNX."""
    validation: ValidationConfig = ValidationConfig()
    """Measurements after the training."""

    @model_validator(mode="after")
    def _one_encoder(self) -> "InpainterRun":
        if self.mae is not None and self.training.mae_checkpoint is not None:
            raise ValueError(
                "mae and training.mae_checkpoint both name an encoder; leave one of them out"
            )
        return self

    @model_validator(mode="after")
    def _one_preference(self) -> "InpainterRun":
        if self.model.mask_npho_flat and self.training.time.mask_ratio_scale != 1:
            raise ValueError(
                "model.mask_npho_flat and training.time.mask_ratio_scale both choose sensors by "
                "their light; leave one of them out"
            )
        return self

    def measurement_digest(self) -> str:
        """Return a short hash of what decides measurements, but not the weights.

        A file of dead sensors, or a folder of them, takes part with its content, if it is there. A
        database takes part by its name only; to ask it is not for a configuration.
        """
        source = self.validation.dead_file
        kept = self.model_dump(include={"validation": True, "data": {"test_path"}})
        return short_hash(kept, _content(Path(source)) if source else b"")

    @property
    def encoder_path(self) -> Path | None:
        """File of the encoder to begin with: that of the run `mae`, or training.mae_checkpoint."""
        chosen = self.training.mae_checkpoint
        return super().encoder_path if chosen is None else Path(chosen)


def _content(path: Path) -> bytes:
    """Return the content of a file, or of the files in a folder with their names."""
    if not path.is_dir():
        return path.read_bytes() if path.is_file() else b""
    files = sorted(file for file in path.iterdir() if file.is_file())
    return b"".join(
        b"%b\0%d\0%b" % (file.name.encode(), file.stat().st_size, file.read_bytes())
        for file in files
    )
