"""How the light of an event is spread over the sensors, up to a factor: a few points that shine.

A sensor of area A at distance d from a point, which stands at height h over its plane, gets

    A [h / (d^2 + e^2)^(3/2) + eta / (d^2 + d0^2)] / 4 pi

of its light: directly (far-field solid angle, softened by the size of the sensor) and by reflection
and scattering. The areas, sizes e, eta and d0 are learned. Where the points are is read off the
tokens, as a correction of where the light of the inner face is concentrated.
"""

import math
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from torch import nn

from xec_pipeline.detector.coordinates import INNER_RADIUS_CM
from xec_pipeline.detector.faces import Face, face_of_sensor
from xec_pipeline.detector.geometry import ideal_geometry
from xec_pipeline.detector.sensors import N_SIPM
from xec_pipeline.models.encoder_base import Encoder
from xec_pipeline.models.inpainter_heads import start_at_zero, two_layers
from xec_pipeline.models.input_norm import Light
from xec_pipeline.models.moments import (
    column_and_row_sums,
    concentrated,
    concentration_depth,
    inner_axes,
    mean_over,
)

_N_POINTS: Final = 3
"""Along a shower."""
_FIRST_DEPTHS: Final = (0.6, 1.0, 1.8)
"""Depths of the points before training, over that of a single one."""
_AREAS_CM2: Final = (1.4, 16.6)
"""Of SiPMs and PMTs, before training."""
_SIZES_CM: Final = (0.4, 1.5)
_DIFFUSE_SHARE: Final = 0.15
_DIFFUSE_CM: Final = 30.0
_U_SCALE_CM: Final = 15.0
_V_SCALE_CM: Final = 40.0
_LARGEST_STEP: Final = 2.0
"""Bound on the correction of a position over the depth, and of the logarithm of the depth."""
_N_AXES: Final = 3
_TINY: Final = 1e-6


class Shape(NamedTuple):
    """Result of `LightShape`.

    Attributes
    ----------
    share
        Share of the light that each sensor gets (B, S), positive.
    center
        Where most of it comes from (B, 3), xyz [cm].
    """

    share: torch.Tensor
    center: torch.Tensor


class LearnedScale(nn.Module):
    """Positive numbers, learned as factors on what is expected of them.

    Weight decay draws them to that.
    """

    def __init__(self, expected: Sequence[float]) -> None:
        super().__init__()
        self.expected: torch.Tensor
        self.register_buffer("expected", torch.tensor(expected), persistent=False)
        self.change = nn.Parameter(torch.zeros(len(expected)))

    def forward(self) -> torch.Tensor:
        """Return the numbers."""
        return self.expected * torch.exp(self.change)


class LightShape(nn.Module):
    """Expected light of all sensors, up to a factor for each event.

    Parameters
    ----------
    encoder
        Makes the tokens.
    width
        Of the perceptron that corrects the points.
    """

    def __init__(self, encoder: Encoder, width: int) -> None:
        super().__init__()
        geometry = ideal_geometry()
        tables = {"positions": geometry.position_cm, "normals": geometry.normal}
        tables["u_cm"], tables["v_cm"] = inner_axes()
        self.positions: torch.Tensor
        self.normals: torch.Tensor
        self.u_cm: torch.Tensor
        self.v_cm: torch.Tensor
        for name, table in tables.items():
            values = torch.tensor(table, dtype=torch.float32)
            self.register_buffer(name, values, persistent=False)
        self.face_ids: torch.Tensor
        faces = torch.as_tensor(face_of_sensor().astype(np.int64))
        self.register_buffer("face_ids", faces, persistent=False)
        self.area = LearnedScale(_by_face(_AREAS_CM2))
        self.size = LearnedScale(_by_face(_SIZES_CM))
        self.diffuse = LearnedScale((_DIFFUSE_SHARE, _DIFFUSE_CM))
        self.depths = LearnedScale(_FIRST_DEPTHS)
        self.points = two_layers(encoder.n_tokens * encoder.width + 3, width, 4 * _N_POINTS)
        start_at_zero(self.points)

    def forward(self, tokens_BTD: torch.Tensor, light: Light) -> Shape:
        """Return the expected shape.

        Parameters
        ----------
        tokens_BTD
            Tokens of the events.
        light
            Of the visible sensors.
        """
        position_BPX, share_BP = self._points(tokens_BTD, light)
        squared_BPS, height_BPS = self._distances(position_BPX)
        size_area_SX = nn.functional.embedding(
            self.face_ids, torch.stack((self.size(), self.area()), dim=1)
        )
        size_S, area_S = size_area_SX.unbind(dim=1)
        diffuse, diffuse_cm = self.diffuse().unbind()
        inverse_BPS = torch.rsqrt(squared_BPS + size_S.square())
        seen_BPS = height_BPS * inverse_BPS * inverse_BPS * inverse_BPS
        seen_BPS = seen_BPS + diffuse / (squared_BPS + diffuse_cm.square())
        share_BS = (share_BP[..., None] * seen_BPS).sum(dim=1) * area_S / (4 * math.pi)
        return Shape(share_BS, (share_BP[..., None] * position_BPX).sum(dim=1))

    def _distances(self, position_BPX: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return squared distance [cm2] and height over the sensor's plane, at least 0, (B, P, S).

        Coordinate by coordinate, because float32 loses small differences of large squares.
        """
        x, y, z = (
            position_BPX[..., axis, None] - self.positions[:, axis] for axis in range(_N_AXES)
        )
        nx, ny, nz = self.normals.unbind(dim=1)
        return x * x + y * y + z * z, (nx * x + ny * y + nz * z).clamp_min(0.0)

    def _points(self, tokens_BTD: torch.Tensor, light: Light) -> tuple[torch.Tensor, torch.Tensor]:
        """Return positions (B, P, 3) [cm] and shares of the light (B, P)."""
        u, v, depth = self._concentration(light.npho[:, :N_SIPM])
        known = (u / _U_SCALE_CM, v / _V_SCALE_CM, depth.log() - 1.0)
        change = self.points(torch.cat((tokens_BTD.flatten(1).to(u), *known), dim=1))
        du, dv, dw, weight = torch.unflatten(change, 1, (4, _N_POINTS)).unbind(dim=1)
        bounded = [_LARGEST_STEP * torch.tanh(step / _LARGEST_STEP) for step in (du, dv, dw)]
        u, v = u + depth * bounded[0], v + depth * bounded[1]
        w = depth * self.depths() * bounded[2].exp()
        radius, phi = INNER_RADIUS_CM + w, v / INNER_RADIUS_CM
        xyz = torch.stack((-radius * torch.cos(phi), radius * torch.sin(phi), u), dim=2)
        return xyz, weight.softmax(dim=1)

    def _concentration(self, inner_BN: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return u, v and depth [cm] of where the light of the inner face is from, (B, 1) each."""
        columns, rows = column_and_row_sums(concentrated(inner_BN))
        u, v = mean_over(columns, self.u_cm.to(columns)), mean_over(rows, self.v_cm.to(rows))
        return u, v, concentration_depth(inner_BN, inner_BN.sum(dim=1, keepdim=True))


def _by_face(sipm_and_pmt: tuple[float, float]) -> list[float]:
    return [sipm_and_pmt[face != Face.INNER] for face in Face]
