"""Regression heads: one small perceptron per task on all tokens together."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import torch
from torch import nn

TASK_OUTPUTS: Final[Mapping[str, int]] = MappingProxyType(
    {"angle": 2, "energy": 1, "timing": 1, "uvwFI": 3}
)
"""Components of each target: (theta, phi), energy, time, (u, v, w)."""


class RegressionHead(nn.Sequential):
    """Three linear layers, from the flattened tokens to the outputs.

    Parameters
    ----------
    n_features
        T D.
    n_outputs
        Components, or twice as many with log-variances.
    hidden_dim, dropout
        Width inside; dropout after the first layer.
    n_estimates
        The last so many features are estimates: a linear map of them is added to the outputs, and
        the perceptron starts as a correction of nothing.
    """

    def __init__(
        self,
        n_features: int,
        n_outputs: int,
        hidden_dim: int,
        dropout: float,
        *,
        n_estimates: int = 0,
    ) -> None:
        last = nn.Linear(hidden_dim, n_outputs)
        super().__init__(
            nn.Linear(n_features, hidden_dim),
            nn.LayerNorm(hidden_dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_dim, hidden_dim),
            nn.GELU(),
            last,
        )
        self._n_layers = len(self)
        self.n_estimates = n_estimates
        self.shortcut: nn.Linear | None = None
        if n_estimates:
            self.shortcut = nn.Linear(n_estimates, n_outputs, bias=False)
            nn.init.zeros_(self.shortcut.weight)
            nn.init.zeros_(last.weight)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return (B, n_outputs), standardized; the last layer is computed in float32."""
        x = features
        for index in range(self._n_layers - 1):
            x = self[index](x)
        with torch.autocast(x.device.type, enabled=False):
            output = _in_own_precision(self[self._n_layers - 1], x)
            if self.shortcut is not None:
                estimates = features[:, -self.n_estimates :]
                output = output + _in_own_precision(self.shortcut, estimates)
        return output


def _in_own_precision(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Apply a layer to x after converting x to the type of its weights."""
    y: torch.Tensor = layer(x.to(next(layer.parameters()).dtype))
    return y
