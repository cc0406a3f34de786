"""Photon counts and times as network inputs, in numpy: the form for users and for files.

Networks normalize with their own layer, `models.input_norm.InputNormalizer`; tests verify that both
agree. The inverse transforms turn normalized values, a masked autoencoder's for example, back into
photons and seconds.

Shapes are (N, S) for N events and S sensors. A sensor is dead if its count is not finite or above
9e9 in magnitude. What is unusable is told by masks; sentinels only fill the holes, because an
honest value can equal a sentinel (-166.44 ns does, with a time scale of 114 ns and a shift of
-0.46).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.config.normalization import NormalizationConfig
from xec_pipeline.data.schema import is_valid

F32 = NDArray[np.float32]
Mask = NDArray[np.bool_]

_PEDESTAL: Final = 0.375
"""The 3/8 that makes the variance of a Poisson count's root constant (Anscombe 1948)."""
_LOG_EDGE: Final = -0.999
"""log1p is used down to this multiple of the scale; it diverges at -1."""


class Usable(NamedTuple):
    """Where a value may be used, each of shape (N, S)."""

    npho: Mask
    """The sensor is alive and its count lies in the domain of the scheme."""
    time: Mask
    """The sensor is alive, bright enough and has a time."""


@dataclass(frozen=True)
class Normalization:
    """The transforms of one configuration; all functions are element-wise and float32."""

    config: NormalizationConfig

    @property
    def domain_min(self) -> float:
        """Smallest count that the scheme can transform; smaller ones become 0.0."""
        edges = {
            "log1p": _LOG_EDGE * self.config.npho_scale,
            "anscombe": -_PEDESTAL,
            "sqrt": 0.0,
            "linear": -np.inf,
        }
        return edges[self.config.npho_scheme]

    def forward_npho(self, npho: NDArray[np.floating]) -> F32:
        """Return the transformed counts; the argument must lie in the domain."""
        n, s = np.asarray(npho, dtype=np.float32), np.float32(self.config.npho_scale)
        schemes: dict[str, Callable[[], NDArray[np.floating]]] = {
            "log1p": lambda: np.log1p(n / s) / np.float32(self.config.npho_scale2),
            "anscombe": lambda: (
                np.sqrt(n + np.float32(_PEDESTAL)) / np.sqrt(s + np.float32(_PEDESTAL))
            ),
            "sqrt": lambda: np.sqrt(n / s),
            "linear": lambda: n / s,
        }
        return schemes[self.config.npho_scheme]().astype(np.float32, copy=False)

    def inverse_npho(self, y: NDArray[np.floating]) -> F32:
        """Return the counts that `forward_npho` maps to `y`."""
        x, s = np.asarray(y, dtype=np.float32), np.float32(self.config.npho_scale)
        pedestal = np.float32(_PEDESTAL)
        schemes: dict[str, Callable[[], NDArray[np.floating]]] = {
            "log1p": lambda: s * np.expm1(x * np.float32(self.config.npho_scale2)),
            "anscombe": lambda: x * x * (s + pedestal) - pedestal,
            "sqrt": lambda: x * x * s,
            "linear": lambda: x * s,
        }
        return schemes[self.config.npho_scheme]().astype(np.float32, copy=False)

    def forward_time(self, time_s: NDArray[np.floating]) -> F32:
        """Return time / time_scale - time_shift; a negative shift adds."""
        scaled = np.asarray(time_s, dtype=np.float32) / np.float32(self.config.time_scale)
        return (scaled - np.float32(self.config.time_shift)).astype(np.float32, copy=False)

    def inverse_time(self, y: NDArray[np.floating]) -> F32:
        """Return the time [s] that `forward_time` maps to `y`."""
        shifted = np.asarray(y, dtype=np.float32) + np.float32(self.config.time_shift)
        return (shifted * np.float32(self.config.time_scale)).astype(np.float32, copy=False)

    def usable(self, npho: NDArray[np.floating], time_s: NDArray[np.floating]) -> Usable:
        """Return where counts and times may be used.

        A count equal to the threshold still lets its time be used.
        """
        alive = is_valid(npho)
        bright = npho >= np.float32(self.config.npho_threshold)
        return Usable(
            npho=alive & (npho >= np.float32(self.domain_min)),
            time=alive & bright & is_valid(time_s),
        )

    def normalize(self, npho: NDArray[np.floating], time_s: NDArray[np.floating]) -> F32:
        """Return the network input.

        Parameters
        ----------
        npho
            Photons; NaN, infinite or 1e10 where dead.
        time_s
            Relative time [s]; NaN, infinite or 1e10 where not measured.

        Returns
        -------
        ndarray
            Shape (N, S, 2), float32. Counts below the domain are 0.0, dead sensors are
            `sentinel_npho`, and every unusable time is `sentinel_time`.
        """
        usable = self.usable(npho, time_s)
        x = np.zeros((*npho.shape, 2), dtype=np.float32)
        x[usable.npho, 0] = self.forward_npho(npho[usable.npho])
        x[~is_valid(npho), 0] = self.config.sentinel_npho
        x[..., 1] = self.config.sentinel_time
        x[usable.time, 1] = self.forward_time(time_s[usable.time])
        return x
