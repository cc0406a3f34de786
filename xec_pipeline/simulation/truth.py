"""True photons: where they start, how they fly, where and when they convert.

Arrays have one row per event and are float64; the axis of the detector is z, photons fly towards
-x.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.config.simulation import BeamConfig
from xec_pipeline.detector.coordinates import INNER_RADIUS_CM, xyz_to_uvw
from xec_pipeline.units import SPEED_OF_LIGHT_CM_PER_NS

Floats = NDArray[np.float64]
Spectrum = Callable[[np.random.Generator, int], Floats]
"""Draws n energies [MeV]."""

# Window of directions a little larger than the acceptance of the calorimeter.
_MAX_COS_THETA = 0.45
_MAX_PHI_RAD = 1.16
_XENON_DENSITY_G_CM3 = 2.95
_FIELDS = ("energy_mev", "vertex_cm", "direction", "conversion_cm", "emission_ns")


@dataclass(frozen=True, kw_only=True)
class Photons:
    """Photons that convert in the acceptance.

    `energy_mev`, `emission_ns`, `conversion_ns`: (n,); `vertex_cm`, `direction`,
    `conversion_cm`: (n, 3).
    """

    energy_mev: Floats
    vertex_cm: Floats
    direction: Floats
    conversion_cm: Floats
    emission_ns: Floats

    def __len__(self) -> int:
        return len(self.energy_mev)

    def __getitem__(self, rows: slice | NDArray[np.bool_]) -> "Photons":
        return Photons(**{name: getattr(self, name)[rows] for name in _FIELDS})

    @property
    def conversion_ns(self) -> Floats:
        """Time of the first interaction [ns]: emission plus flight."""
        flight_cm: Floats = np.linalg.norm(self.conversion_cm - self.vertex_cm, axis=1)
        return self.emission_ns + flight_cm / SPEED_OF_LIGHT_CM_PER_NS


def attenuation_per_cm(energy_mev: Floats) -> Floats:
    """Return the inverse mean free path in liquid xenon.

    Parameters
    ----------
    energy_mev
        Photon energy, above 2 MeV.

    Returns
    -------
    ndarray
        1/cm; 1/7.9 at 15 MeV, 1/5.39 at 52.83 MeV.

    Notes
    -----
    Logarithmic interpolation of the pair-production cross section, 0.0475 cm2/g at 20 MeV.
    """
    per_g_cm2 = 0.0475 + 0.0145 * np.log(energy_mev / 20.0) / math.log(2.5)
    return _XENON_DENSITY_G_CM3 * per_g_cm2


def uniform_spectrum(low_mev: float, high_mev: float) -> Spectrum:
    """Return a spectrum that is flat between two energies; equal energies give a line."""
    return lambda rng, n: rng.uniform(low_mev, high_mev, n)


def inverse_spectrum(low_mev: float, high_mev: float) -> Spectrum:
    """Return a spectrum that falls as 1/E between two energies."""
    return lambda rng, n: low_mev * (high_mev / low_mev) ** rng.random(n)


def draw_photons(beam: BeamConfig, rng: np.random.Generator, n: int, spectrum: Spectrum) -> Photons:
    """Draw photons until `n` of them convert in the acceptance.

    Parameters
    ----------
    beam
        Target, acceptance and time window.
    rng
        Source of the random numbers; the result depends on it and on `n`.
    n
        Number of photons, may be 0.
    spectrum
        Energies before the acceptance.

    Returns
    -------
    Photons
        Of length `n`. Directions are uniform over the sphere inside the acceptance, conversion
        depths exponential along the ray.
    """
    kept = [_draw_tries(beam, rng, np.empty(0))]
    missing = n
    while missing > 0:
        tries = _draw_tries(beam, rng, spectrum(rng, int(1.9 * missing) + 64))
        kept.append(tries[_is_accepted(beam, tries)][:missing])
        missing -= len(kept[-1])
    return Photons(**{name: np.concatenate([getattr(p, name) for p in kept]) for name in _FIELDS})


def _draw_tries(beam: BeamConfig, rng: np.random.Generator, energy_mev: Floats) -> Photons:
    n = len(energy_mev)
    vertex = _draw_vertices(beam, rng, n)
    direction = _draw_directions(rng, n)
    depth = rng.exponential(1.0, n) / attenuation_per_cm(energy_mev)
    path = _distance_to_inner_face(vertex, direction) + depth
    return Photons(
        energy_mev=energy_mev,
        vertex_cm=vertex,
        direction=direction,
        conversion_cm=vertex + path[:, None] * direction,
        emission_ns=rng.uniform(-beam.time_window_ns, beam.time_window_ns, n),
    )


def _draw_vertices(beam: BeamConfig, rng: np.random.Generator, n: int) -> Floats:
    slant = math.radians(beam.target_slant_deg)
    along = _draw_cut_normal(rng, n, beam.spot_along_cm, beam.half_length_cm)
    across = _draw_cut_normal(rng, n, beam.spot_across_cm, beam.half_width_cm)
    return np.stack([along * math.sin(slant), across, along * math.cos(slant)], axis=1)


def _draw_cut_normal(rng: np.random.Generator, n: int, sigma: float, limit: float) -> Floats:
    values = rng.normal(0.0, sigma, n)
    while (outside := np.abs(values) > limit).any():
        values[outside] = rng.normal(0.0, sigma, int(outside.sum()))
    return values


def _draw_directions(rng: np.random.Generator, n: int) -> Floats:
    cos_theta = rng.uniform(-_MAX_COS_THETA, _MAX_COS_THETA, n)
    phi = rng.uniform(-_MAX_PHI_RAD, _MAX_PHI_RAD, n)
    sin_theta = np.sqrt(1.0 - cos_theta**2)
    return np.stack([-sin_theta * np.cos(phi), sin_theta * np.sin(phi), cos_theta], axis=1)


def _distance_to_inner_face(vertex_cm: Floats, direction: Floats) -> Floats:
    """Path along the ray to the cylinder of w = 0: the positive root of a quadratic equation."""
    a = (direction[:, :2] ** 2).sum(axis=1)
    b = (vertex_cm[:, :2] * direction[:, :2]).sum(axis=1)
    c = (vertex_cm[:, :2] ** 2).sum(axis=1) - INNER_RADIUS_CM**2
    root: Floats = (np.sqrt(b * b - a * c) - b) / a
    return root


def _is_accepted(beam: BeamConfig, photons: Photons) -> NDArray[np.bool_]:
    u, v, w = xyz_to_uvw(photons.conversion_cm).T
    accepted: NDArray[np.bool_] = (
        (np.abs(u) < beam.max_u_cm) & (np.abs(v) < beam.max_v_cm) & (w < beam.max_w_cm)
    )
    return accepted
