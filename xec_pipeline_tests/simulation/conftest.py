"""Simulated events that several tests look at."""

import numpy as np
import pytest

from xec_pipeline.config.simulation import simulation_config
from xec_pipeline.simulation.events import simulate_events


@pytest.fixture(scope="session")
def signal_events():
    """512 unrounded events at 52.83 MeV with all branches and the true light; read only."""
    options = {
        "energy_mev": (52.83, 52.83),
        "branches": "full",
        "truth_light": True,
        "rounding": False,
    }
    config = simulation_config("meg2", options)
    return config, simulate_events(config, np.random.SeedSequence(11), 512)
