"""Light moments: what a physicist would compute by hand from the sensors of an event.

Sums per face, where the light of the inner face is, how wide it is, and when it arrived once the
way from there is subtracted. The numbers are estimates, not results: a network corrects them. All
of it is computed in float32, without gradient parameters, and stays finite for an event without
light.
"""

import math
from typing import Final, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from xec_pipeline.detector.coordinates import xyz_to_uvw
from xec_pipeline.detector.faces import Face, face_of_sensor
from xec_pipeline.detector.geometry import ideal_geometry
from xec_pipeline.detector.layout import Layout
from xec_pipeline.models.input_norm import Light
from xec_pipeline.units import SPEED_OF_LIGHT_CM_PER_NS

WINDOW_RADIUS: Final = 5
"""Sensors on each side of the brightest place that the window takes: 11 x 11, about 17 cm."""

_INDEX: Final = 1.61
"""Refractive index of liquid xenon for its own light."""
_RADIUS_CM: Final = 64.97
"""Radius of the inner face's sensors."""
_CELL_CM2: Final = 1.5305 * 1.5098
"""Area of the inner face per sensor."""
_TIMED_PHOTONS: Final = 3000.0
"""Light at which the constant and the counting part of a sensor's time resolution are equal."""
_LIGHT_SCALE: Final = 2e5
"""Photons; brings sums of light to order one."""
_LOG_SCALE: Final = 3.0
_U_SCALE_CM: Final = 15.0
_V_SCALE_CM: Final = 40.0
_WIDTH_SCALE_CM: Final = 8.0
_DEPTH_SCALE_CM: Final = 5.0
_TIME_SCALE_NS: Final = 1.0
_TINY: Final = 1e-3
"""Photons added to denominators."""


class Moments(NamedTuple):
    """Result of `LightMoments`."""

    features: torch.Tensor
    """(B, F), standardized by fixed scales."""
    delay_ns: torch.Tensor
    """(B, S): sensor time minus way and minus the event's mean; 0 where there is no time."""


