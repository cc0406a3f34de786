"""Heads of the inpainter that predict all sensors of one face: from a token and what is visible.

Names of the weights are those of the public architecture.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from xec_pipeline.detector.faces import N_HEX, Face, sensors_of_face
from xec_pipeline.detector.layout import (
    CENTER_CELLS,
    CENTER_COLUMNS,
    CENTER_ROWS,
    COARSE_CELLS,
    OUTER_FINE_SHAPE,
    Layout,
)
from xec_pipeline.models.blocks import ConvNeXtBlock
from xec_pipeline.models.hexnext import HexBlock

_N_INPUTS: Final = 2
"""npho and time, with sentinels where hidden or dead."""
_N_GROUPS: Final = 8
_KERNEL: Final = 3
_N_GRAPH_LAYERS: Final = 3


class HeadSizes(NamedTuple):
    """Sizes of a head.

    Attributes
    ----------
    token_width
        Of what it reads.
    width
        Channels inside; a multiple of 8.
    n_outputs
        Predicted features C.
    """

    token_width: int
    width: int
    n_outputs: int


class HeadKind(NamedTuple):
    """What a head looks at.

    Attributes
    ----------
    is_local
        The visible sensors of its face, or the token alone.
    learns_places
        A head that sees the token alone learns a vector for each sensor. Without, as the LEGACY
        heads are, its sensors all get the same number, those at the edge of an image apart.
    """

    is_local: bool
    learns_places: bool


class FaceView(NamedTuple):
    """One face of B events, *face being (H, W) or (N,).

    Attributes
    ----------
    values
        Input (B, *face, 2), overwritten by sentinels where hidden.
    is_hidden
        (B, *face): what has to be predicted.
    is_blind
        (B, *face): hidden, or dead.
    """

    values: torch.Tensor
    is_hidden: torch.Tensor
    is_blind: torch.Tensor


class GroupNorm(nn.GroupNorm):
    """Group normalization in full float32 precision.

    torch's own on the CPU takes the variance as a difference of squares, and loses all but two
    digits where an image is nearly constant, as that of a face without light is.
    """

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Return x with every group of channels normalized."""
        groups = torch.unflatten(x_BCHW, 1, (self.num_groups, -1))
        variance, mean = torch.var_mean(groups, dim=(2, 3, 4), correction=0, keepdim=True)
        normalized = ((groups - mean) * torch.rsqrt(variance + self.eps)).flatten(1, 2)
        return normalized * self.weight[:, None, None] + self.bias[:, None, None]


class LocalEncoder(nn.Sequential):
    """Convolutions over an image of the face with the token at every cell."""

    def __init__(self, width: int, shape: tuple[int, ...]) -> None:
        super().__init__(
            nn.Conv2d(_N_INPUTS + width, width, _KERNEL, padding=1),
            GroupNorm(_N_GROUPS, width),
            nn.GELU(),
            ConvNeXtBlock(width),
            ConvNeXtBlock(width),
        )
        self.taps: torch.Tensor
        taps = F.unfold(torch.ones(1, 1, *shape), _KERNEL, padding=1)[0]
        self.register_buffer("taps", torch.unflatten(taps, 1, shape), persistent=False)

    def features(self, image_BHWC: torch.Tensor, latent_BC: torch.Tensor) -> torch.Tensor:
        """Return features (B, H, W, C)."""
        # Times need more digits than bfloat16 has.
        with torch.autocast(image_BHWC.device.type, enabled=False):
            x = self[2](self[1](self._joined(image_BHWC, latent_BC.to(image_BHWC))))
        features: torch.Tensor = self[4](self[3](x.permute(0, 2, 3, 1)))
        return features

    def _joined(self, image_BHWC: torch.Tensor, latent_BC: torch.Tensor) -> torch.Tensor:
        """Convolve the image and the constant latent; the latter only needs the taps in reach."""
        weight, bias = self.get_parameter("0.weight"), self.get_parameter("0.bias")
        own = F.conv2d(image_BHWC.permute(0, 3, 1, 2), weight[:, :_N_INPUTS], bias, padding=1)
        per_tap = torch.einsum("bi,oit->bot", latent_BC, weight[:, _N_INPUTS:].flatten(2))
        return own + torch.einsum("bot,thw->bohw", per_tap, self.taps.to(per_tap))


