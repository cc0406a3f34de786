"""From a photon to three points that emit its scintillation light.

The points stand on the photon's line, displaced sideways by a random walk. The conversion itself
is not one of them: as in the real detector it must be inferred. Eleven standard-normal numbers,
the latents, decide everything, so the light is a smooth function of (photon, latents).
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.config.simulation import ShowerConfig
from xec_pipeline.simulation.truth import Photons
from xec_pipeline.units import SIGNAL_ENERGY_MEV

Floats = NDArray[np.float64]

LATENTS: Final = (
    "light_yield",
    "clock",
    "length",
    "fraction_2",
    "fraction_3",
    "side_a1",
    "side_a2",
    "side_a3",
    "side_b1",
    "side_b2",
    "side_b3",
)
"""Names of the latents, in their order."""


@dataclass(frozen=True, kw_only=True)
class LightPoints:
    """Sources of scintillation light, K = 3 for each of n events.

    `n_photons`: (n,); `position_cm`: (n, K, 3); `fraction`: (n, K), sums to 1; `path_cm`: (n, K),
    length that the shower flew from the conversion to the point.
    """

    n_photons: Floats
    position_cm: Floats
    fraction: Floats
    path_cm: Floats


def draw_latents(rng: np.random.Generator, n: int) -> Floats:
    """Return standard-normal latents, shape (n, 11), columns as in `LATENTS`."""
    return rng.standard_normal((n, len(LATENTS)))


def light_points(shower: ShowerConfig, photons: Photons, latents: Floats) -> LightPoints:
    """Return the light points of photons, given their latents.

    Parameters
    ----------
    shower
        Yield, scales and spreads.
    photons
        n photons.
    latents
        Shape (n, 11).
    """
    relative = photons.energy_mev / SIGNAL_ENERGY_MEV
    spread = shower.yield_spread / np.sqrt(relative) * latents[:, 0]
    length = _length_cm(shower, relative, latents[:, 2])
    path = length[:, None] * np.asarray(shower.positions)
    return LightPoints(
        n_photons=shower.photons_per_mev * photons.energy_mev * (1.0 + spread),
        position_cm=_positions_cm(shower, photons, path, latents[:, 5:]),
        fraction=_fractions(shower, latents[:, 3:5]),
        path_cm=path,
    )


def _length_cm(shower: ShowerConfig, relative_energy: Floats, latent: Floats) -> Floats:
    # The subtracted half variance makes the mean, not the median, equal to the nominal scale.
    width = shower.length_spread
    scale = shower.length_cm * (1.0 + shower.length_slope * np.log(relative_energy))
    length: Floats = scale * np.exp(width * latent - width**2 / 2)
    return length


def _fractions(shower: ShowerConfig, latents: Floats) -> Floats:
    """Softmax of the median shares, the second and third shifted by their latents."""
    weights = np.tile(np.asarray(shower.fractions), (len(latents), 1))
    weights[:, 1:] *= np.exp(shower.fraction_spread * latents)
    shares: Floats = weights / weights.sum(axis=1, keepdims=True)
    return shares


def _positions_cm(
    shower: ShowerConfig, photons: Photons, path_cm: Floats, latents: Floats
) -> Floats:
    """Points on the photon's line plus the sideways walk, shape (n, K, 3)."""
    along = photons.direction
    side_a, side_b = _transverse_axes(along)
    step = shower.transverse * np.diff(path_cm, axis=1, prepend=0.0)
    walk_a = np.cumsum(step * latents[:, :3], axis=1)
    walk_b = np.cumsum(step * latents[:, 3:], axis=1)
    position: Floats = photons.conversion_cm[:, None, :] + (
        path_cm[..., None] * along[:, None, :]
        + walk_a[..., None] * side_a[:, None, :]
        + walk_b[..., None] * side_b[:, None, :]
    )
    return position


def _transverse_axes(direction: Floats) -> tuple[Floats, Floats]:
    """Two unit vectors across the direction; the first lies in the plane of the direction and z."""
    first = np.array([0.0, 0.0, 1.0]) - direction[:, 2:] * direction
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    return first, np.cross(direction, first)
