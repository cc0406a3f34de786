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
    shortcut
        Add a linear map from the features to the outputs, for encoders whose tokens already hold
        estimates to be corrected. It starts at zero.
    """

    def __init__(
        self,
        n_features: int,
        n_outputs: int,
        hidden_dim: int,
        dropout: float,
        *,
        shortcut: bool = False,
    ) -> None:
        super().__init__(
            nn.Linear(n_features, hidden_dim),
            nn.LayerNorm(hidden_dim),
            nn.GELU(),
            nn.Dropout(dropout),
            nn.Linear(hidden_dim, hidden_dim),
            nn.GELU(),
            nn.Linear(hidden_dim, n_outputs),
        )
        self._n_layers = len(self)
        self.shortcut = nn.Linear(n_features, n_outputs, bias=False) if shortcut else None
        if self.shortcut is not None:
            nn.init.zeros_(self.shortcut.weight)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return (B, n_outputs), standardized; the last layer is computed in float32."""
        x = features
        for index in range(self._n_layers - 1):
            x = self[index](x)
        with torch.autocast(x.device.type, enabled=False):
            output = _in_own_precision(self[self._n_layers - 1], x)
            if self.shortcut is not None:
                output = output + _in_own_precision(self.shortcut, features)
        return output


def _in_own_precision(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Apply a layer to x after converting x to the type of its weights."""
    y: torch.Tensor = layer(x.to(next(layer.parameters()).dtype))
    return y
