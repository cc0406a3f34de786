"""From tokens back to sensors: one decoder for each face."""

from collections.abc import Sequence
from typing import Final

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
from xec_pipeline.models.hexnext import HexBlock

_FIRST_CELLS: Final = 4
"""Rows and columns of the image that the token is unfolded to."""
_FINE: Final = OUTER_FINE_SHAPE


class FaceDecoder(nn.Module):
    """Decoder of a rectangular face: token to a 16 x 16 image, resized to the face.

    Parameters
    ----------
    token_width
        Width of its token.
    width
        Channels inside; even.
    n_outputs
        Predicted features C.
    shape
        Rows and columns of the face.
    """

    def __init__(
        self, token_width: int, width: int, n_outputs: int, shape: tuple[int, ...]
    ) -> None:
        super().__init__()
        self.shape = shape
        self.linear = nn.Linear(token_width, 2 * width * _FIRST_CELLS**2)
        self.decoder = nn.Sequential(
            _doubling(2 * width, width),
            nn.LayerNorm((width, 8, 8)),
            nn.GELU(),
            _doubling(width, width // 2),
            nn.LayerNorm((width // 2, 16, 16)),
            nn.GELU(),
            nn.ConvTranspose2d(width // 2, n_outputs, kernel_size=3, padding=1),
        )

    def forward(self, token_BD: torch.Tensor) -> torch.Tensor:
        """Return the image (B, C, H, W); its last layer and the resizing keep full precision."""
        image = torch.unflatten(self.linear(token_BD), 1, (-1, _FIRST_CELLS, _FIRST_CELLS))
        last = self.decoder[-1]
        image = self.decoder[:-1](image)
        with torch.autocast(image.device.type, enabled=False):
            cells = last(image.to(last.weight.dtype))
            return F.interpolate(cells, size=self.shape, mode="bilinear", align_corners=False)


class GraphFaceDecoder(nn.Module):
    """Decoder of a hexagonal face: the token at every node, a position, graph blocks.

    Parameters
    ----------
    token_width, width, n_outputs
        As for `FaceDecoder`.
    neighbours
        Table of the graph, see `Layout.hex_neighbours`.
    """

    def __init__(
        self,
        token_width: int,
        width: int,
        n_outputs: int,
        neighbours: npt.NDArray[np.int64],
    ) -> None:
        super().__init__()
        self.proj_in = nn.Linear(token_width, width)
        self.pos_embed = nn.Parameter(torch.empty(1, N_HEX, width))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.blocks = nn.ModuleList(HexBlock(width, neighbours) for _ in range(2))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, n_outputs))

    def forward(self, token_BD: torch.Tensor) -> torch.Tensor:
        """Return the nodes (B, C, 73); the last layer keeps full precision."""
        x = self.proj_in(token_BD)[:, None] + self.pos_embed
        for block in self.blocks:
            x = block(x)
        with torch.autocast(x.device.type, enabled=False):
            nodes: torch.Tensor = self.head(x.to(self.pos_embed.dtype))
        return nodes.transpose(1, 2)


class OuterSensors(nn.Module):
    """From the decoded image of the outer face to its 234 sensors.

    A sensor is the mean over the fine cells that it covers: 5 x 3 in the coarse grid, 3 x 2 in the
    dense centre. With the LEGACY layout npho is their sum, because its decoders learnt the share of
    a cell, and the image has the size of the encoder's pooled grid.

    Parameters
    ----------
    layout
        Sensor maps.
    pool
        Pooling of the encoder's outer face, as configured.
    features
        What is predicted, in order.

    Attributes
    ----------
    shape
        Rows and columns of the image.
    """

    def __init__(
        self, layout: Layout, pool: tuple[int, int] | None, features: Sequence[str]
    ) -> None:
        super().__init__()
        is_legacy = layout.name == "legacy"
        pool = pool if pool is not None and is_legacy else (1, 1)
        rows, columns = self.shape = tuple(n // p for n, p in zip(_FINE, pool, strict=True))
        # Cells that the pooling drops at the edge are predicted by their neighbours.
        row = np.minimum(np.arange(_FINE[0]) // pool[0], rows - 1)
        column = np.minimum(np.arange(_FINE[1]) // pool[1], columns - 1)
        one_hot = np.eye(rows * columns)[(row[:, None] * columns + column).reshape(-1)]
        total = _fine_cells(layout).reshape(-1, len(one_hot)) @ one_hot
        mean = total / total.sum(axis=1, keepdims=True)
        weights = [total if is_legacy and name == "npho" else mean for name in features]
        self.weights: torch.Tensor
        self.register_buffer(
            "weights", torch.tensor(np.stack(weights), dtype=torch.float32), persistent=False
        )

    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        """Return (B, C, 234), sensors in ascending order of their numbers."""
        with torch.autocast(image_BCHW.device.type, enabled=False):
            weights = self.weights.to(image_BCHW)
            return torch.einsum("bck,csk->bcs", image_BCHW.flatten(2), weights)


class SplitOuterSensors(nn.Module):
    """From images of the coarse grid and the dense centre of the outer face to its 234 sensors.

    Parameters
    ----------
    layout
        Sensor maps.
    prefers_center
        Take the 12 sensors that are in both images from the centre, where they stand.
    """

    def __init__(self, layout: Layout, *, prefers_center: bool = True) -> None:
        super().__init__()
        coarse = {int(sensor): cell for cell, sensor in enumerate(layout.outer_coarse.flat)}
        first_center = len(coarse)
        center = {int(s): first_center + cell for cell, s in enumerate(layout.outer_center.flat)}
        place = coarse | center if prefers_center else center | coarse
        cells = [place[int(sensor)] for sensor in sensors_of_face(Face.OUTER)]
        self.cells: torch.Tensor
        self.register_buffer("cells", torch.tensor(cells), persistent=False)

    def forward(self, coarse_BCHW: torch.Tensor, center_BCHW: torch.Tensor) -> torch.Tensor:
        """Return (B, C, 234), sensors in ascending order of their numbers; cells may be flat."""
        both = torch.cat((coarse_BCHW.flatten(2), center_BCHW.flatten(2)), dim=2)
        return both.index_select(2, self.cells)


def _fine_cells(layout: Layout) -> npt.NDArray[np.float64]:
    """Return (234, 45, 72): 1 where a sensor covers a cell; the centre has its own, finer cells."""
    ids = sensors_of_face(Face.OUTER)[:, None, None]
    covers = ids == np.kron(layout.outer_coarse, np.ones(COARSE_CELLS, dtype=np.int64))
    covers[np.isin(ids[:, 0, 0], layout.outer_center)] = False
    center = np.kron(layout.outer_center, np.ones(CENTER_CELLS, dtype=np.int64))
    covers[:, CENTER_ROWS, CENTER_COLUMNS] |= ids == center
    return np.asarray(covers, dtype=np.float64)


def _doubling(n_inputs: int, n_outputs: int) -> nn.ConvTranspose2d:
    """Return the layer that doubles rows and columns."""
    return nn.ConvTranspose2d(
        n_inputs, n_outputs, kernel_size=3, stride=2, padding=1, output_padding=1
    )
