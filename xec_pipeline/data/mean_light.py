"""The true mean light of toy events, which real data never have: branch `npho_mean`.

A prediction for a sensor is judged by it without the noise of counting, also where the sensor is
dead. Files hold it if they were simulated with `--truth_light`.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.data.root_io import iterate_events, open_tree, read_entries
from xec_pipeline.errors import DataError

Numbers = NDArray[np.int64]

MEAN_BRANCH: Final = "npho_mean"
_STEP: Final = 500
_IDENTITY_STEP: Final = 50_000
_RUN_BITS: Final = 32


class MeanLight:
    """The mean light of the events of some files, found again and again without a new search.

    Parameters
    ----------
    files
        ROOT files that hold the events.
    tree_name
        See `data.root_io.open_tree`.

    Raises
    ------
    DataError
        If a file lacks the branch `npho_mean`; ask `has_means` before.
    """

    def __init__(self, files: Sequence[Path], *, tree_name: str = "tree") -> None:
        if not has_means(files, tree_name):
            raise DataError(f"{files[0]}: no branch '{MEAN_BRANCH}'; simulate with --truth_light")
        self._files, self._tree_name = files, tree_name
        self._index = _Index(files, tree_name)

    def __call__(
        self,
        run: NDArray[np.integer],
        event: NDArray[np.integer],
        sensor: NDArray[np.integer],
    ) -> NDArray[np.float32]:
        """Return the mean photons of sensors; see `mean_photons`."""
        wanted, which = np.unique(_keys(run, event), return_inverse=True)
        number, entry = (place[which] for place in self._index.find(wanted))
        means = np.empty(len(which), dtype=np.float32)
        for k, path in enumerate(self._files):
            rows = np.flatnonzero(number == k)
            rows = rows[np.argsort(entry[rows], kind="stable")]
            if rows.size:
                means[rows] = _read(path, self._tree_name, entry[rows], sensor[rows])
        return means


def mean_photons(
    files: Sequence[Path],
    run: NDArray[np.integer],
    event: NDArray[np.integer],
    sensor: NDArray[np.integer],
    *,
    tree_name: str = "tree",
) -> NDArray[np.float32] | None:
    """Return the true mean photons of sensors.

    Parameters
    ----------
    files
        ROOT files that hold the events.
    run, event, sensor
        What is asked for, each of shape (N,); an event may occur any number of times.
    tree_name
        See `data.root_io.open_tree`.

    Returns
    -------
    ndarray or None
        Photons, shape (N,); None if no file has the branch `npho_mean`.

    Raises
    ------
    DataError
        If only some of the files have the branch, or an event is in no file or in more than one.
    """
    if not has_means(files, tree_name):
        return None
    return MeanLight(files, tree_name=tree_name)(run, event, sensor)


def has_means(files: Sequence[Path], tree_name: str = "tree") -> bool:
    """Return whether the files have the branch; DataError if some have it and some do not."""
    lacking = []
    for path in files:
        with open_tree(path, tree_name) as tree:
            if MEAN_BRANCH not in tree.keys():  # noqa: SIM118 - a tree, not a mapping
                lacking.append(path)
    if lacking and len(lacking) < len(files):
        raise DataError(
            f"{lacking[0]}: no branch '{MEAN_BRANCH}', but {len(files) - len(lacking)} of "
            f"{len(files)} files have it; expected all or none. "
            "Simulate all of them with --truth_light"
        )
    return bool(files) and not lacking


def _keys(run: NDArray[np.generic], event: NDArray[np.generic]) -> Numbers:
    """Return one number for each pair of 32-bit numbers of run and event."""
    low = event.astype(np.int64) & ((1 << _RUN_BITS) - 1)
    return (run.astype(np.int64) << _RUN_BITS) | low


class _Index:
    """In which file and at which entry every event is."""

    def __init__(self, files: Sequence[Path], tree_name: str) -> None:
        keys = [_keys_of(path, tree_name) for path in files]
        lengths = [len(of_file) for of_file in keys]
        joined = np.concatenate(keys)
        self._order = np.argsort(joined, kind="stable")
        self._sorted = joined[self._order]
        self._number = np.repeat(np.arange(len(files)), lengths)
        self._entry = np.concatenate([np.arange(n) for n in lengths])
        self._files = files

    def find(self, wanted: Numbers) -> tuple[Numbers, Numbers]:
        """Return the numbers of the files and the entries of events, both of their shape."""
        first = np.searchsorted(self._sorted, wanted, side="left")
        count = np.searchsorted(self._sorted, wanted, side="right") - first
        if (count == 0).any():
            absent = wanted[count == 0]
            raise DataError(
                f"{_text(absent[0])} is in none of {len(self._files)} files "
                f"({self._files[0]}, ...); {len(absent)} of {len(wanted)} events are missing. "
                "Name the files that the predictions were made from"
            )
        if (count > 1).any():
            again = int(np.flatnonzero(count > 1)[0])
            places = self._number[self._order[first[again] : first[again] + 2]]
            raise DataError(
                f"{_text(wanted[again])} is in {self._files[places[0]]} and again in "
                f"{self._files[places[1]]}; expected every event once"
            )
        place = self._order[first]
        return self._number[place], self._entry[place]


def _keys_of(path: Path, tree_name: str) -> Numbers:
    chunks = iterate_events([path], ["run", "event"], _IDENTITY_STEP, tree_name=tree_name)
    return np.concatenate([_keys(chunk.arrays["run"], chunk.arrays["event"]) for chunk in chunks])


def _text(key: np.int64) -> str:
    return f"run {key >> _RUN_BITS}, event {key & ((1 << _RUN_BITS) - 1)}"


def _read(
    path: Path, tree_name: str, entry: Numbers, sensor: NDArray[np.integer]
) -> NDArray[np.float32]:
    """Return the means of entries and sensors of one file; `entry` ascends, both (n,)."""
    pieces = []
    with open_tree(path, tree_name) as tree, ThreadPoolExecutor(1) as pool:
        for first in range(int(entry[0]), int(entry[-1]) + 1, _STEP):
            begin, end = np.searchsorted(entry, [first, first + _STEP])
            if begin < end:
                rows = range(first, int(entry[end - 1]) + 1)
                found = read_entries(path, tree, [MEAN_BRANCH], rows, pool)
                values = np.asarray(found.arrays[MEAN_BRANCH], dtype=np.float32)
                pieces.append(values[entry[begin:end] - first, sensor[begin:end]])
    return np.concatenate(pieces)
