"""Weights and inputs given by formulas, so that published sums can be compared."""

import zlib
from typing import TypeVar

import torch
from torch import nn

ModelT = TypeVar("ModelT", bound=nn.Module)

N_SENSORS = 4760


def set_weights(model: ModelT) -> ModelT:
    """Give every parameter 0.05 sin(0.37 i + phase of its name), plus 1 for vectors of weights."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            phase = 6.283 * (zlib.crc32(name.encode("ascii")) % 1000) / 1000
            index = torch.arange(parameter.numel(), dtype=parameter.dtype)
            values = 0.05 * torch.sin(0.37 * index + phase)
            if name.endswith("weight") and parameter.ndim == 1:
                values += 1.0
            parameter.copy_(values.view_as(parameter))
    return model.eval()


def plain_input() -> torch.Tensor:
    """Return two events of waves (2, 4760, 2), float64."""
    sensor = torch.arange(N_SENSORS, dtype=torch.float64)[None]
    event = torch.arange(2, dtype=torch.float64)[:, None]
    npho = 0.5 + 0.5 * torch.sin(0.01 * sensor + event)
    time = 1.0 + 0.5 * torch.cos(0.013 * sensor + 2 * event)
    return torch.stack((npho, time), dim=-1)


def mask() -> torch.Tensor:
    """Return (2, 4760): every seventh sensor from the fourth."""
    return (torch.arange(N_SENSORS) % 7 == 3)[None].expand(2, -1)


def masked_input() -> torch.Tensor:
    """Return `plain_input` with -1 where masked."""
    return torch.where(mask()[..., None], -1.0, plain_input())


def signature(values: torch.Tensor) -> list[float]:
    """Return sum, sum of absolute values, first and last element."""
    flat = values.flatten()
    return [float(v) for v in (flat.sum(), flat.abs().sum(), flat[0], flat[-1])]
