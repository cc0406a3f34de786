"""Physical limits of all events of toy files, calculated once and kept beside them."""

import logging
import multiprocessing
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from xec_pipeline.config.simulation import SimulationConfig
from xec_pipeline.data.limit_files import (
    LimitColumns,
    joined,
    limits_path,
    read_limit_file,
    write_limit_file,
)
from xec_pipeline.data.schema import LIMIT_BRANCHES
from xec_pipeline.errors import ConfigError
from xec_pipeline.evaluation.limit_events import EventBlock, ToyFile, event_blocks, open_toy_file
from xec_pipeline.lifetime import start_in_pool
from xec_pipeline.simulation.instrument import Instrument
from xec_pipeline.simulation.limits.event_limit import LIMITS, EventLimits
from xec_pipeline.simulation.limits.parameters import PARAMETERS
from xec_pipeline.versioning import content_hash

Values = NDArray[np.float64]

_log = logging.getLogger(__name__)

_CHUNK: Final = 16
"""Events that a process works on at a time, a fifth of a second."""
_BRANCH_OF: Final = {
    "energy": "lim_E",
    "u": "lim_u",
    "v": "lim_v",
    "w": "lim_w",
    "time": "lim_t",
    "theta": "lim_theta",
    "phi": "lim_phi",
    "emission_time": "lim_t_emission",
}


@dataclass(frozen=True, kw_only=True)
class _Task:
    """A file whose limits are not all known."""

    toy: ToyFile
    digest: str
    n_wanted: int
    known: LimitColumns | None

    @property
    def n_known(self) -> int:
        return 0 if self.known is None else len(self.known["event"])


def calculate_limits(
    files: Sequence[Path], *, n_events: int | None = None, jobs: int = 1, progress: bool = True
) -> list[Path]:
    """Calculate the limits of the events of files and write them beside these.

    Parameters
    ----------
    files
        Files of toy events.
    n_events
        Only the first of all events; None for all.
    jobs
        Processes.
    progress
        Show a bar on a terminal.

    Returns
    -------
    list of Path
        Files of limits, for those of `files` of which events were asked for.

    Raises
    ------
    ConfigError
        If events may have a second photon; names the file. Nothing has been calculated then.
    DataError
        If a file is not of the toy detector, or its latents cannot be found.

    Notes
    -----
    Limits that are there already are kept. The file of limits is written after every 512 events, so
    that an interrupted calculation goes on from there.
    """
    if jobs < 1:
        raise ConfigError(f"jobs must be at least 1, got {jobs}")
    if n_events is not None and n_events < 1:
        raise ConfigError(f"events must be at least 1, got {n_events}")
    tasks = list(_plan(files, n_events))
    n_missing = sum(max(task.n_wanted - task.n_known, 0) for task in tasks)
    with tqdm(total=n_missing, unit="event", disable=None if progress else True) as bar:
        for task in tasks:
            if task.n_known < task.n_wanted:
                _complete(task, jobs, bar.update)
    return [limits_path(task.toy.path) for task in tasks]


def _plan(files: Sequence[Path], n_events: int | None) -> Iterator[_Task]:
    left = n_events
    for path in files:
        if left is not None and left <= 0:
            return
        toy = open_toy_file(path)
        _refuse_pileup(toy)
        n_wanted = toy.n_events if left is None else min(left, toy.n_events)
        left = None if left is None else left - n_wanted
        digest = content_hash(path)
        known = read_limit_file(path, digest)
        if known is None and limits_path(path).exists():
            _log.info("%s: of other events or by other code, made anew", limits_path(path))
        yield _Task(toy=toy, digest=digest, n_wanted=n_wanted, known=known)


def _refuse_pileup(toy: ToyFile) -> None:
    if toy.config.pileup.probability > 0:
        raise ConfigError(
            f"{toy.path}: the physical limit of events with a second photon is not known "
            f"(pileup.probability is {toy.config.pileup.probability}); simulate events without"
        )


def _complete(task: _Task, jobs: int, advance: Callable[[int], object]) -> None:
    """Calculate the missing limits of a file, and write after every block."""
    parts = [] if task.known is None else [task.known]
    n_done = 0
    with _calculator(task.toy, jobs) as calculate:
        for block in event_blocks(task.toy, task.n_wanted):
            n_done += len(block.event)
            n_new = min(n_done - task.n_known, len(block.event))
            if n_new > 0:
                parts.append(_limits_of(_last(block, n_new), calculate, advance))
                write_limit_file(task.toy.path, task.digest, joined(parts))


def _last(block: EventBlock, n: int) -> EventBlock:
    return EventBlock(run=block.run[-n:], event=block.event[-n:], parameters=block.parameters[-n:])


def _limits_of(
    block: EventBlock,
    calculate: Callable[[list[Values]], Iterator[Values]],
    advance: Callable[[int], object],
) -> LimitColumns:
    n = len(block.event)
    rows = []
    for part in calculate([block.parameters[i : i + _CHUNK] for i in range(0, n, _CHUNK)]):
        rows.append(part)
        advance(len(part))
    limits = np.concatenate(rows)
    columns: dict[str, NDArray[Any]] = {"run": block.run, "event": block.event}
    columns |= {_BRANCH_OF[name]: limits[:, k] for k, name in enumerate(LIMITS)}
    columns |= {
        branch: block.parameters[:, PARAMETERS.index(name)]
        for branch, name in (("w", "w"), ("t_FI", "time"))
    }
    # As the file will hold them, so that kept and new limits are of one precision.
    return {name: columns[name].astype(LIMIT_BRANCHES[name].numpy_dtype) for name in columns}


@contextmanager
def _calculator(toy: ToyFile, jobs: int) -> Iterator[Callable[[list[Values]], Iterator[Values]]]:
    """Yield a function from parameters of events, in pieces, to their limits, in this order."""
    if jobs == 1:
        model = EventLimits(toy.config, toy.instrument)
        yield lambda pieces: map(model.limits, pieces)
        return
    # Spawned, not forked: torch has threads that a fork would leave behind.
    context = multiprocessing.get_context("spawn")
    started = (os.getpid(), _start, toy.config, toy.instrument)
    with ProcessPoolExecutor(jobs, context, start_in_pool, started) as pool:
        yield lambda pieces: pool.map(_limits_in_process, pieces)


_MODEL: Final[dict[str, EventLimits]] = {}
"""What a process keeps between its pieces of work."""


def _start(config: SimulationConfig, instrument: Instrument) -> None:
    _MODEL["limits"] = EventLimits(config, instrument)


def _limits_in_process(parameters: Values) -> Values:
    return _MODEL["limits"].limits(parameters)
