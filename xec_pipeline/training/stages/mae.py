"""The masked autoencoder as a stage."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from torch import Tensor, nn

from xec_pipeline.config.mae import MaeRun
from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline.models.mae import MaskedAutoencoder, build_mae
from xec_pipeline.training.distributed import DistContext
from xec_pipeline.training.mae_losses import MaeLoss
from xec_pipeline.training.masked_losses import FeatureLoss
from xec_pipeline.training.masked_metrics import MaskedTotals
from xec_pipeline.training.stage import Validation
from xec_pipeline.training.stages.masked import MaskedBatch, MaskedStage


class MaeStage(MaskedStage):
    """Trains an encoder to tell hidden sensors from visible ones; see `MaskedStage`.

    Parameters
    ----------
    run
        Configuration.
    dist
        The ranks.
    train, val
        Shards of the training and the validation events.
    """

    kind = "mae"

    def __init__(self, run: MaeRun, dist: DistContext, train: ShardSet, val: ShardSet) -> None:
        self._balance = MaeLoss(run)
        super().__init__(run, lambda: build_mae(run), self._balance, dist, train, val)

    def validate(self, model: nn.Module) -> Validation:
        """Look at every validation event once; the metrics also tell of learned weights."""
        found = super().validate(model)
        learned = _variance_metrics(model, self._balance.features)
        return dataclasses.replace(found, metrics={**found.metrics, **learned})

    def _event_losses(self, model: nn.Module, losses: Mapping[str, FeatureLoss]) -> Tensor:
        log_variances = _autoencoder(model).channel_log_vars
        return self._balance.balanced_event_losses(losses, log_variances)

    def _face_losses(self, totals: MaskedTotals, prefix: str) -> dict[str, float]:
        # Their sum is the loss of the feature.
        return totals.face_losses(prefix, of_all_events=True)

    def _masked_input(self, model: nn.Module, masked: MaskedBatch) -> Tensor:
        return _autoencoder(model).masked(masked.truth.x, masked.is_hidden)


def _autoencoder(model: nn.Module) -> MaskedAutoencoder:
    """Return `model` under its type; averages and trained models alike are autoencoders."""
    if not isinstance(model, MaskedAutoencoder):
        raise TypeError(f"expected a MaskedAutoencoder, got {type(model).__name__}")
    return model


def _variance_metrics(model: nn.Module, features: Sequence[str]) -> dict[str, float]:
    """Return the learned log-variances and the weights that they give the features."""
    learned = _autoencoder(model).channel_log_vars
    if learned is None:
        return {}
    metrics = {}
    for feature, value in zip(features, learned.tolist(), strict=True):
        metrics[f"channel/{feature}_log_var"] = value
        metrics[f"channel/{feature}_weight"] = 0.5 * math.exp(-value)
    return metrics
