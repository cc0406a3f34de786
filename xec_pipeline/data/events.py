"""Events as the rest of the package sees them: clean sensor values and columns.

Sensor values are float32 with NaN for "dead" or "not measured". Times are relative to the earliest
sensor of the event with more than 50 photo-electrons.
"""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.config.data import DataConfig
from xec_pipeline.data.root_io import EventChunk, check_tree, iterate_tree, open_tree, read_entries
from xec_pipeline.data.schema import (
    BRANCHES,
    COLUMN_BRANCHES,
    NPHE_FOR_TIME,
    PHOTONS_PER_NPHE,
    is_valid,
)
from xec_pipeline.data.validation import count_nonfinite
from xec_pipeline.errors import MissingBranchError

Columns = dict[str, NDArray[np.generic]]
F32 = NDArray[np.float32]

_RELATIVE: Final = "relative_time"
_ABSOLUTE: Final = "time"
_BLOCK_EVENTS: Final = 64


@dataclass(frozen=True, kw_only=True)
class Events:
    """Consecutive events of one file.

    `npho` [photons] and `time_s` [s, relative] have shape (N, 4760), NaN where not usable.
    `columns` holds what else the file knows of the events, with NaN where not measured. `is_dead`
    marks dead sensors.
    """

    path: Path
    start: int
    npho: F32
    time_s: F32
    columns: Columns
    n_dead: int
    n_nonfinite: int

    @property
    def n_events(self) -> int:
        """Number of events."""
        return len(self.npho)


def iterate_sensor_events(files: Sequence[Path], config: DataConfig) -> Iterator[Events]:
    """Read Monte Carlo or real-data files, `config.chunksize` events at a time, 64 per piece.

    Raises
    ------
    XecError
        Naming file, branch and entry if a file is damaged, lacks an input or holds NaN.
    """
    with ThreadPoolExecutor(config.num_threads) as pool:
        for path in files:
            with open_tree(path, config.tree_name) as tree:
                time_branch = choose_time_branch(path, tree.keys(), config)
                names = _names(path, tree, time_branch, config)
                for chunk in iterate_tree(path, tree, names, config.chunksize, pool):
                    for block in _blocks(chunk):
                        yield _clean(block, time_branch, config)


def read_sensor_event(path: Path, entry: int, config: DataConfig) -> Events:
    """Return one event of a file; see `iterate_sensor_events`.

    Raises
    ------
    XecError
        Naming file, branch and entry if a file is damaged, lacks an input or holds NaN.
    """
    with ThreadPoolExecutor(1) as pool, open_tree(path, config.tree_name) as tree:
        time_branch = choose_time_branch(path, tree.keys(), config)
        names = _names(path, tree, time_branch, config)
        chunk = read_entries(path, tree, names, range(entry, entry + 1), pool)
        return _clean(chunk, time_branch, config)


def _names(path: Path, tree: Any, time_branch: str, config: DataConfig) -> list[str]:
    """Return the branches to read: what there must be, and of the rest what there is."""
    light = ["nphe"] if time_branch == _ABSOLUTE else []
    optional = ["dead", *light, *COLUMN_BRANCHES]
    return check_tree(path, tree, [config.npho_branch, time_branch], optional)


def _blocks(chunk: EventChunk) -> Iterator[EventChunk]:
    """Cut a chunk into pieces that stay in the processor's cache while they are worked on."""
    for first in range(0, chunk.n_events, _BLOCK_EVENTS):
        rows = slice(first, first + _BLOCK_EVENTS)
        arrays = {name: values[rows] for name, values in chunk.arrays.items()}
        yield EventChunk(chunk.path, chunk.start + first, arrays)


def choose_time_branch(path: Path, present: Sequence[str], config: DataConfig) -> str:
    """Return the branch of the times: the configured one, or `time` where only that is there.

    Raises
    ------
    MissingBranchError
        If the file has neither.
    """
    if config.time_branch in present:
        return config.time_branch
    if config.time_branch == _RELATIVE and _ABSOLUTE in present:
        return _ABSOLUTE
    raise MissingBranchError(path, config.time_branch, present)


def _clean(chunk: EventChunk, time_branch: str, config: DataConfig) -> Events:
    n_nonfinite = sum(
        count_nonfinite(chunk, name, config.nonfinite) for name in (config.npho_branch, time_branch)
    )
    arrays = chunk.arrays
    npho = np.array(arrays[config.npho_branch], dtype=np.float32)
    is_dead = find_dead(arrays, config.npho_branch)
    npho[is_dead] = np.nan
    columns = _columns(arrays)
    if time_branch == _ABSOLUTE:
        time_s, minimum = _relative_time(arrays, npho, columns)
        columns["time_min_used"] = minimum
    else:
        time_s = np.array(arrays[time_branch], dtype=np.float32)
        time_s[~is_valid(time_s)] = np.nan
    columns["entry"] = np.arange(chunk.start, chunk.start + len(npho), dtype=np.int64)
    return Events(
        path=chunk.path,
        start=chunk.start,
        npho=npho,
        time_s=time_s,
        columns=columns,
        n_dead=int(is_dead.sum()),
        n_nonfinite=n_nonfinite,
    )


def find_dead(arrays: Mapping[str, NDArray[np.generic]], npho_branch: str) -> NDArray[np.bool_]:
    """Return where a sensor is dead (N, S): without a valid count, or marked in branch `dead`."""
    is_dead = ~is_valid(np.asarray(arrays[npho_branch], dtype=np.float32))
    if "dead" in arrays:
        is_dead |= np.asarray(arrays["dead"], dtype=bool)
    return is_dead


def _columns(arrays: Mapping[str, NDArray[np.generic]]) -> Columns:
    """Return the per-event branches with NaN where not measured."""
    columns: Columns = {}
    for name in COLUMN_BRANCHES:
        if name not in arrays:
            continue
        values = np.array(arrays[name])
        if values.dtype.kind == "f":
            values[~is_valid(values)] = np.nan
        columns[name] = (
            values.astype(BRANCHES[name].numpy_dtype) if values.dtype.kind in "iu" else values
        )
    return columns


def _relative_time(
    arrays: Mapping[str, NDArray[Any]], npho: F32, columns: Columns
) -> tuple[F32, NDArray[np.float64]]:
    """Return times relative to the event's minimum [s], and that minimum.

    The stored `time_min_used` is taken where it is valid. Otherwise the minimum runs over sensors
    with a valid time and more than 50 photo-electrons; a file without `nphe` takes 50 / 0.12
    photons instead.
    """
    time_s = np.array(arrays[_ABSOLUTE], dtype=np.float64)
    time_s[~is_valid(time_s)] = np.nan
    light = np.asarray(arrays["nphe"]) if "nphe" in arrays else npho / PHOTONS_PER_NPHE
    may_be_first = np.isfinite(time_s) & (light > NPHE_FOR_TIME)
    minimum = np.where(may_be_first, time_s, np.inf).min(axis=1)
    minimum[np.isinf(minimum)] = np.nan
    if "time_min_used" in columns:
        stored = np.asarray(columns["time_min_used"], dtype=np.float64)
        minimum = np.where(np.isfinite(stored), stored, minimum)
    return (time_s - minimum[:, None]).astype(np.float32), minimum
