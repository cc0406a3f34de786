"""Weights of events by their total light, fitted once to the training events.

The same function of the batch gives the light in the fit and in training, so that an event always
falls into the bin it was counted in.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xec_pipeline.config.masked import IntensityReweighting
from xec_pipeline.data.dataset import EventBatches
from xec_pipeline.data.reweighting import capped
from xec_pipeline.training.distributed import DistContext
from xec_pipeline.units import INVALID_ABOVE

Values = NDArray[np.float64]


class IntensityWeights:
    """Weights by bins of the logarithm of the light; beyond the bins the outermost ones hold.

    Parameters
    ----------
    edges
        Inner edges of the bins (n - 1,), ln(photons).
    weights
        Weight in each bin (n,).
    """

    def __init__(self, edges: Values, weights: Values) -> None:
        self.edges, self.weights = edges, weights

    @classmethod
    def fit(cls, log_light: Values, config: IntensityReweighting) -> "IntensityWeights":
        """Return weights with mean 1 over the given events, of ln(photons) `log_light` (N,).

        Notes
        -----
        With n_i events in a bin the weight goes as 1 / n_i (uniform) or 1 / sqrt(n_i) (sqrt), up to
        `max_weight`. Bins are equally wide; bins of equal population would give no weights at all.
        """
        edges = np.linspace(log_light.min(), log_light.max(), config.nbins + 1)[1:-1]
        bins = np.searchsorted(edges, log_light, side="right")
        counts = np.bincount(bins, minlength=config.nbins)
        power = 1.0 if config.target == "uniform" else 0.5
        raw = 1.0 / np.maximum(counts, 1) ** power
        events = capped(raw[bins], config.max_weight)
        weights = np.ones(config.nbins)
        weights[bins] = events
        return cls(edges, weights)

    def __call__(self, npho: Tensor) -> Tensor:
        """Return the weights of events with these photons (B, S), float32."""
        edges = torch.as_tensor(self.edges, device=npho.device)
        bins = torch.bucketize(log_light(npho), edges, right=True)
        return torch.as_tensor(self.weights, dtype=torch.float32, device=npho.device)[bins]


def log_light(npho: Tensor) -> Tensor:
    """Return the logarithm of the photons of each event (B,), float64; dead sensors have none."""
    usable = (npho.abs() <= INVALID_ABOVE) & (npho > 0)
    light = torch.where(usable, npho, 0.0).sum(dim=1, dtype=torch.float64)
    return light.clamp_min(1.0).log()


def fit_intensity_weights(
    batches: EventBatches, dist: DistContext, config: IntensityReweighting
) -> IntensityWeights | None:
    """Return weights fitted to all events of all ranks, the same on each; None if not enabled.

    Reads every event once. Every rank must call it.
    """
    if not config.enabled:
        return None
    own = [log_light(batch.npho_BS).cpu() for batch in batches.epoch(shuffle=False)]
    gathered = dist.gather_arrays({"log_light": torch.cat(own).numpy()})
    found = IntensityWeights.fit(gathered["log_light"], config) if gathered is not None else None
    fitted: IntensityWeights = dist.from_main(found)
    return fitted
