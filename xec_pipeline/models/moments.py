"""Light moments: what a physicist would compute by hand from the sensors of an event.

Sums per face, where the light of the inner face is, how wide it is, and when it arrived once the
way from there is subtracted. The numbers are estimates, not results: a network corrects them. All
of it is computed in float32 and stays finite for an event without light.
"""

import math
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from xec_pipeline.detector.coordinates import xyz_to_uvw
from xec_pipeline.detector.faces import Face, face_of_sensor
from xec_pipeline.detector.geometry import ideal_geometry
from xec_pipeline.detector.sensors import INNER_COLUMNS, INNER_ROWS, N_SIPM
from xec_pipeline.models.input_norm import Light
from xec_pipeline.units import SPEED_OF_LIGHT_CM_PER_NS

_NS_PER_CM: Final = 1.61 / SPEED_OF_LIGHT_CM_PER_NS
"""Of scintillation light in xenon, with its refractive index."""
_INNER_RADIUS_CM: Final = 64.97
_CELL_CM2: Final = 1.5305 * 1.5098
"""Area of the inner face per sensor."""
_TIMED_PHOTONS: Final = 3000.0
"""Light at which the counting and the constant part of a sensor's time resolution are equal."""
_LIGHT_SCALE: Final = 8e5
"""Photons of a typical event on all sensors."""
_LOG_UNIT: Final = 1e2
_LOG_SCALE: Final = 3.0
_U_SCALE_CM: Final = 15.0
_V_SCALE_CM: Final = 40.0
_WIDTH_SCALE_CM: Final = 8.0
_DEPTH_SCALE_CM: Final = 5.0
_DEPTH_RANGE_CM: Final = (0.3, 40.0)
_TINY: Final = 1e-3
"""Photons added to denominators."""


class Moments(NamedTuple):
    """Result of `LightMoments`."""

    features: torch.Tensor
    """(B, F), each divided by a fixed scale."""
    delay_ns: torch.Tensor
    """(B, S): sensor time minus way of the light and minus their mean; 0 where there is no time."""


