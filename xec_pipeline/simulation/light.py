"""Mean light on every sensor: the expensive step, in float32 and in batches.

All sensors get the far-field solid angle. The SiPMs within `NEAR` rows and columns of a light
point, where that formula is wrong by more than 0.1 %, get the exact solid angle of their four
chips instead. Shapes: B events, K light points, S sensors, W sensors in a window.
"""

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from xec_pipeline.config.simulation import LightConfig
from xec_pipeline.detector.geometry import (
    INNER_COLUMN_STEP_CM,
    INNER_ROW_STEP_DEG,
    Geometry,
)
from xec_pipeline.detector.sensors import (
    INNER_COLUMNS,
    INNER_ROWS,
    N_SENSORS,
    N_SIPM,
    PMT_AREA_CM2,
    PMT_RADIUS_CM,
    SIPM_AREA_CM2,
    SIPM_CHIP_CM,
    SIPM_GAP_CM,
)
from xec_pipeline.simulation.shower import LightPoints
from xec_pipeline.units import SPEED_OF_LIGHT_CM_PER_NS

NEAR = 4
_MIN_DISTANCE2_CM2 = 0.05
_MIN_HEIGHT_CM = 1e-4
_MIN_MEAN = 1e-6


@dataclass(frozen=True, kw_only=True)
class MeanLight:
    """Mean photo-electrons and mean delay after the conversion, both (B, S)."""

    photoelectrons: NDArray[np.float32]
    delay_ns: NDArray[np.float32]


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread: batches are small, and sums must not depend on the machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class LightModel:
    """Mean light of light points on the sensors of one geometry.

    Parameters
    ----------
    light
        Diffuse light and refractive index.
    geometry
        Positions and orientations.
    efficiency
        Photo-electrons per photon, shape (4760,).
    """

    def __init__(
        self, light: LightConfig, geometry: Geometry, efficiency: NDArray[np.float32]
    ) -> None:
        self._light = light
        position, normal = _tensor(geometry.position_cm), _tensor(geometry.normal)
        self._position = position
        self._axes_SAD = torch.stack(
            [_tensor(geometry.axis_u), _tensor(geometry.axis_v), -normal], dim=1
        )
        self._position_t, self._normal_t = position.T.contiguous(), normal.T.contiguous()
        self._position2 = (position**2).sum(1)
        self._height0 = (position * normal).sum(1)
        self._area = _by_kind(SIPM_AREA_CM2, PMT_AREA_CM2) / (4 * math.pi)
        self._moment = _by_kind(_SIPM_MOMENT_CM2, PMT_RADIUS_CM**2 / 4)
        self._efficiency = _tensor(efficiency)
        self._ns_per_cm = light.refractive_index / SPEED_OF_LIGHT_CM_PER_NS

    @torch.no_grad()
    def mean_light(self, points: LightPoints) -> MeanLight:
        """Return the mean photo-electrons and delays of showers.

        Parameters
        ----------
        points
            Light points of B events.

        Notes
        -----
        Solid angles weighted by the light of each point, plus diffuse light from the light's
        centre. The delay is the mean over these contributions of shower path and light path.
        """
        x_BKD, fraction_BK = _tensor(points.position_cm), _tensor(points.fraction)
        shower_ns_BK = _tensor(points.path_cm) / SPEED_OF_LIGHT_CM_PER_NS
        total_BS, delay_BS = self._diffuse(x_BKD, fraction_BK, shower_ns_BK)
        for k in range(x_BKD.shape[1]):
            share_BS, flight_BS = self._direct(x_BKD[:, k].contiguous())
            share_BS *= fraction_BK[:, k : k + 1]
            total_BS += share_BS
            delay_BS.addcmul_(share_BS, flight_BS.add_(shower_ns_BK[:, k : k + 1]))
        delay_BS /= total_BS
        total_BS *= self._efficiency
        total_BS *= _tensor(points.n_photons)[:, None]
        return MeanLight(
            photoelectrons=total_BS.clamp_min_(_MIN_MEAN).numpy(), delay_ns=delay_BS.numpy()
        )

    def solid_angle_fraction(self, points_cm: NDArray[np.float64]) -> NDArray[np.float32]:
        """Return the fraction of 4 pi under which points see the sensors, (P, 3) -> (P, 4760)."""
        return self._direct(_tensor(points_cm))[0].numpy()

    def _diffuse(
        self, x_BKD: torch.Tensor, fraction_BK: torch.Tensor, shower_ns_BK: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Diffuse share of each sensor and that share times its delay."""
        center_BD = (fraction_BK[..., None] * x_BKD).sum(1)
        path_ns_B1 = (fraction_BK * shower_ns_BK).sum(1, keepdim=True)
        distance2_BS = self._distance2(center_BD)
        total_BS = (self._area * self._light.diffuse) / (
            distance2_BS + self._light.diffuse_range_cm**2
        )
        delay_BS = distance2_BS.sqrt_().mul_(self._ns_per_cm * self._light.diffuse_path)
        return total_BS, delay_BS.add_(path_ns_B1).mul_(total_BS)

    def _direct(self, x_BD: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Solid angle fraction from one point per event, and the flight time of its light [ns]."""
        distance2_BS = self._distance2(x_BD)
        height_BS = torch.addmm(self._height0, x_BD, self._normal_t, beta=-1.0).clamp_min_(0.0)
        inverse_BS = distance2_BS.rsqrt()
        flight_BS = distance2_BS.mul_(inverse_BS).mul_(self._ns_per_cm)
        share_BS = self._far_field(height_BS, inverse_BS)
        ids_BW = _window(x_BD)
        share_BS.scatter_(1, ids_BW, self._near_field(x_BD, ids_BW))
        return share_BS, flight_BS

    def _distance2(self, x_BD: torch.Tensor) -> torch.Tensor:
        """Squared distances as one matrix product, (B, S)."""
        distance2_BS = torch.addmm(self._position2, x_BD, self._position_t, alpha=-2.0)
        distance2_BS += (x_BD * x_BD).sum(1, keepdim=True)
        return distance2_BS.clamp_min_(_MIN_DISTANCE2_CM2)

    def _far_field(self, height_BS: torch.Tensor, inverse_BS: torch.Tensor) -> torch.Tensor:
        """Return A h / (4 pi d^3) with a resummed second moment; overwrite the arguments.

        (1 + 4.5 m (1 - c^2)) / (1 + 3 m c^2) with m = moment / d^2 and c = h / d agrees with the
        exact solid angle to fourth order in size over distance and stays positive everywhere.
        """
        cosine_BS = height_BS.mul_(inverse_BS)
        inverse2_BS = inverse_BS.mul_(inverse_BS)
        moment_BS = inverse2_BS * self._moment
        tilt_BS = (cosine_BS * cosine_BS).mul_(moment_BS)
        correction_BS = moment_BS.sub_(tilt_BS).mul_(4.5).add_(1.0)
        correction_BS /= tilt_BS.mul_(3.0).add_(1.0)
        return cosine_BS.mul_(inverse2_BS).mul_(self._area).mul_(correction_BS)

    def _near_field(self, x_BD: torch.Tensor, ids_BW: torch.Tensor) -> torch.Tensor:
        """Return the exact fraction for four chips per SiPM: 16 corners, one arctangent each."""
        offset_BWD = self._position[ids_BW] - x_BD[:, None, :]
        along_BWA = torch.einsum("bwad,bwd->bwa", self._axes_SAD[ids_BW], offset_BWD)
        a_BW4 = along_BWA[..., 0, None] + _EDGES
        b_BW4 = along_BWA[..., 1, None] + _EDGES
        height_BW = along_BWA[..., 2]
        h_BW = height_BW.clamp_min(_MIN_HEIGHT_CM)
        root_BW44 = (
            (a_BW4**2 + h_BW[..., None] ** 2)[..., :, None] + (b_BW4**2)[..., None, :]
        ).sqrt_()
        corner_BW44 = a_BW4[..., :, None] * b_BW4[..., None, :]
        corner_BW44.div_(root_BW44.mul_(h_BW[..., None, None])).atan_()
        angle_BW = (corner_BW44.flatten(-2) @ _CORNER_SIGNS) / (4 * math.pi)
        return angle_BW * (height_BW > 0)


_SIPM_MOMENT_CM2 = ((SIPM_GAP_CM + SIPM_CHIP_CM) / 2) ** 2 + SIPM_CHIP_CM**2 / 12
_EDGES = torch.tensor(
    [
        -SIPM_GAP_CM / 2 - SIPM_CHIP_CM,
        -SIPM_GAP_CM / 2,
        SIPM_GAP_CM / 2,
        SIPM_GAP_CM / 2 + SIPM_CHIP_CM,
    ]
)
_SIGNS = torch.tensor([-1.0, 1.0, -1.0, 1.0])
_CORNER_SIGNS = torch.outer(_SIGNS, _SIGNS).flatten()
_OFFSETS = (
    torch.arange(-NEAR, NEAR + 1)[:, None] * INNER_COLUMNS + torch.arange(-NEAR, NEAR + 1)
).flatten()


def _window(x_BD: torch.Tensor) -> torch.Tensor:
    """Numbers of the SiPMs around the foot point of each light point, kept inside the face."""
    phi_deg = torch.rad2deg(torch.atan2(x_BD[:, 1], -x_BD[:, 0]))
    row = ((INNER_ROWS - 1) / 2 - phi_deg / INNER_ROW_STEP_DEG).round().long()
    column = (x_BD[:, 2] / INNER_COLUMN_STEP_CM + (INNER_COLUMNS - 1) / 2).round().long()
    row.clamp_(NEAR, INNER_ROWS - 1 - NEAR)
    column.clamp_(NEAR, INNER_COLUMNS - 1 - NEAR)
    return (row * INNER_COLUMNS + column)[:, None] + _OFFSETS


def _by_kind(sipm: float, pmt: float) -> torch.Tensor:
    values = torch.full((N_SENSORS,), pmt)
    values[:N_SIPM] = sipm
    return values


def _tensor(array: NDArray[np.floating]) -> torch.Tensor:
    return torch.as_tensor(np.ascontiguousarray(array, dtype=np.float32))
