"""Events to compare an exported file with its network on: ordinary ones and awkward ones."""

import logging
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from xec_pipeline.config.data import DataConfig
from xec_pipeline.config.simulation import simulation_config
from xec_pipeline.data.shards import is_shard_dir, open_shards, shard_dir_for
from xec_pipeline.simulation.events import simulate_events
from xec_pipeline.units import INVALID, NS_PER_S

_SEED = 20250701
_N_AWKWARD = 5

_log = logging.getLogger(__name__)

F32 = npt.NDArray[np.float32]


class RawEvents(NamedTuple):
    """Sensor values as in a ROOT file."""

    npho: F32
    """Photons (N, 4760); 1e10, NaN or infinity where dead."""
    time_s: F32
    """Relative times [s] (N, 4760); 1e10, NaN or infinity where not measured."""


def sample_events(data: DataConfig, count: int) -> RawEvents:
    """Return events for a parity check.

    They come from a run's test or validation shards, or from the toy detector if there are none
    on this machine. The last five are then spoilt in the ways real events are: dead sensors
    marked in all permitted ways, no times, no light, all sensors dead.

    Parameters
    ----------
    data
        Says where the shards are.
    count
        Number of events, at least 6.
    """
    events = _from_shards(data, count) or _from_toy(count)
    return _spoilt(events)


def _from_shards(data: DataConfig, count: int) -> RawEvents | None:
    for path in filter(None, (data.test_path, data.val_path)):
        folder = path if is_shard_dir(path) else shard_dir_for(data, path)
        if is_shard_dir(folder):
            shards = open_shards(folder)
            if shards.n_events >= count:
                rows = slice(0, count)
                times_s = shards.times_ns(rows) / np.float32(NS_PER_S)
                return RawEvents(shards.npho(rows), times_s)
    return None


def _from_toy(count: int) -> RawEvents:
    _log.info("no shards of test or validation events here; comparing on %d toy events", count)
    toy = simulate_events(simulation_config(), np.random.SeedSequence(_SEED), count)
    return RawEvents(toy["npho"], toy["relative_time"])


def _spoilt(events: RawEvents) -> RawEvents:
    npho, time_s = events.npho.copy(), events.time_s.copy()
    rng = np.random.default_rng(_SEED)
    for row, marker in ((-1, INVALID), (-2, np.nan)):
        dead = rng.random(npho.shape[1]) < 0.1
        npho[row, dead] = marker
        time_s[row, rng.permutation(dead)] = -np.inf if row == -1 else marker
    time_s[-3] = INVALID
    npho[-4], time_s[-4] = 0.0, INVALID
    npho[-_N_AWKWARD], time_s[-_N_AWKWARD] = INVALID, INVALID
    return RawEvents(npho, time_s)
