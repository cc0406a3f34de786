"""The inpainter as a stage."""

import dataclasses
from typing import Any, Final

from torch import Tensor, nn

from xec_pipeline.config.inpainter import InpainterRun
from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline.models.inpainter import Inpainter, build_inpainter
from xec_pipeline.training.distributed import DistContext
from xec_pipeline.training.inpainter_losses import InpainterLoss
from xec_pipeline.training.masked_metrics import MaskedTotals
from xec_pipeline.training.stage import Validation
from xec_pipeline.training.stages.masked import MaskedBatch, MaskedStage
from xec_pipeline.training.transfer import PretrainedEncoder, load_encoder

_UNPREFIXED: Final = ("actual_mask_ratio", "n_masked_total")
"""How many sensors were hidden; of the validation, but also without `val/`."""


class InpainterStage(MaskedStage):
    """Trains heads, and an encoder unless it is frozen, to predict hidden sensors.

    See `MaskedStage`, also for the attribute `model`.

    Parameters
    ----------
    run
        Configuration.
    dist
        The ranks.
    train, val
        Shards of the training and the validation events.
    encoder
        Pre-trained encoder to begin with; None to begin at random, or if a checkpoint follows.

    Raises
    ------
    CheckpointError
        If the encoder does not fit the run.
    """

    kind = "inpainter"

    def __init__(
        self,
        run: InpainterRun,
        dist: DistContext,
        train: ShardSet,
        val: ShardSet,
        encoder: PretrainedEncoder | None = None,
    ) -> None:
        super().__init__(run, lambda: build_inpainter(run), InpainterLoss(run), dist, train, val)
        self._encoder_source: dict[str, Any] = {}
        if encoder is not None:
            load_encoder(inpainter(self.model).encoder, encoder, run)
            self._encoder_source = {"encoder_source": dict(encoder.source)}

    def describe(self) -> dict[str, Any]:
        """Return what makes the weights usable without this process."""
        return super().describe() | self._encoder_source

    def validate(self, model: nn.Module) -> Validation:
        """Look at every validation event once; some metrics also go without `val/`."""
        found = super().validate(model)
        plain = {name: found.metrics[f"val/{name}"] for name in _UNPREFIXED}
        return dataclasses.replace(found, metrics={**found.metrics, **plain})

    def _face_losses(self, totals: MaskedTotals, prefix: str) -> dict[str, float]:
        return totals.face_losses(prefix, of_all_events=False)

    def _masked_input(self, model: nn.Module, masked: MaskedBatch) -> Tensor:
        return inpainter(model).masked(masked.truth.x, masked.is_hidden)


def inpainter(model: nn.Module) -> Inpainter:
    """Return `model` under its type; averages and trained models alike are inpainters."""
    if not isinstance(model, Inpainter):
        raise TypeError(f"expected an Inpainter, got {type(model).__name__}")
    return model
