"""Cutting the faces out of the sensor axis, values and masks by the same rules."""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from xec_pipeline.detector.layout import COARSE_CELLS, Layout, outer_fine_map


class FaceImages(nn.Module):
    """Gather images or node lists of sensors by name.

    Parameters
    ----------
    maps
        Face name to sensor numbers, of any shape.
    """

    def __init__(self, maps: Mapping[str, npt.NDArray[np.int64]]) -> None:
        super().__init__()
        self._shapes = {name: ids.shape for name, ids in maps.items()}
        for name, ids in maps.items():
            self.register_buffer(f"ids_{name}", _tensor(ids), persistent=False)

    def values(self, name: str, x_BSC: torch.Tensor) -> torch.Tensor:
        """Return (B, *face, C)."""
        cells = x_BSC.index_select(1, self.get_buffer(f"ids_{name}"))
        return torch.unflatten(cells, 1, self._shapes[name])

    def hidden(self, name: str, is_hidden_BS: torch.Tensor | None) -> torch.Tensor | None:
        """Return (B, *face) boolean, or None where nothing is hidden."""
        if is_hidden_BS is None:
            return None
        cells = is_hidden_BS.index_select(1, self.get_buffer(f"ids_{name}"))
        return torch.unflatten(cells, 1, self._shapes[name])


class OuterFineGrid(nn.Module):
    """The outer face, coarse grid and dense centre, as one image of 45 x 72 cells or fewer.

    npho is divided by the number of cells a sensor covers. Averaging takes npho as it is, and time
    over the cells that have one. With the LEGACY layout the mask of the centre is that of the
    coarse sensors that would stand there, as the networks trained with it expect; otherwise
    values and mask follow the same map.

    Parameters
    ----------
    layout
        Sensor maps.
    pool
        Rows and columns averaged together, or None. Rows and columns left over are dropped.
    sentinel_time
        Value that marks an unusable time.
    """

    def __init__(self, layout: Layout, pool: tuple[int, int] | None, sentinel_time: float) -> None:
        super().__init__()
        fine = outer_fine_map(layout)
        coarse = np.kron(layout.outer_coarse, np.ones(COARSE_CELLS, dtype=np.int64))
        masked_by = coarse if layout.name == "legacy" else fine.ids
        self.ids: torch.Tensor
        self.mask_ids: torch.Tensor
        self.share: torch.Tensor
        self.register_buffer("ids", _tensor(fine.ids), persistent=False)
        self.register_buffer("mask_ids", _tensor(masked_by), persistent=False)
        share = torch.as_tensor(np.array(fine.share), dtype=torch.float32)
        self.register_buffer("share", share, persistent=False)
        self.shape = fine.ids.shape
        self.pool = pool
        self.sentinel_time = sentinel_time

    def values(self, x_BSC: torch.Tensor) -> torch.Tensor:
        """Return (B, H, W, 2)."""
        cells = torch.unflatten(x_BSC.index_select(1, self.ids), 1, self.shape)
        npho, time = cells[..., 0] * self.share.to(cells), cells[..., 1]
        if self.pool is None:
            return torch.stack((npho, time), dim=-1)
        timed = (time != self.sentinel_time).to(time)
        planes = torch.stack((npho, time * timed, timed), dim=1)
        npho, time_sum, timed = F.avg_pool2d(planes, self.pool).unbind(dim=1)
        # At least one cell counts, so half a cell is below any true fraction.
        smallest = 0.5 / (self.pool[0] * self.pool[1])
        mean_time = time_sum / timed.clamp_min(smallest)
        time = torch.where(timed > 0, mean_time, self.sentinel_time)
        return torch.stack((npho, time), dim=-1)

    def hidden(self, is_hidden_BS: torch.Tensor | None) -> torch.Tensor | None:
        """Return (B, H, W) boolean: a cell is hidden as soon as a part of it is."""
        if is_hidden_BS is None:
            return None
        cells = torch.unflatten(is_hidden_BS.index_select(1, self.mask_ids), 1, self.shape)
        if self.pool is None:
            return cells
        part_hidden: torch.Tensor = F.avg_pool2d(cells[:, None].float(), self.pool)[:, 0]
        return part_hidden > 0


def _tensor(ids: npt.NDArray[np.int64]) -> torch.Tensor:
    return torch.as_tensor(np.array(ids).reshape(-1))
