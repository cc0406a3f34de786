"""The numbers that an event of the toy detector is a function of, and what is known beforehand.

Eighteen parameters: energy [MeV], u, v, w [cm] and time [ns] of the first interaction, vertex along
the slanted target and across it [cm], and the eleven latents. Nothing is known beforehand of the
first five; the vertex is known as well as the beam spot; latents are standard-normal.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.config.simulation import BeamConfig, SimulationConfig
from xec_pipeline.detector.coordinates import (
    direction_to_angles_deg,
    uvw_to_xyz,
    xyz_to_uvw,
)
from xec_pipeline.simulation.shower import LATENTS, light_points
from xec_pipeline.simulation.truth import Photons
from xec_pipeline.units import SPEED_OF_LIGHT_CM_PER_NS

Values = NDArray[np.float64]

PARAMETERS: Final = ("energy", "u", "v", "w", "time", "along", "across", *LATENTS)
"""Names of the parameters, in their order."""
N_PARAMETERS: Final = len(PARAMETERS)
TIME: Final = PARAMETERS.index("time")
CLOCK: Final = PARAMETERS.index("clock")
FIRST_LATENT: Final = N_PARAMETERS - len(LATENTS)

_STEP: Final = 1e-4
"""In the unit of every parameter; the functions here are smooth on scales above 0.1."""


def event_parameters(photons: Photons, latents: Values, beam: BeamConfig) -> Values:
    """Return the parameters of n events, shape (n, 18), of their photons and latents (n, 11)."""
    return np.column_stack(
        [
            photons.energy_mev,
            xyz_to_uvw(photons.conversion_cm),
            photons.conversion_ns,
            photons.vertex_cm @ _target_axes(beam).T,
            latents,
        ]
    )


def photons_of(beam: BeamConfig, parameters: Values) -> Photons:
    """Return the photons of parameters, (n, 18); the inverse of `event_parameters`."""
    conversion = uvw_to_xyz(parameters[:, 1:4])
    vertex = parameters[:, 5:7] @ _target_axes(beam)
    way = conversion - vertex
    length = np.linalg.norm(way, axis=1)
    return Photons(
        energy_mev=parameters[:, 0],
        vertex_cm=vertex,
        direction=way / length[:, None],
        conversion_cm=conversion,
        emission_ns=parameters[:, TIME] - length / SPEED_OF_LIGHT_CM_PER_NS,
    )


def prior_information(beam: BeamConfig) -> Values:
    """Return what is known of the parameters before the event, the diagonal of shape (18,)."""
    prior = np.zeros(N_PARAMETERS)
    prior[PARAMETERS.index("along")] = beam.spot_along_cm**-2
    prior[PARAMETERS.index("across")] = beam.spot_across_cm**-2
    prior[FIRST_LATENT:] = 1.0
    return prior


def point_quantities(config: SimulationConfig, parameters: Values) -> tuple[Values, Values]:
    """Return the light of events and the quantities of their light points.

    Parameters
    ----------
    config
        Shower and target.
    parameters
        Shape (n, 18).

    Returns
    -------
    log_photons, quantities
        Logarithm of the emitted photons (n,); positions, shares and paths as in `light_slopes`,
        shape (n, 15).
    """
    photons = photons_of(config.beam, parameters)
    points = light_points(config.shower, photons, parameters[:, FIRST_LATENT:])
    n = len(parameters)
    quantities = [points.position_cm.reshape(n, -1), points.fraction, points.path_cm]
    return np.log(points.n_photons), np.concatenate(quantities, axis=1)


def emission(beam: BeamConfig, parameters: Values) -> Values:
    """Return theta, phi [deg] and time [ns] of the emission, shape (n, 3)."""
    photons = photons_of(beam, parameters)
    angles = direction_to_angles_deg(photons.direction)
    return np.column_stack([angles, photons.emission_ns])


def shifted(parameters: Values) -> Values:
    """Return one event's parameters (18,) with each moved up, then each moved down: (36, 18)."""
    steps = _STEP * np.eye(N_PARAMETERS)
    return np.concatenate([parameters + steps, parameters - steps])


def slopes(values: Values) -> Values:
    """Return the derivatives by the parameters, (18, ...), of values at `shifted` parameters."""
    up, down = values[:N_PARAMETERS], values[N_PARAMETERS:]
    return (up - down) / (2 * _STEP)


def _target_axes(beam: BeamConfig) -> Values:
    """Return unit vectors along the slanted target and across it, shape (2, 3)."""
    slant = math.radians(beam.target_slant_deg)
    return np.array([[math.sin(slant), 0.0, math.cos(slant)], [0.0, 1.0, 0.0]])
