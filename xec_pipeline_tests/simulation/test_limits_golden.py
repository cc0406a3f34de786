"""The limits against those of the reference, on its own events.

`limit_events.npy` holds the parameters of 144 events at 52.83 MeV, 16 in each range of depth, that
the published table was made of; its efficiencies come from one seed.
"""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from xec_pipeline.config.simulation import simulation_config
from xec_pipeline.detector.sensors import N_SENSORS, N_SIPM
from xec_pipeline.simulation.instrument import build_instrument
from xec_pipeline.simulation.limits.event_limit import EventLimits
from xec_pipeline.simulation.limits.parameters import PARAMETERS, event_parameters
from xec_pipeline.simulation.shower import draw_latents
from xec_pipeline.simulation.truth import draw_photons, uniform_spectrum

pytestmark = pytest.mark.golden

SHARES = np.array([0.095, 0.086, 0.156, 0.120, 0.181, 0.162, 0.110, 0.073, 0.017])
PER_RANGE = 16
# E %, u, v, w mm, t_FI ps, theta, phi deg, t_emission ps; w from 0, 0.5, 1, 2, 3, 5, 8, 12, 20 cm
RANGES = [
    (1.63, 1.31, 1.29, 0.55, 52.8, 3.33, 1.00, 64.6),
    (1.63, 1.14, 1.11, 0.94, 52.6, 3.37, 1.00, 63.1),
    (1.63, 1.52, 1.47, 1.23, 52.3, 3.24, 1.00, 69.4),
    (1.63, 1.59, 1.51, 1.62, 52.3, 3.31, 0.99, 63.9),
    (1.63, 1.98, 1.81, 2.08, 52.2, 3.20, 0.98, 67.1),
    (1.64, 2.31, 2.04, 2.92, 52.4, 3.16, 0.94, 66.8),
    (1.65, 3.32, 2.73, 4.28, 53.6, 3.02, 0.93, 68.5),
    (1.63, 4.01, 3.17, 6.06, 55.5, 2.85, 0.88, 69.7),
    (1.64, 4.02, 2.90, 6.36, 55.8, 2.61, 0.79, 65.1),
]
ALL = (1.63, 2.28, 1.96, 2.86, 52.8, 3.19, 0.97, 66.8)
ROUNDING = np.array([0.01, 0.01, 0.01, 0.012, 0.1, 0.01, 0.01, 0.1]) * 0.6


def instrument_of(config):
    """Return the sensors with the efficiencies of the reference."""
    spread = 1 + 0.10 * np.random.default_rng(20240501).standard_normal(N_SENSORS)
    nominal = np.where(np.arange(N_SENSORS) < N_SIPM, 0.12, 0.16)
    efficiency = (nominal * np.clip(spread, 0.6, 1.4)).astype(np.float32)
    return dataclasses.replace(build_instrument(config), efficiency=efficiency)


def limits_of(preset="meg2", options=None, per_range=PER_RANGE):
    """Return the RMS limits in the units of the table, (range, quantity)."""
    config = simulation_config(preset, {"energy_mev": (52.83, 52.83), **(options or {})})
    events = np.load(Path(__file__).with_name("limit_events.npy")).astype(np.float64)
    chosen = events.reshape(len(SHARES), PER_RANGE, -1)[:, :per_range]
    model = EventLimits(config, instrument_of(config))
    squares = np.array([(model.limits(one) ** 2).mean(axis=0) for one in chosen])
    return np.sqrt(squares) * [100 / 52.83, 10, 10, 10, 1e3, 1, 1, 1e3]


def over_all(ranges):
    return np.sqrt((SHARES[:, None] * ranges**2).sum(axis=0) / SHARES.sum())


def test_limits_of_the_reference_events():
    found = limits_of()
    assert (np.abs(found - RANGES) < ROUNDING).all()
    assert (np.abs(over_all(found) - ALL) < 2 * ROUNDING).all()


def test_presets_and_dead_sensors():
    usual = over_all(limits_of(per_range=6))
    sharp = over_all(limits_of("sharp", per_range=6))
    np.testing.assert_allclose(sharp[1:4], usual[1:4], rtol=0.005)
    np.testing.assert_allclose(sharp[[0, 4]], [0.52, 29.6], rtol=0.03)
    point = over_all(limits_of("point", per_range=6))
    np.testing.assert_allclose(point[:5], [0.33, 0.34, 0.27, 0.34, 27.0], rtol=0.06)
    dead = over_all(limits_of(options={"dead_fraction": 0.1}, per_range=6)) / usual
    np.testing.assert_allclose(dead[:5], [1.0, 1.021, 1.019, 1.03, 1.017], atol=0.015)
    assert (dead[:5] >= 1).all()


@pytest.mark.parametrize(
    ("energy", "expected"),
    [(30.0, (2.17, 2.50, 2.17, 3.76, 56.9)), (15.0, (3.08, 2.58, 2.15, 4.33, 64.7))],
)
def test_lower_energies(energy, expected):
    """Other events than the 54 of the reference: equal within the statistics of both."""
    config = simulation_config("meg2", {"energy_mev": (energy, energy)})
    rng = np.random.default_rng(8)
    photons = draw_photons(config.beam, rng, 80, uniform_spectrum(energy, energy))
    parameters = event_parameters(photons, draw_latents(rng, 80), config.beam)
    depth = parameters[:, PARAMETERS.index("w")]
    assert depth.max() > 12
    found = np.sqrt((EventLimits(config).limits(parameters) ** 2).mean(axis=0))[:5]
    found *= [100 / energy, 10, 10, 10, 1e3]
    np.testing.assert_allclose(found[[0, 4]], np.array(expected)[[0, 4]], rtol=0.02)
    np.testing.assert_allclose(found[1:4], expected[1:4], rtol=0.2)