class LightMoments(nn.Module):
    """Compute moments of the light of each event.

    Parameters
    ----------
    n_features : attribute
        F = 27: logarithms of the six face sums and of the total, total, inner fraction; centroid
        and width in u and v for weights n and n^2; depth from the concentration of the light and
        its logarithm; share of the brightest sensor; mean arrival time, raw, with the way
        subtracted and on the inner face alone, slope of the time with depth, number of timed
        sensors, ...
    """

    n_features = 27

    def __init__(self) -> None:
        super().__init__()
        xyz = ideal_geometry().position_cm
        uvw = xyz_to_uvw(xyz)
        inner = face_of_sensor() == Face.INNER
        faces = np.eye(len(Face))[face_of_sensor()]
        self.xyz_S3: torch.Tensor
        self.face_S6: torch.Tensor
        self.inner_terms: torch.Tensor
        self.n_inner = int(inner.sum())
        u, v = uvw[inner, 0], uvw[inner, 1]
        terms = np.stack([np.ones_like(u), u, v, u * u, v * v], axis=1)
        for name, array in (("xyz_S3", xyz), ("face_S6", faces), ("inner_terms", terms)):
            self.register_buffer(name, torch.tensor(array, dtype=torch.float32), persistent=False)

    def forward(self, light: Light) -> Moments:
        """Return moments and way-corrected delays."""
        npho = light.npho
        inner = npho[:, : self.n_inner]
        sums = npho @ self.face_S6.to(npho)
        total = sums.sum(dim=1, keepdim=True)
        broad = self._centroid(inner)
        sharp = self._centroid(inner.square() / (inner.amax(dim=1, keepdim=True) + _TINY))
        concentration = inner.square().sum(dim=1, keepdim=True)
        depth = torch.sqrt(
            _CELL_CM2 * sums[:, :1].square() / (8 * math.pi * (concentration + _TINY))
        ).clamp(0.3, 40.0)
        times, delay = self._times(light, sharp, depth)
        features = torch.cat(
            (
                torch.log(1.0 + sums / 1e2) / _LOG_SCALE - 2.0,
                torch.log(1.0 + total / 1e2) / _LOG_SCALE - 2.5,
                total / _LIGHT_SCALE / 4 - 1.0,
                sums[:, :1] / (total + _TINY),
                *_scaled(broad),
                *_scaled(sharp),
                depth / _DEPTH_SCALE_CM - 1.0,
                torch.log(depth / _DEPTH_SCALE_CM),
                torch.log((sums[:, :1] + 1.0) / (inner.amax(dim=1, keepdim=True) + 1.0)) - 3.0,
                times,
            ),
            dim=1,
        )
        return Moments(features, delay)

    def _centroid(self, weight_BN: torch.Tensor) -> torch.Tensor:
        """Return mean u, mean v, width in u, width in v [cm], each (B, 1), as (B, 4)."""
        terms = weight_BN @ self.inner_terms.to(weight_BN)
        means = terms[:, 1:] / (terms[:, :1] + _TINY)
        variance = (means[:, 2:] - means[:, :2].square()).clamp_min(0.0)
        return torch.cat((means[:, :2], torch.sqrt(variance + _TINY)), dim=1)

    def _times(
        self, light: Light, centroid: torch.Tensor, depth: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return seven time moments (B, 7) and the delay of every sensor (B, S)."""
        phi = centroid[:, 1:2] / _RADIUS_CM
        radius = _RADIUS_CM + depth
        sensors = self.xyz_S3.to(depth)
        dx = sensors[:, 0] + radius * torch.cos(phi)
        dy = sensors[:, 1] - radius * torch.sin(phi)
        dz = sensors[:, 2] - centroid[:, :1]
        way = torch.sqrt(dx.square() + dy.square() + dz.square() + _TINY)
        # Direction cosine: by how much a sensor's way grows with the assumed depth.
        cosine = (dx * torch.cos(phi) - dy * torch.sin(phi)) / way
        weight = light.timed * light.npho / (light.npho + _TIMED_PHOTONS)
        corrected = light.time_ns - way * (_INDEX / SPEED_OF_LIGHT_CM_PER_NS)
        mean = _mean(weight, corrected)
        delay = (corrected - mean) * light.timed
        n = self.n_inner
        inner_mean = _mean(weight[:, :n], corrected[:, :n])
        outer_mean = _mean(weight[:, n:], corrected[:, n:])
        times = torch.cat(
            (
                mean / _TIME_SCALE_NS,
                (inner_mean - mean) / _TIME_SCALE_NS,
                (outer_mean - mean) / _TIME_SCALE_NS,
                (_mean(weight, light.time_ns) - 3.0) / _TIME_SCALE_NS,
                _mean(weight, cosine),
                _mean(weight, delay.square().clamp_max(9.0)) - 0.3,
                torch.log(1.0 + weight.sum(dim=1, keepdim=True)) / _LOG_SCALE - 1.0,
            ),
            dim=1,
        )
        return times, delay


class BrightWindow(nn.Module):
    """Cut the sensors around the brightest place of the inner face.

    Parameters
    ----------
    layout
        Gives the shape of the inner image; its sensors must be numbered row by row.
    """

    n_cells: Final = (2 * WINDOW_RADIUS + 1) ** 2

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.rows, self.columns = layout.inner.shape
        offsets = np.arange(2 * WINDOW_RADIUS + 1)
        grid = offsets[:, None] * (self.columns + 2 * WINDOW_RADIUS) + offsets[None, :]
        self.offsets: torch.Tensor
        self.register_buffer("offsets", torch.as_tensor(grid.reshape(-1)), persistent=False)

    def brightest(self, npho_BN: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return row and column (B,) of the largest 3 x 3 sum."""
        image = torch.unflatten(npho_BN, 1, (1, self.rows, self.columns))
        index = F.avg_pool2d(image, 3, stride=1, padding=1).flatten(1).argmax(dim=1)
        row = torch.div(index, self.columns, rounding_mode="floor")
        return row, index - row * self.columns

    def cut(
        self, planes_BCN: torch.Tensor, row_B: torch.Tensor, column_B: torch.Tensor
    ) -> torch.Tensor:
        """Return (B, C, 121); cells beyond the face are 0."""
        image = torch.unflatten(planes_BCN, 2, (self.rows, self.columns))
        padded = F.pad(image, (WINDOW_RADIUS,) * 4).flatten(2)
        start = row_B * (self.columns + 2 * WINDOW_RADIUS) + column_B
        index = start[:, None] + self.offsets
        return padded.gather(2, index[:, None, :].expand(-1, planes_BCN.shape[1], -1))


def _mean(weight_BN: torch.Tensor, value_BN: torch.Tensor) -> torch.Tensor:
    total = weight_BN.sum(dim=1, keepdim=True)
    return (weight_BN * value_BN).sum(dim=1, keepdim=True) / (total + 1e-6)


def _scaled(centroid_B4: torch.Tensor) -> tuple[torch.Tensor, ...]:
    u, v, width_u, width_v = torch.split(centroid_B4, 1, dim=1)
    return (
        u / _U_SCALE_CM,
        v / _V_SCALE_CM,
        width_u / _WIDTH_SCALE_CM - 1.0,
        width_v / _WIDTH_SCALE_CM - 1.0,
    )
