"""Toy events that several tests look at, and the published sensor table."""

import numpy as np
import pytest

from xec_pipeline.config.simulation import simulation_config
from xec_pipeline.detector.geometry import Geometry, geometry_from_arrays
from xec_pipeline.simulation.events import simulate_events
from xec_pipeline_tests.detector.published_tables import read_tables


@pytest.fixture(scope="session")
def toy_events():
    """1200 events at 52.83 MeV inside the fiducial volume, with their true means; read only."""
    config = simulation_config("meg2", {"energy_mev": (52.83, 52.83), "truth_light": True})
    events = simulate_events(config, np.random.SeedSequence(21), 1400)
    u, v, _ = events["uvwTruth"].T
    inside = np.flatnonzero((np.abs(u) < 23.9) & (np.abs(v) < 67.9))[:1200]
    return {name: values[inside] for name, values in events.items()}


@pytest.fixture(scope="session")
def calibration_events():
    """900 events of 15 to 60 MeV, read only."""
    config = simulation_config("meg2", {"rounding": False})
    return simulate_events(config, np.random.SeedSequence(22), 900)


@pytest.fixture(scope="session")
def surveyed() -> Geometry:
    tables = read_tables()
    return geometry_from_arrays("survey", tables.surveyed_cm, tables.surveyed_normal)
