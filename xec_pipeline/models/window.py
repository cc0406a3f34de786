"""The sensors of the inner face around the brightest place, where most of the position lies."""

from typing import Final

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from xec_pipeline.detector.coordinates import xyz_to_uvw
from xec_pipeline.detector.geometry import ideal_geometry
from xec_pipeline.detector.layout import Layout

WINDOW_RADIUS: Final = 5
"""Sensors on each side of the brightest place: 11 x 11, about 17 cm."""
MOMENT_RADII: Final = (2, 5)
"""Sizes of the squares whose light moments are taken."""

_N_TERMS: Final = 5
_U_SCALE_CM: Final = 15.0
_V_SCALE_CM: Final = 40.0
_WIDTH_PER_SENSOR_CM: Final = 0.6
_PHOTONS: Final = 1e3
_TINY: Final = 1e-3


class BrightWindow(nn.Module):
    """Find the brightest place of the inner face, cut it out, and measure it.

    Parameters
    ----------
    layout
        Gives the shape of the inner image, whose sensors are numbered row by row.
    """

    n_cells: Final = (2 * WINDOW_RADIUS + 1) ** 2
    n_moments: Final = 7 * len(MOMENT_RADII)

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.shape = layout.inner.shape
        self._padded_columns = self.shape[1] + 2 * WINDOW_RADIUS
        uvw = xyz_to_uvw(ideal_geometry().position_cm[layout.inner])
        u_cm, v_cm = uvw[0, :, 0], uvw[:, 0, 1]
        steps = np.arange(2 * WINDOW_RADIUS + 1)
        offsets = (steps[:, None] * self._padded_columns + steps).reshape(-1)
        terms = _moment_terms(float(np.diff(u_cm).mean()), float(np.diff(v_cm).mean()))
        self.offsets: torch.Tensor
        self.terms: torch.Tensor
        self.u_cm: torch.Tensor
        self.v_cm: torch.Tensor
        self.register_buffer("offsets", torch.as_tensor(offsets), persistent=False)
        arrays = (("terms", terms), ("u_cm", u_cm), ("v_cm", v_cm))
        for name, array in arrays:
            self.register_buffer(name, torch.tensor(array, dtype=torch.float32), persistent=False)

    def brightest(self, npho_BN: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return row and column (B,) where the smoothed light of the inner face is largest."""
        padded = F.pad(torch.unflatten(npho_BN, 1, self.shape), (1, 1, 1, 1))
        smooth = _smoothed(_smoothed(padded, 1), 2)
        index = smooth.flatten(1).argmax(dim=1)
        row = torch.div(index, self.shape[1], rounding_mode="floor")
        return row, index - row * self.shape[1]

    def cut(
        self, planes_BCN: torch.Tensor, row_B: torch.Tensor, column_B: torch.Tensor
    ) -> torch.Tensor:
        """Return the window (B, C, 121) around a place; cells beyond the face are 0."""
        image = torch.unflatten(planes_BCN, 2, self.shape)
        padded = F.pad(image, (WINDOW_RADIUS,) * 4).flatten(2)
        index = (row_B * self._padded_columns + column_B)[:, None] + self.offsets
        return padded.gather(2, index[:, None, :].expand(-1, planes_BCN.shape[1], -1))

    def moments(
        self, npho_BN: torch.Tensor, row_B: torch.Tensor, column_B: torch.Tensor
    ) -> torch.Tensor:
        """Return, for each of two squares, centroid, its distance from the centre, width and light.

        Shape (B, 14); each number is divided by a fixed scale.
        """
        sums = self.cut(npho_BN[:, None], row_B, column_B)[:, 0] @ self.terms.to(npho_BN)
        center = torch.stack((self.u_cm[column_B], self.v_cm[row_B]), dim=1).to(sums)
        scales = center.new_tensor((_U_SCALE_CM, _V_SCALE_CM))
        features = []
        for radius, part in zip(MOMENT_RADII, torch.split(sums, _N_TERMS, dim=1), strict=True):
            total = part[:, :1] + _TINY
            mean = part[:, 1:3] / total
            variance = (part[:, 3:] / total - mean.square()).clamp_min(0.0)
            width = torch.sqrt(variance + _TINY) / (_WIDTH_PER_SENSOR_CM * radius)
            light = torch.log(0.1 + total / _PHOTONS) / 3.0
            features += [(center + mean) / scales, mean, width - 1.0, light]
        return torch.cat(features, dim=1)


def _smoothed(image_BHW: torch.Tensor, dim: int) -> torch.Tensor:
    """Return the sums of neighbours along `dim` with weights 1, 2, 1, without the two ends."""
    n = image_BHW.shape[dim] - 2
    before, here, after = (image_BHW.narrow(dim, start, n) for start in range(3))
    return before + 2.0 * here + after


def _moment_terms(u_step_cm: float, v_step_cm: float) -> np.ndarray[tuple[int, int], np.dtype]:
    """Return (121, 10): per square 1, u, v, u^2, v^2 of each cell seen from the centre."""
    steps = np.arange(-WINDOW_RADIUS, WINDOW_RADIUS + 1)
    v, u = np.meshgrid(v_step_cm * steps, u_step_cm * steps, indexing="ij")
    distance = np.maximum(np.abs(steps)[:, None], np.abs(steps)[None, :])
    terms = [
        (distance <= radius) * term
        for radius in MOMENT_RADII
        for term in (np.ones_like(u), u, v, u * u, v * v)
    ]
    return np.stack(terms, axis=-1).reshape(-1, len(terms))