class LightMoments(nn.Module):
    """Compute moments of the light of each event.

    The features are, in order: logarithm of the six face sums and of their total; total; share of
    the inner face; centroid and width in u and v with weights n, then with weights n^2; depth and
    its logarithm; share of the brightest sensor; and seven times, see `_times`.
    """

    n_features: Final = 27

    def __init__(self) -> None:
        super().__init__()
        xyz = ideal_geometry().position_cm
        u_cm, v_cm = inner_axes()
        self.sensor_cm: torch.Tensor
        self.face_of: torch.Tensor
        self.u_cm: torch.Tensor
        self.v_cm: torch.Tensor
        arrays = {"sensor_cm": xyz, "face_of": np.eye(len(Face))[face_of_sensor()]}
        arrays |= {"u_cm": u_cm, "v_cm": v_cm}
        for name, array in arrays.items():
            self.register_buffer(name, torch.tensor(array, dtype=torch.float32), persistent=False)

    def forward(self, light: Light) -> Moments:
        """Return moments and way-corrected delays."""
        inner = light.npho[:, :N_SIPM]
        sums = light.npho @ self.face_of.to(inner)
        total = sums.sum(dim=1, keepdim=True)
        largest = inner.amax(dim=1, keepdim=True)
        sharp = self._centroid(concentrated(inner))
        depth = concentration_depth(inner, sums[:, :1])
        times, delay = self._times(light, sharp, depth)
        features = (
            torch.log(1.0 + sums / _LOG_UNIT) / _LOG_SCALE - 2.0,
            torch.log(1.0 + total / _LOG_UNIT) / _LOG_SCALE - 2.5,
            total / _LIGHT_SCALE - 1.0,
            sums[:, :1] / (total + _TINY),
            _scaled(self._centroid(inner)),
            _scaled(sharp),
            depth / _DEPTH_SCALE_CM - 1.0,
            torch.log(depth / _DEPTH_SCALE_CM),
            torch.log((sums[:, :1] + 1.0) / (largest + 1.0)) - 3.0,
            times,
        )
        return Moments(torch.cat(features, dim=1), delay)

    def _centroid(self, weight_BN: torch.Tensor) -> torch.Tensor:
        """Return mean u, mean v, width in u, width in v [cm], shape (B, 4)."""
        columns, rows = column_and_row_sums(weight_BN)
        mean_u, width_u = _mean_and_width(columns, self.u_cm)
        mean_v, width_v = _mean_and_width(rows, self.v_cm)
        return torch.cat((mean_u, mean_v, width_u, width_v), dim=1)

    def _times(
        self, light: Light, centroid_B4: torch.Tensor, depth_B1: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return seven time moments (B, 7) and the delay of every sensor (B, S).

        Mean emission time (way subtracted); the same on the inner face and on the others, relative
        to it; mean raw time; growth of the mean way with depth; spread; number of timed sensors.
        """
        way, cosine = self._way(centroid_B4, depth_B1)
        # Inverse variance of a sensor's time, up to a factor.
        weight = light.timed * light.npho / (light.npho + _TIMED_PHOTONS)
        emitted = light.time_ns - way * _NS_PER_CM
        mean = mean_over(weight, emitted)
        delay = (emitted - mean) * light.timed
        times = (
            mean,
            mean_over(weight[:, :N_SIPM], delay[:, :N_SIPM]),
            mean_over(weight[:, N_SIPM:], delay[:, N_SIPM:]),
            mean_over(weight, light.time_ns) - 3.0,
            mean_over(weight, cosine),
            mean_over(weight, delay.square().clamp_max(9.0)) - 0.3,
            torch.log(1.0 + weight.sum(dim=1, keepdim=True)) / _LOG_SCALE - 1.0,
        )
        return torch.cat(times, dim=1), delay

    def _way(
        self, centroid_B4: torch.Tensor, depth_B1: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return distance to every sensor [cm] and its growth per cm of depth, both (B, S)."""
        phi = centroid_B4[:, 1:2] / _INNER_RADIUS_CM
        radius = _INNER_RADIUS_CM + depth_B1
        x, y, z = self.sensor_cm.to(phi).unbind(dim=1)
        dx, dy = x + radius * torch.cos(phi), y - radius * torch.sin(phi)
        dz = z - centroid_B4[:, :1]
        way = torch.sqrt(dx.square() + dy.square() + dz.square() + _TINY)
        return way, (dx * torch.cos(phi) - dy * torch.sin(phi)) / way


def inner_axes() -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return u of the columns (44,) and v of the rows (93,) of the inner face [cm]."""
    uvw = xyz_to_uvw(ideal_geometry().position_cm[:N_SIPM])
    image = uvw.reshape(INNER_ROWS, INNER_COLUMNS, 3)
    return image[0, :, 0], image[:, 0, 1]


def column_and_row_sums(inner_BN: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the sums over each column (B, 44) and each row (B, 93) of the inner face.

    A product with a matrix of places would do, but adds the sensors up one by one, in float32 with
    an error of 1e-5.
    """
    image = torch.unflatten(inner_BN, 1, (INNER_ROWS, INNER_COLUMNS))
    return image.sum(dim=1), image.sum(dim=2)


def concentrated(inner_BN: torch.Tensor) -> torch.Tensor:
    """Return weights that grow as the squares of photons (B, N), the largest being its photons."""
    return inner_BN.square() / (inner_BN.amax(dim=1, keepdim=True) + _TINY)


def concentration_depth(inner_BN: torch.Tensor, sum_B1: torch.Tensor) -> torch.Tensor:
    """Return the depth of a point source from how concentrated its light is [cm], (B, 1).

    Above a plane of cells of area A, a point at depth w gives sum(n^2) / sum(n)^2 = A / (8 pi w^2).
    """
    squares = inner_BN.square().sum(dim=1, keepdim=True)
    squared_depth = _CELL_CM2 / (8 * math.pi) * sum_B1.square() / (squares + _TINY)
    return torch.sqrt(squared_depth).clamp(*_DEPTH_RANGE_CM)


def _mean_and_width(
    weight_BN: torch.Tensor, place_N: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean of places and the root of their variance about it, both (B, 1).

    The difference of the means of squares would lose all digits of a narrow spot far from 0.
    """
    place_N = place_N.to(weight_BN)
    mean_B1 = mean_over(weight_BN, place_N)
    variance_B1 = mean_over(weight_BN, (place_N - mean_B1).square())
    return mean_B1, torch.sqrt(variance_B1 + _TINY)


def mean_over(weight_BN: torch.Tensor, value_BN: torch.Tensor) -> torch.Tensor:
    """Return the weighted mean (B, 1); 0 where all weights are 0, which are in photons."""
    total = weight_BN.sum(dim=1, keepdim=True)
    return (weight_BN * value_BN).sum(dim=1, keepdim=True) / (total + _TINY)


def _scaled(centroid_B4: torch.Tensor) -> torch.Tensor:
    scales = (_U_SCALE_CM, _V_SCALE_CM, _WIDTH_SCALE_CM, _WIDTH_SCALE_CM)
    return centroid_B4 / centroid_B4.new_tensor(scales) - centroid_B4.new_tensor((0, 0, 1, 1))
