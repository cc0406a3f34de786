"""From photons and seconds to what the encoder sees, and back, on the device.

`InputNormalizer` is the only place where a network input is made; `Light` is what an encoder
reads back from it. Everything here runs in float32 (or float64) also under autocast: in bfloat16
the time channel would move in steps of 0.2 ns.
"""

import math
from typing import NamedTuple

import torch
from torch import nn

from xec_pipeline.config.normalization import NormalizationConfig
from xec_pipeline.units import INVALID_ABOVE, NS_PER_S

_MAX_EXPONENT = 60.0
"""Bound on exponents of the inverse of log1p, far above any light: keeps a stray input finite."""


class Light(NamedTuple):
    """Light read back from a normalized input. All tensors are (B, S)."""

    npho: torch.Tensor
    """Photons, not negative; 0 where the sensor is dead or hidden."""
    time_ns: torch.Tensor
    """Sensor time [ns]; 0 where unusable."""
    alive: torch.Tensor
    """1 where the sensor is neither dead nor hidden, else 0."""
    timed: torch.Tensor
    """1 where the time is usable, else 0."""


class InputNormalizer(nn.Module):
    """Normalize sensor values: y_npho = forward(npho), y_time = t / time_scale - time_shift.

    The order of the rules matters and is the same as that of the numpy form in the data package:

    1. a sensor whose npho is NaN, infinite or beyond 9e9 is dead: npho gets the sentinel;
    2. npho below the domain of the scheme (and not dead) gives 0;
    3. the time of a dead sensor, of one below `npho_threshold`, or one that is NaN, infinite or
       beyond 9e9 gets the time sentinel.

    Parameters
    ----------
    config
        Scheme, scales, sentinels, threshold.
    """

    def __init__(self, config: NormalizationConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, npho_BS: torch.Tensor, time_s_BS: torch.Tensor) -> torch.Tensor:
        """Normalize photons and seconds.

        Parameters
        ----------
        npho_BS
            Photons (B, S); NaN, infinity or above 9e9 where dead.
        time_s_BS
            Sensor times (B, S) [s].

        Returns
        -------
        Tensor
            (B, S, 2) float32: npho, time.
        """
        return self._normalize(npho_BS, time_s_BS, self.config.time_scale)

    def from_ns(self, npho_BS: torch.Tensor, time_ns_BS: torch.Tensor) -> torch.Tensor:
        """Normalize photons and nanoseconds (what the shards hold); otherwise as `forward`."""
        return self._normalize(npho_BS, time_ns_BS, self.config.time_scale * NS_PER_S)

    def light(self, x_BSC: torch.Tensor, is_hidden_BS: torch.Tensor | None = None) -> Light:
        """Read photons and nanoseconds back from a normalized input.

        Parameters
        ----------
        x_BSC
            What `forward` returned (B, S, 2).
        is_hidden_BS
            Sensors to treat like dead ones (B, S), boolean.
        """
        config = self.config
        alive = x_BSC[..., 0] != config.sentinel_npho
        timed = x_BSC[..., 1] != config.sentinel_time
        if is_hidden_BS is not None:
            alive = alive & ~is_hidden_BS
            timed = timed & ~is_hidden_BS
        zero = torch.zeros((), dtype=x_BSC.dtype, device=x_BSC.device)
        npho = torch.where(alive, inverse_npho(config, x_BSC[..., 0]).clamp_min(0.0), zero)
        time_ns = (x_BSC[..., 1] + config.time_shift) * (config.time_scale * NS_PER_S)
        return Light(npho, torch.where(timed, time_ns, zero), alive.to(npho), timed.to(npho))

    def _normalize(self, npho: torch.Tensor, time: torch.Tensor, time_scale: float) -> torch.Tensor:
        config = self.config
        with torch.autocast(npho.device.type, enabled=False):
            npho, time = npho.float(), time.float()
            # Comparisons with NaN are false, so one test finds NaN, infinity and the marker 1e10.
            alive = npho.abs() <= INVALID_ABOVE
            in_domain = alive & (npho >= npho_minimum(config))
            timed = alive & (npho >= config.npho_threshold) & (time.abs() <= INVALID_ABOVE)
            zero = torch.zeros((), dtype=npho.dtype, device=npho.device)
            y_npho = forward_npho(config, torch.where(in_domain, npho, zero))
            y_npho = torch.where(in_domain, y_npho, zero)
            y_npho = torch.where(alive, y_npho, torch.full_like(zero, config.sentinel_npho))
            y_time = torch.where(timed, time, zero) / time_scale - config.time_shift
            y_time = torch.where(timed, y_time, torch.full_like(zero, config.sentinel_time))
            return torch.stack((y_npho, y_time), dim=-1)


def npho_minimum(config: NormalizationConfig) -> float:
    """Return the smallest npho that the scheme can transform."""
    minima = {"log1p": -0.999 * config.npho_scale, "anscombe": -0.375, "sqrt": 0.0}
    return minima.get(config.npho_scheme, -math.inf)


def forward_npho(config: NormalizationConfig, npho: torch.Tensor) -> torch.Tensor:
    """Transform photons inside the domain of the scheme."""
    scale = config.npho_scale
    if config.npho_scheme == "log1p":
        return torch.log1p(npho / scale) / config.npho_scale2
    if config.npho_scheme == "anscombe":
        return torch.sqrt(npho + 0.375) / math.sqrt(scale + 0.375)
    if config.npho_scheme == "sqrt":
        return torch.sqrt(npho / scale)
    return npho / scale


def inverse_npho(config: NormalizationConfig, y: torch.Tensor) -> torch.Tensor:
    """Transform a normalized count back to photons."""
    scale = config.npho_scale
    if config.npho_scheme == "log1p":
        exponent = (y * config.npho_scale2).clamp_max(_MAX_EXPONENT)
        return scale * (torch.exp(exponent) - 1.0)
    if config.npho_scheme == "anscombe":
        return y.square() * (scale + 0.375) - 0.375
    if config.npho_scheme == "sqrt":
        return y.square() * scale
    return y * scale


def normalized_root(config: NormalizationConfig, root: torch.Tensor) -> torch.Tensor:
    """Normalize light given as the square root of photons; a negative root means none, or less.

    Unlike the transform of the square, it has a finite slope at 0 for every scheme.
    """
    if config.npho_scheme == "sqrt":
        return root / math.sqrt(config.npho_scale)
    return forward_npho(config, (root * root.abs()).clamp_min(npho_minimum(config)))
