"""The network of the two faces whose sensors lie on a hexagon-like lattice (top and bottom)."""

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from xec_pipeline.models.blocks import MixingBlock


class HexConv(nn.Module):
    """Depthwise convolution over a node and its neighbours, one weight per direction and channel.

    y_v = bias + sum over slots t of weight_t x_u(v, t). The table of senders u(v, t) has a fixed
    number of slots; an empty slot points at an extra row of zeros. A gather, not a scatter, so
    that it runs in any precision and exports with a free batch size.
    """

    def __init__(self, width: int, neighbours: npt.NDArray[np.int64]) -> None:
        super().__init__()
        n_nodes, n_slots = neighbours.shape
        self.weight = nn.Parameter(torch.empty(1, n_slots, width))
        self.bias = nn.Parameter(torch.zeros(1, 1, width))
        nn.init.normal_(self.weight, std=0.02)
        table = torch.as_tensor(np.array(neighbours).reshape(-1))
        self.senders: torch.Tensor
        self.register_buffer("senders", table, persistent=False)
        self.table_shape = (n_nodes, n_slots)

    def forward(self, x_BNC: torch.Tensor) -> torch.Tensor:
        """Return (B, N, C)."""
        padded = nn.functional.pad(x_BNC, (0, 0, 0, 1))
        messages = torch.unflatten(padded.index_select(1, self.senders), 1, self.table_shape)
        return (messages * self.weight).sum(dim=2) + self.bias


class HexBlock(MixingBlock):
    """ConvNeXt V2 block on a graph (B, N, C)."""

    def __init__(
        self, width: int, neighbours: npt.NDArray[np.int64], drop_path_rate: float = 0.0
    ) -> None:
        super().__init__(width, drop_path_rate)
        self.spatial_conv = HexConv(width, neighbours)

    def mix(self, x: torch.Tensor) -> torch.Tensor:
        """Mix each node with its neighbours."""
        y: torch.Tensor = self.spatial_conv(x)
        return y


class HexEncoder(nn.Module):
    """From the sensors of a hexagonal face to one token.

    Parameters
    ----------
    neighbours
        (N, 7) sender of every slot of every node; N marks an empty slot.
    width
        Width inside.
    out_width
        Width D of the token.
    n_layers, drop_path_rate
        Number of blocks and their skip probability.
    """

    def __init__(
        self,
        neighbours: npt.NDArray[np.int64],
        width: int,
        out_width: int,
        *,
        n_layers: int = 4,
        drop_path_rate: float = 0.0,
    ) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Linear(2, width), nn.LayerNorm(width), nn.GELU())
        self.layers = nn.ModuleList(
            HexBlock(width, neighbours, drop_path_rate) for _ in range(n_layers)
        )
        self.proj = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, out_width))

    def forward(self, x_BNC: torch.Tensor, hidden_BN: torch.Tensor | None = None) -> torch.Tensor:
        """Return the token (B, D).

        Parameters
        ----------
        x_BNC
            npho and time (B, N, 2).
        hidden_BN
            Boolean; hidden nodes are zeroed before the stem and inside every block.
        """
        visible = None if hidden_BN is None else (~hidden_BN)[..., None].to(x_BNC)
        if visible is not None:
            x_BNC = x_BNC * visible
        # Times need more digits than bfloat16 has.
        with torch.autocast(x_BNC.device.type, enabled=False):
            x = self.stem(x_BNC)
        for layer in self.layers:
            x = layer(x, visible)
        token_BD: torch.Tensor = self.proj(x.mean(dim=1))
        return token_BD
