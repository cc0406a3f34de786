"""Heads of the inpainter that look at the visible neighbours of a hidden sensor, and never at it.

What a neighbour weighs depends on its own features. A hidden or dead neighbour weighs exactly
nothing; a sensor without a visible neighbour gets a learned vector instead of their mean.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from xec_pipeline.models.inpainter_heads import (
    FaceHead,
    FaceView,
    GraphHead,
    HeadKind,
    HeadSizes,
    last_in_full,
    two_layers,
)
from xec_pipeline.models.places import HiddenPlaces, hidden_places, scattered

_HOPS: Final = 2
"""Neighbours are those that so many steps lead to: a box of 5 x 5 cells on a rectangular face."""

_LOCAL: Final = HeadKind(is_local=True, learns_places=False)


class NeighbourPool(nn.Module):
    """Weighted mean of the features of visible neighbours.

    Parameters
    ----------
    neighbours
        (N, K) places; N marks an empty slot.
    width
        Of the features.
    """

    def __init__(self, neighbours: npt.NDArray[np.int64], width: int) -> None:
        super().__init__()
        self.neighbours: torch.Tensor
        self.register_buffer("neighbours", torch.as_tensor(neighbours), persistent=False)
        self.nothing = nn.Parameter(torch.zeros(width))

    def forward(
        self,
        features_BNC: torch.Tensor,
        logits_BN: torch.Tensor,
        is_blind_BN: torch.Tensor,
        ids_BM: torch.Tensor,
    ) -> torch.Tensor:
        """Return (B, M, C) for the places `ids_BM`."""
        slots_BMK = self.neighbours[ids_BM]
        is_blind = nn.functional.pad(is_blind_BN, (0, 1), value=True)
        logits = nn.functional.pad(logits_BN.float(), (0, 1))
        weights_BMK = visible_softmax(picked(logits, slots_BMK), ~picked(is_blind, slots_BMK))
        features = nn.functional.pad(features_BNC, (0, 0, 0, 1))
        found_BMC = (weights_BMK.to(features)[..., None] * picked(features, slots_BMK)).sum(dim=2)
        has_any = (weights_BMK > 0).any(dim=2, keepdim=True)
        return torch.where(has_any, found_BMC, self.nothing.to(found_BMC))


class FaceAttentionHead(FaceHead):
    """Head of a rectangular face; the mean over the 24 cells around, then a perceptron."""

    def __init__(self, sizes: HeadSizes, shape: tuple[int, ...]) -> None:
        super().__init__(sizes, shape, _LOCAL)
        del self.pred_head
        self.attn_weight = nn.Linear(sizes.width, 1)
        self.pool = NeighbourPool(box_neighbours(shape), sizes.width)
        self.masked_pred_head = two_layers(2 * sizes.width, sizes.width, sizes.n_outputs)

    def forward(self, token_BD: torch.Tensor, face: FaceView) -> torch.Tensor:
        """Return predictions (B, C, N) of hidden cells, 0 elsewhere."""
        latent_BC = self.latent_proj(token_BD)
        features = self.local_encoder.features(face.values, latent_BC).flatten(1, 2)
        places = hidden_places(face.is_hidden.flatten(1))
        found = self.pool(
            features, self.attn_weight(features)[..., 0], face.is_blind.flatten(1), places.ids
        )
        return _predicted(self.masked_pred_head, found, latent_BC, places)


class GraphAttentionHead(GraphHead):
    """Head of a hexagonal face; the mean over the nodes at most two steps away."""

    def __init__(self, sizes: HeadSizes, neighbours: npt.NDArray[np.int64]) -> None:
        super().__init__(sizes, neighbours, _LOCAL)
        del self.pred_head
        self.attn_weight = nn.Linear(sizes.width, 1)
        self.pool = NeighbourPool(graph_neighbours(neighbours), sizes.width)
        self.masked_pred_head = two_layers(2 * sizes.width, sizes.width, sizes.n_outputs)

    def forward(self, token_BD: torch.Tensor, face: FaceView) -> torch.Tensor:
        """Return predictions (B, C, 73) of hidden nodes, 0 elsewhere."""
        latent_BC = self.latent_proj(token_BD)
        features = self.features(latent_BC, face.values)
        places = hidden_places(face.is_hidden)
        logits = self.attn_weight(features)[..., 0]
        found = self.pool(features, logits, face.is_blind, places.ids)
        return _predicted(self.masked_pred_head, found, latent_BC, places)


def visible_softmax(logits_BMK: torch.Tensor, is_visible_BMK: torch.Tensor) -> torch.Tensor:
    """Return weights that add to 1 over the visible entries, or are all 0 where there is none."""
    lowest = torch.finfo(logits_BMK.dtype).min
    weights = logits_BMK.masked_fill(~is_visible_BMK, lowest).softmax(dim=2)
    return weights * is_visible_BMK.to(weights)


def picked(values_BNx: torch.Tensor, ids_BMK: torch.Tensor) -> torch.Tensor:
    """Return the entries of (B, N) or (B, N, C) at the places `ids_BMK`, (B, M, K, ...)."""
    flat = ids_BMK.flatten(1)
    if values_BNx.ndim > flat.ndim:
        flat = flat[..., None].expand(-1, -1, values_BNx.shape[2])
    return torch.unflatten(values_BNx.gather(1, flat), 1, ids_BMK.shape[1:])


def box_neighbours(shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Return (H W, 24) cells of the box around each cell; H W where that is off the face."""
    rows, columns = shape
    steps = np.arange(-_HOPS, _HOPS + 1)
    by_row, by_column = (grid.reshape(-1) for grid in np.meshgrid(steps, steps, indexing="ij"))
    is_other = (by_row != 0) | (by_column != 0)
    row, column = np.divmod(np.arange(rows * columns)[:, None], columns)
    row, column = row + by_row[is_other], column + by_column[is_other]
    is_on = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
    return np.where(is_on, row * columns + column, rows * columns)


def graph_neighbours(neighbours: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return (N, K) nodes at most two steps away, ascending; N marks an empty slot."""
    n_nodes = len(neighbours)
    receiver, slot = np.nonzero(neighbours < n_nodes)
    reach = np.eye(n_nodes, dtype=bool)
    reach[receiver, neighbours[receiver, slot]] = True
    reach = np.linalg.matrix_power(reach.astype(np.int64), _HOPS) > 0
    np.fill_diagonal(reach, val=False)
    found = [np.flatnonzero(row) for row in reach]
    table = np.full((n_nodes, max(map(len, found))), n_nodes, dtype=np.int64)
    for node, ids in enumerate(found):
        table[node, : len(ids)] = ids
    return table


def _predicted(
    perceptron: nn.Sequential,
    found_BMC: torch.Tensor,
    latent_BC: torch.Tensor,
    places: HiddenPlaces,
) -> torch.Tensor:
    latent = latent_BC.to(found_BMC)[:, None].expand_as(found_BMC)
    predicted = last_in_full(perceptron, torch.cat((found_BMC, latent), dim=2))
    return scattered(predicted, places).transpose(1, 2)