class FaceHead(nn.Module):
    """Head of a rectangular face.

    Parameters
    ----------
    sizes
        Widths.
    shape
        Rows and columns.
    kind
        What it looks at.
    """

    def __init__(self, sizes: HeadSizes, shape: tuple[int, ...], kind: HeadKind) -> None:
        super().__init__()
        self.shape = shape
        width = sizes.width
        self.latent_proj = latent_projection(sizes)
        self.place: nn.Parameter | None = None
        if kind.is_local:
            self.local_encoder = LocalEncoder(width, shape)
        else:
            self.place = _places((width, *shape)) if kind.learns_places else None
            self.global_decoder = nn.Sequential(
                nn.ConvTranspose2d(width, width, _KERNEL, padding=1),
                GroupNorm(_N_GROUPS, width),
                nn.GELU(),
                nn.Conv2d(width, width, _KERNEL, padding=1),
                nn.GELU(),
            )
        self.pred_head = nn.Sequential(
            nn.Conv2d(width, width // 2, _KERNEL, padding=1),
            nn.GELU(),
            nn.Conv2d(width // 2, sizes.n_outputs, 1),
        )
        self.is_local = kind.is_local

    def forward(self, token_BD: torch.Tensor, face: FaceView) -> torch.Tensor:
        """Return predictions (B, C, N), row by row; the last layer keeps full precision."""
        latent_BC = self.latent_proj(token_BD)
        if self.is_local:
            x = self.local_encoder.features(face.values, latent_BC).permute(0, 3, 1, 2)
        else:
            constant = latent_BC[..., None, None].expand(-1, -1, *self.shape)
            x = self.global_decoder(constant if self.place is None else constant + self.place)
        return last_in_full(self.pred_head, x).flatten(2)


class GraphHead(nn.Module):
    """Head of a hexagonal face.

    Parameters
    ----------
    sizes, kind
        As for `FaceHead`.
    neighbours
        Table of the graph, see `Layout.hex_neighbours`.
    """

    def __init__(
        self,
        sizes: HeadSizes,
        neighbours: npt.NDArray[np.int64],
        kind: HeadKind,
    ) -> None:
        super().__init__()
        width = sizes.width
        self.latent_proj = latent_projection(sizes)
        self.place: nn.Parameter | None = None
        if kind.is_local:
            self.input_proj = nn.Linear(_N_INPUTS + width, width)
            self.gnn_layers = nn.ModuleList(
                HexBlock(width, neighbours) for _ in range(_N_GRAPH_LAYERS)
            )
        else:
            self.place = _places((N_HEX, width)) if kind.learns_places else None
            self.global_decoder = two_layers(width, width, width)
        self.pred_head = nn.Sequential(
            nn.LayerNorm(width), *two_layers(width, width // 2, sizes.n_outputs)
        )
        self.is_local = kind.is_local

    def forward(self, token_BD: torch.Tensor, face: FaceView) -> torch.Tensor:
        """Return predictions (B, C, 73); the last layer keeps full precision."""
        latent_BC = self.latent_proj(token_BD)
        if self.is_local:
            x = self.features(latent_BC, face.values)
        else:
            constant = latent_BC[:, None].expand(-1, N_HEX, -1)
            x = self.global_decoder(constant if self.place is None else constant + self.place)
        return last_in_full(self.pred_head, x).transpose(1, 2)

    def features(self, latent_BC: torch.Tensor, values_BNC: torch.Tensor) -> torch.Tensor:
        """Return features (B, N, C) of the graph with the latent at every node."""
        # Times need more digits than bfloat16 has.
        with torch.autocast(values_BNC.device.type, enabled=False):
            constant = latent_BC.to(values_BNC)[:, None].expand(-1, N_HEX, -1)
            x: torch.Tensor = self.input_proj(torch.cat((values_BNC, constant), dim=2))
        for layer in self.gnn_layers:
            x = layer(x)
        return x


class OuterHead(nn.Module):
    """Head of the outer face as one fine grid: a sensor is a weighted mean of the cells it covers.

    Parameters
    ----------
    sizes, kind
        As for `FaceHead`.
    layout
        Sensor maps.
    pool
        Rows and columns of the fine grid that were averaged together.
    """

    def __init__(
        self,
        sizes: HeadSizes,
        layout: Layout,
        pool: tuple[int, int],
        kind: HeadKind,
    ) -> None:
        super().__init__()
        width, n_outputs = sizes.width, sizes.n_outputs
        self.latent_proj = latent_projection(sizes)
        cells, is_cell = outer_regions(layout, pool)
        self.region_shape = cells.shape
        self.cells: torch.Tensor
        self.is_cell: torch.Tensor
        self.register_buffer("cells", torch.as_tensor(cells.reshape(-1)), persistent=False)
        self.register_buffer("is_cell", torch.as_tensor(is_cell), persistent=False)
        self.place: nn.Parameter | None = None
        if kind.is_local:
            shape = tuple(n // p for n, p in zip(OUTER_FINE_SHAPE, pool, strict=True))
            self.local_encoder = LocalEncoder(width, shape)
            self.attn_weight = nn.Sequential(nn.Linear(width, 1))
            self.pred_head = two_layers(2 * width, width, n_outputs)
        else:
            self.place = _places((len(cells), width)) if kind.learns_places else None
            self.global_decoder = two_layers(width, width, width)
            self.pred_head = two_layers(width, width // 2, n_outputs)
        self.is_local = kind.is_local

    def forward(self, token_BD: torch.Tensor, face: FaceView) -> torch.Tensor:
        """Return predictions (B, C, 234), sensors in ascending order of their numbers."""
        latent_BC = self.latent_proj(token_BD)
        constant = latent_BC[:, None].expand(-1, self.region_shape[0], -1)
        if self.is_local:
            cells_BNC = self.local_encoder.features(face.values, latent_BC).flatten(1, 2)
            x = torch.cat((self._pooled(cells_BNC), constant.to(cells_BNC)), dim=2)
        else:
            x = self.global_decoder(constant if self.place is None else constant + self.place)
        return last_in_full(self.pred_head, x).transpose(1, 2)

    def _pooled(self, cells_BNC: torch.Tensor) -> torch.Tensor:
        scored = torch.cat((cells_BNC, self.attn_weight(cells_BNC).to(cells_BNC)), dim=2)
        own = torch.unflatten(scored.index_select(1, self.cells), 1, self.region_shape)
        logits = own[..., -1].float().masked_fill(~self.is_cell, float("-inf"))
        weights = logits.softmax(dim=2).to(own)
        return (weights[..., None] * own[..., :-1]).sum(dim=2)


def latent_projection(sizes: HeadSizes) -> nn.Sequential:
    """Return the layer from the token to the width of a head."""
    return nn.Sequential(nn.Linear(sizes.token_width, sizes.width), nn.GELU())


def two_layers(n_inputs: int, width: int, n_outputs: int) -> nn.Sequential:
    """Return a perceptron with one hidden layer."""
    return nn.Sequential(nn.Linear(n_inputs, width), nn.GELU(), nn.Linear(width, n_outputs))


def start_at_zero(layers: nn.Sequential) -> None:
    """Let the output of a perceptron begin as 0, whatever its input."""
    for weight in layers[-1].parameters():
        nn.init.zeros_(weight)


def last_in_full(layers: nn.Sequential, x: torch.Tensor) -> torch.Tensor:
    """Apply layers, the last one in the precision of its weights also under autocast."""
    *first, last = layers
    for layer in first:
        x = layer(x)
    with torch.autocast(x.device.type, enabled=False):
        y: torch.Tensor = last(x.to(next(last.parameters()).dtype))
    return y


def outer_regions(
    layout: Layout, pool: tuple[int, int]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Return the cells of the pooled fine grid that belong to each sensor of the outer face.

    Parameters
    ----------
    layout
        Sensor maps.
    pool
        Rows and columns averaged together.

    Returns
    -------
    cells, is_cell
        (234, R) numbers of cells, row by row, and which of them count; the others repeat the last.

    Notes
    -----
    Where cells and footprints do not fit together, the edges of a footprint are rounded down, and
    at least one cell is taken. For a sensor of the dense centre that is its finer footprint.
    """
    columns = OUTER_FINE_SHAPE[1] // pool[1]
    regions = [
        [row * columns + column for row in rows for column in range(*_span(left, width, pool[1]))]
        for (top, height), (left, width) in _footprints(layout)
        for rows in [range(*_span(top, height, pool[0]))]
    ]
    longest = max(map(len, regions))
    cells = np.array([region + region[-1:] * (longest - len(region)) for region in regions])
    is_cell = np.arange(longest) < np.array([len(region) for region in regions])[:, None]
    return cells.astype(np.int64), is_cell


def _footprints(layout: Layout) -> list[tuple[tuple[int, int], tuple[int, int]]]:
    """Return first cell and extent in rows and columns for each of the 234 sensors."""
    grids = [(layout.outer_coarse, (0, 0), COARSE_CELLS)]
    grids.append((layout.outer_center, (CENTER_ROWS.start, CENTER_COLUMNS.start), CENTER_CELLS))
    found = {}
    for ids, (first_row, first_column), (height, width) in grids:
        for (row, column), sensor in np.ndenumerate(ids):
            rows = (first_row + height * row, height)
            found[int(sensor)] = (rows, (first_column + width * column, width))
    return [found[int(sensor)] for sensor in sensors_of_face(Face.OUTER)]


def _span(first: int, extent: int, pool: int) -> tuple[int, int]:
    start = first // pool
    return start, max((first + extent) // pool, start + 1)


def _places(shape: tuple[int, ...]) -> nn.Parameter:
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(shape), std=0.02))
