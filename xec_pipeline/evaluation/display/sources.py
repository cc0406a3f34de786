"""Events by number or by run and event, from ROOT files or from shards."""

import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xec_pipeline.config.data import DataConfig
from xec_pipeline.data.events import read_sensor_event
from xec_pipeline.data.root_files import find_root_files
from xec_pipeline.data.root_io import check_tree, open_tree, read_entries, read_provenance_tree
from xec_pipeline.data.shard_set import ShardSet, open_shards
from xec_pipeline.data.shards import is_shard_dir
from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.display.event import UNKNOWN, DisplayEvent, Vector
from xec_pipeline.units import MEV_PER_GEV, NS_PER_S

_log = logging.getLogger(__name__)

_N_NEAR: Final = 3
_FAR_CM: Final = 900.0
"""Positions beyond this are failed reconstructions."""


class Keys(NamedTuple):
    """Run and event numbers of all events of a sample, each (n_events,)."""

    run: NDArray[Any]
    event: NDArray[Any]


class EventSource(Protocol):
    """A sample whose events can be read one by one."""

    @property
    def name(self) -> str:
        """File or folder."""

    @property
    def n_events(self) -> int:
        """Number of events."""

    @property
    def keys(self) -> Keys:
        """Run and event numbers; raises MissingBranchError if the sample has none."""

    def read(self, entry: int) -> DisplayEvent:
        """Return the event with a number from 0 to n_events - 1."""


class Wanted(NamedTuple):
    """Which event: a number in the sample, or run and event."""

    entry: int | None = None
    run: int | None = None
    event: int | None = None


def open_source(path: str) -> EventSource:
    """Return the sample at `path`: ROOT file, folder or pattern, or a shard folder.

    Raises
    ------
    DataError
        If there is no such path, or it holds no events.
    """
    if is_shard_dir(path):
        return ShardSource(open_shards(path))
    return RootSource(path)


def read_event(source: EventSource, wanted: Wanted) -> DisplayEvent:
    """Return the wanted event.

    Raises
    ------
    DataError
        If there is none, naming the nearest.
    """
    return source.read(find_entry(source, wanted))


def find_entry(source: EventSource, wanted: Wanted) -> int:
    """Return the number of the wanted event in the sample; raise DataError if there is none."""
    if wanted.entry is not None:
        if not 0 <= wanted.entry < source.n_events:
            raise DataError(
                f"{source.name}: no entry {wanted.entry}; expected 0 to {source.n_events - 1}"
            )
        return wanted.entry
    return find_row(source.name, source.keys, int(wanted.run or 0), int(wanted.event or 0))


def find_row(name: str, keys: Keys, run: int, event: int) -> int:
    """Return the first row of `keys` with this run and event.

    Raises
    ------
    DataError
        If there is none, naming the nearest.
    """
    in_run = np.flatnonzero(keys.run == run)
    if not len(in_run):
        raise DataError(f"{name}: no run {run}; {nearest_text('runs', keys.run, run)}")
    rows = in_run[keys.event[in_run] == event]
    if not len(rows):
        near = nearest_text("events", keys.event[in_run], event)
        raise DataError(f"{name}: run {run} has no event {event}; {near}")
    if len(rows) > 1:
        _log.warning(
            "%s: run %d event %d is there %d times, the first is taken", name, run, event, len(rows)
        )
    return int(rows[0])


def nearest_text(what: str, numbers: NDArray[Any], wanted: int) -> str:
    """Return in words which of `numbers` are nearest to the wanted one."""
    there = np.unique(numbers)
    near = there[np.argsort(np.abs(there.astype(np.int64) - wanted), kind="stable")[:_N_NEAR]]
    return f"the nearest of {len(there)} {what}: {', '.join(map(str, sorted(near.tolist())))}"


class ShardSource:
    """The events of a shard folder."""

    def __init__(self, shards: ShardSet) -> None:
        self._shards = shards
        self.name = str(shards.path)
        self.n_events = shards.n_events

    @cached_property
    def keys(self) -> Keys:
        """Run and event numbers."""
        return Keys(self._shards.columns["run"], self._shards.columns["event"])

    def read(self, entry: int) -> DisplayEvent:
        """Return an event."""
        rows = slice(entry, entry + 1)
        columns = {name: values[entry] for name, values in self._shards.columns.items()}
        return DisplayEvent(
            entry=entry,
            npho=self._shards.npho(rows)[0],
            time_ns=self._shards.times_ns(rows)[0],
            source=self.name,
            is_toy=bool(self._shards.toy),
            **_described(columns),
        )


class RootSource:
    """The events of ROOT files, numbered through in the order of their names.

    Parameters
    ----------
    path
        File, folder or pattern.
    config
        Names of tree and branches.
    """

    def __init__(self, path: str, config: DataConfig | None = None) -> None:
        # One event is looked at: NaN in it is a dead sensor, not a reason to refuse the file.
        self._config = config or DataConfig(nonfinite="dead")
        self._files = find_root_files(path)
        self.name = path
        counts = [_count(file, self._config.tree_name) for file in self._files]
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        self.n_events = int(self._starts[-1])

    @cached_property
    def keys(self) -> Keys:
        """Run and event numbers."""
        parts = [_keys(file, self._config.tree_name) for file in self._files]
        return Keys(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def read(self, entry: int) -> DisplayEvent:
        """Return an event."""
        number = int(np.searchsorted(self._starts, entry, side="right")) - 1
        file = self._files[number]
        events = read_sensor_event(file, entry - int(self._starts[number]), self._config)
        columns = {name: values[0] for name, values in events.columns.items()}
        return DisplayEvent(
            entry=entry,
            npho=events.npho[0],
            time_ns=events.time_s[0] * np.float32(NS_PER_S),
            source=str(file),
            is_toy=read_provenance_tree(file) is not None,
            **_described(columns),
        )


def _count(file: Path, tree_name: str) -> int:
    with open_tree(file, tree_name) as tree:
        return int(tree.num_entries)


def _keys(file: Path, tree_name: str) -> Keys:
    with open_tree(file, tree_name) as tree, ThreadPoolExecutor(1) as pool:
        names = check_tree(file, tree, ["run", "event"])
        arrays = read_entries(file, tree, names, range(tree.num_entries), pool).arrays
    return Keys(arrays["run"], arrays["event"])


def _described(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the columns of one event say of it, in internal units."""
    return {
        "run": int(columns.get("run", -1)),
        "event": int(columns.get("event", -1)),
        "energy_mev": float(columns.get("energyTruth", np.nan)) * MEV_PER_GEV,
        "uvw_cm": _vector(columns.get("uvwTruth", UNKNOWN)),
        "reco_energy_mev": float(columns.get("energyReco", np.nan)) * MEV_PER_GEV,
        "reco_uvw_cm": _vector(columns.get("uvwRecoFI", UNKNOWN)),
    }


def _vector(values: ArrayLike | Sequence[float]) -> Vector:
    u, v, w = (float(value) for value in np.asarray(values))
    return (u, v, w) if max(abs(u), abs(v), abs(w)) < _FAR_CM else UNKNOWN
