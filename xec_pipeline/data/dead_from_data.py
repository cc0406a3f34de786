"""Dead sensors seen in the events themselves: those that hardly ever have a value."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from xec_pipeline.config.data import DataConfig
from xec_pipeline.data.events import find_dead
from xec_pipeline.data.root_files import find_root_files
from xec_pipeline.data.root_io import iterate_events, read_provenance_tree
from xec_pipeline.data.shard_format import MANIFEST_NAME
from xec_pipeline.data.shard_set import ShardSet, open_shards
from xec_pipeline.detector.dead_table import DeadInterval
from xec_pipeline.detector.sensors import N_SENSORS

DEAD_ABOVE: Final = 0.9
"""A sensor without a value in more than this share of a run's events is dead in that run."""
_EVENTS_AT_ONCE: Final = 500

_Block = tuple[NDArray[np.integer[Any]], NDArray[np.bool_]]
"""Run numbers (N,) and where there is no value (N, 4760)."""


@dataclass(frozen=True, kw_only=True)
class SeenDead:
    """How often each sensor of a sample had no value, by run.

    `n_missing` counts, for each run, the events without a value, shape (4760,).
    """

    name: str
    toy: bool
    n_events: dict[int, int]
    n_missing: dict[int, NDArray[np.int64]]

    def of_run(self, run: int, above: float = DEAD_ABOVE) -> NDArray[np.bool_]:
        """Return the sensors without a value in more than `above` of a run's events."""
        is_dead: NDArray[np.bool_] = self.n_missing[run] > above * self.n_events[run]
        return is_dead

    def of_all(self, above: float = DEAD_ABOVE) -> NDArray[np.bool_]:
        """Return the sensors without a value in more than `above` of all events."""
        total = sum(self.n_missing.values(), start=np.zeros(N_SENSORS, dtype=np.int64))
        is_dead: NDArray[np.bool_] = total > above * sum(self.n_events.values())
        return is_dead

    def intervals(self, above: float = DEAD_ABOVE) -> list[DeadInterval]:
        """Return the dead sensors of each run, in their order."""
        return [
            DeadInterval(
                run_first=run,
                run_last=run,
                channels=tuple(np.flatnonzero(self.of_run(run, above)).tolist()),
                source=self.words(above),
            )
            for run in sorted(self.n_events)
        ]

    def words(self, above: float) -> str:
        """Return where the lists come from."""
        origin = f"{self.name} (toy detector)" if self.toy else self.name
        return f"no value in more than {100 * above:g} % of the events of {origin}"


def count_missing(
    source: str | Path, config: DataConfig | None = None, *, progress: bool = False
) -> SeenDead:
    """Count the events in which each sensor has no value.

    Parameters
    ----------
    source
        Shard folder, ROOT file, folder of ROOT files, or pattern. ROOT files without a branch
        `run` count as run -1.
    config
        Names of tree and branch.
    progress
        Show a bar if this is a terminal.

    Raises
    ------
    XecError
        If the events cannot be read.
    """
    path = Path(source)
    path = path.parent if path.name == MANIFEST_NAME else path
    if (path / MANIFEST_NAME).is_file():
        shards = open_shards(path)
        blocks, toy = _of_shards(shards), shards.toy
    else:
        files = find_root_files(source)
        blocks = _of_files(files, config or DataConfig())
        toy = any(read_provenance_tree(file) is not None for file in files)
    n_events: dict[int, int] = {}
    n_missing: dict[int, NDArray[np.int64]] = {}
    with tqdm(unit="event", disable=None if progress else True) as bar:
        for runs, is_missing in blocks:
            for run in np.unique(runs).tolist():
                chosen = is_missing[runs == run]
                n_events[run] = n_events.get(run, 0) + len(chosen)
                n_missing[run] = n_missing.get(run, 0) + chosen.sum(axis=0, dtype=np.int64)
            bar.update(len(runs))
    return SeenDead(name=str(source), toy=toy, n_events=n_events, n_missing=n_missing)


def _of_shards(shards: ShardSet) -> Iterator[_Block]:
    runs = shards.columns["run"]
    for start in range(0, shards.n_events, _EVENTS_AT_ONCE):
        rows = slice(start, start + _EVENTS_AT_ONCE)
        yield runs[rows], np.isnan(shards.npho_sqrt[rows])


def _of_files(files: list[Path], config: DataConfig) -> Iterator[_Block]:
    names = [config.npho_branch]
    for chunk in iterate_events(
        files, names, _EVENTS_AT_ONCE, tree_name=config.tree_name, optional=("run", "dead")
    ):
        no_run = np.full(chunk.n_events, -1, dtype=np.int64)
        yield (
            np.asarray(chunk.arrays.get("run", no_run), dtype=np.int64),
            find_dead(chunk.arrays, config.npho_branch),
        )
