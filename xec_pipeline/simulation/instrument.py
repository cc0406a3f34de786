"""The sensors of the toy detector: efficiency, noise, which are dead. Equal in every data set."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.config.simulation import LightConfig, ResponseConfig, SimulationConfig
from xec_pipeline.detector.dead_channels import dead_boards, random_dead, read_dead_file
from xec_pipeline.detector.geometry import Geometry, geometry_by_name
from xec_pipeline.detector.sensors import N_SENSORS, is_sipm

Array = NDArray[np.float32]

_EFFICIENCY_STREAM = 0
_DEAD_STREAM = 1


@dataclass(frozen=True, kw_only=True)
class Instrument:
    """Constants of the 4760 sensors, each array of shape (4760,).

    `efficiency`: photo-electrons per photon; `gain_variance`: relative variance of one photo-
    electron; `pedestal_variance`: in photo-electrons squared; `is_dead`: True for a dead sensor.
    """

    geometry: Geometry
    efficiency: Array
    gain_variance: Array
    pedestal_variance: Array
    is_dead: NDArray[np.bool_]


def build_instrument(config: SimulationConfig) -> Instrument:
    """Return the sensors of a configuration; a function of it and of `detector_seed` alone.

    Raises
    ------
    ConfigError, DataError
        If the geometry is unknown or the file of dead sensors cannot be used.
    """
    response = config.response
    return Instrument(
        geometry=geometry_by_name(config.geometry),
        efficiency=_draw_efficiency(config.light, _stream(config, _EFFICIENCY_STREAM)),
        gain_variance=_by_kind(response.gain_spread_sipm**2, response.gain_spread_pmt**2),
        pedestal_variance=_pedestal_variance(response),
        is_dead=_draw_dead(config, _stream(config, _DEAD_STREAM)),
    )


def _stream(config: SimulationConfig, key: int) -> np.random.Generator:
    # Separate streams: more dead sensors must not change the efficiencies.
    return np.random.default_rng(np.random.SeedSequence(config.detector_seed, spawn_key=(key,)))


def _by_kind(sipm: float, pmt: float) -> Array:
    return np.where(is_sipm(np.arange(N_SENSORS)), sipm, pmt).astype(np.float32)


def _draw_efficiency(light: LightConfig, rng: np.random.Generator) -> Array:
    spread = np.clip(1.0 + light.pde_spread * rng.standard_normal(N_SENSORS), 0.6, 1.4)
    return (_by_kind(light.pde_sipm, light.qe_pmt) * spread).astype(np.float32)


def _pedestal_variance(response: ResponseConfig) -> Array:
    return _by_kind(response.pedestal_sipm**2, response.pedestal_pmt**2)


def _draw_dead(config: SimulationConfig, rng: np.random.Generator) -> NDArray[np.bool_]:
    is_dead = random_dead(config.dead_fraction, rng) | dead_boards(config.dead_boards, rng)
    return is_dead if config.dead_file is None else is_dead | read_dead_file(config.dead_file)
