"""Encoder and heads together, alone or from photons to physical units."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import torch
from torch import nn

from xec_pipeline.config.run import RegressorRun
from xec_pipeline.config.tasks import TasksConfig
from xec_pipeline.detector.layout import layout_by_name
from xec_pipeline.models.encoder import build_encoder
from xec_pipeline.models.encoder_base import Encoder
from xec_pipeline.models.heads import TASK_OUTPUTS, RegressionHead
from xec_pipeline.models.input_norm import InputNormalizer
from xec_pipeline.models.target_scaling import TargetScaling

PHYSICAL_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "angle": "angles_deg",
        "energy": "energy_mev",
        "timing": "relative_time_ns",
        "uvwFI": "uvw_cm",
    }
)
"""Task to the name of its output in physical units; its uncertainty is called `sigma_<name>`."""


class Regressor(nn.Module):
    """One encoder, one head per active task.

    Parameters
    ----------
    encoder
        Makes tokens.
    heads
        Task to number of outputs: components, or twice as many with log-variances.
    hidden_dim, dropout
        Of the heads.
    """

    def __init__(
        self, encoder: Encoder, heads: Mapping[str, int], hidden_dim: int, dropout: float
    ) -> None:
        super().__init__()
        self.backbone = encoder
        self.n_outputs = dict(heads)
        n_features = encoder.n_tokens * encoder.width
        n_estimates = encoder.width if encoder.keeps_estimates else 0
        self.heads = nn.ModuleDict(
            {
                task: RegressionHead(
                    n_features,
                    n_outputs,
                    hidden_dim,
                    dropout,
                    n_estimates=n_estimates,
                )
                for task, n_outputs in heads.items()
            }
        )

    def forward(self, x_BSC: torch.Tensor) -> dict[str, torch.Tensor]:
        """Predict standardized targets.

        Parameters
        ----------
        x_BSC
            Normalized npho and time (B, 4760, 2).

        Returns
        -------
        dict
            Task to (B, k), or (B, 2k): values, then log-variances.
        """
        features = self.backbone.forward_features(x_BSC).flatten(1)
        return {task: head(features) for task, head in self.heads.items()}


class PhysicalRegressor(nn.Module):
    """From photons and sensor times to physical units: what is exported for use elsewhere.

    Parameters
    ----------
    normalizer, regressor, scaling
        The three parts of a checkpoint.
    """

    def __init__(
        self, normalizer: InputNormalizer, regressor: Regressor, scaling: TargetScaling
    ) -> None:
        super().__init__()
        self.normalizer = normalizer
        self.regressor = regressor
        self.scaling = scaling

    def forward(self, npho_BS: torch.Tensor, time_s_BS: torch.Tensor) -> dict[str, torch.Tensor]:
        """Predict from raw values.

        Parameters
        ----------
        npho_BS
            Photons (B, 4760); NaN, infinity or 1e10 where dead.
        time_s_BS
            Sensor times as in the branch the network was trained on (B, 4760) [s]; NaN, infinity or
            1e10 where there is none.

        Returns
        -------
        dict
            Per active task its `PHYSICAL_NAMES` entry: `energy_mev` (B, 1), `relative_time_ns`
            (B, 1) (add `time_min_used` of the event for the absolute time), `uvw_cm` (B, 3),
            `angles_deg` (B, 2); and `sigma_<name>` of the same shape where the head predicts an
            uncertainty.
        """
        return self.restore(self.regressor(self.normalizer(npho_BS, time_s_BS)))

    def restore(self, outputs: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Turn what the regressor returned into the dict that `forward` returns."""
        physical = {}
        for task, output in outputs.items():
            restored = self.scaling.restore(task, output)
            physical[PHYSICAL_NAMES[task]] = restored["value"]
            if "sigma" in restored:
                physical[f"sigma_{PHYSICAL_NAMES[task]}"] = restored["sigma"]
        return physical


def head_widths(tasks: TasksConfig) -> dict[str, int]:
    """Return the number of outputs of every active task: twice its components with gaussian_nll."""
    return {
        task: TASK_OUTPUTS[task] * (2 if tasks[task].loss_fn == "gaussian_nll" else 1)
        for task in tasks.active
    }


def build_regressor(run: RegressorRun) -> Regressor:
    """Return the untrained network of a run; initial weights come from torch's global generator."""
    encoder = build_encoder(run.model, layout_by_name(run.model.layout), run.normalization)
    return Regressor(encoder, head_widths(run.tasks), run.model.hidden_dim, run.model.head_dropout)
