"""What is worth a look before a training trusts its events: ranges, dead sensors, overlaps."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.data.dead_from_data import DEAD_ABOVE
from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline.units import MEV_PER_GEV, NS_PER_S

_SAMPLED_EVENTS: Final = 256
"""Events whose sensors are looked at; they are spread over the sample."""
_POSITION: Final = ("u", "v", "w")
_NS_PER_UNIT: Final[Mapping[str, float]] = {"ns": 1.0, "s": NS_PER_S}


def sensor_summary(shards: ShardSet) -> dict[str, float]:
    """Return what the sensors of some events look like.

    Returns
    -------
    dict
        `sensors`, values of an event; `sampled_events`; `dead_sensors`, those without a value in
        more than 90 % of the sampled events; `time_missing_percent`, sensor times without a value.
    """
    rows = _spread(shards.n_events)
    is_dead = np.isnan(shards.npho_sqrt[rows])
    has_no_time = np.isnan(shards.time_ns[rows])
    return {
        "sensors": is_dead.shape[1],
        "sampled_events": len(rows),
        "dead_sensors": int((is_dead.mean(axis=0) > DEAD_ABOVE).sum()) if len(rows) else 0,
        "time_missing_percent": 100 * float(has_no_time.mean()) if len(rows) else 0.0,
    }


def truth_ranges(shards: ShardSet, time_unit: str) -> dict[str, float]:
    """Return smallest and largest true energy [MeV], position [cm] and time [ns], as far as known.

    Parameters
    ----------
    shards
        The events.
    time_unit
        Unit of `timeTruth` in the files: ns or s.
    """
    columns = {
        "energy_mev": MEV_PER_GEV * np.asarray(shards.columns["energyTruth"], dtype=np.float64),
        "time_ns": _NS_PER_UNIT[time_unit] * np.asarray(shards.columns["timeTruth"]),
        **dict(
            zip((f"{name}_cm" for name in _POSITION), shards.columns["uvwTruth"].T, strict=True)
        ),
    }
    known = {name: values[np.isfinite(values)] for name, values in columns.items()}
    return {
        f"true_{name}_{which}": float(take(values))
        for name, values in known.items()
        if len(values)
        for which, take in (("min", np.min), ("max", np.max))
    }


def shared_events(first: ShardSet, second: ShardSet) -> int:
    """Return how many events of `first` are in `second` too.

    The same event has the same run and event number and, where both samples know it, the same true
    energy. All events of a file with equal content are the same, whatever their numbers.
    """
    known = {part.source_hash for part in second.manifest.sources}
    in_equal_files = np.repeat(
        [part.source_hash in known for part in first.manifest.sources],
        [part.n_events for part in first.manifest.sources],
    )
    is_shared = in_equal_files.astype(np.bool_)
    numbers, others = _numbers(first), _numbers(second)
    _, rows, other_rows = np.intersect1d(numbers, others, return_indices=True)
    has_number = numbers[rows] >= 0
    rows, other_rows = rows[has_number], other_rows[has_number]
    energy = np.asarray(first.columns["energyTruth"])[rows]
    other_energy = np.asarray(second.columns["energyTruth"])[other_rows]
    is_other = (energy != other_energy) & np.isfinite(energy) & np.isfinite(other_energy)
    is_shared[rows[~is_other]] = True
    return int(is_shared.sum())


def _numbers(shards: ShardSet) -> NDArray[np.int64]:
    """Return run and event number of each event as one number, negative if unknown."""
    run = np.asarray(shards.columns["run"]).astype(np.int64)
    event = np.asarray(shards.columns["event"]).astype(np.int64)
    return np.where((run < 0) | (event < 0), -1, (run << 32) | event)


def _spread(n_events: int) -> NDArray[np.int64]:
    n_sampled = min(n_events, _SAMPLED_EVENTS)
    return np.arange(n_sampled) * n_events // max(n_sampled, 1)
