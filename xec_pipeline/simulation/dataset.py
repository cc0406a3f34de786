"""A folder of toy files.

Each file has its own stream of random numbers, decided by seed and run number. So the events do not
depend on how many processes work, nor on which other files are made, and a data set can be
continued: files that are there already and were made in the same way are kept.
"""

import functools
import logging
import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from xec_pipeline.config.simulation import SimulationConfig
from xec_pipeline.errors import ConfigError
from xec_pipeline.lifetime import start_in_pool
from xec_pipeline.simulation.branches import Branches
from xec_pipeline.simulation.events import Simulator
from xec_pipeline.simulation.instrument import build_instrument
from xec_pipeline.simulation.provenance import (
    first_difference,
    provenance,
    read_provenance,
    sidecar_path,
    write_sidecar,
)
from xec_pipeline.simulation.writer import write_events

logger = logging.getLogger(__name__)

_EVENT_STREAM = 2
_POLL_S = 0.2


class Reconstruction(Protocol):
    """Makes the branches of a reconstruction. It lies above the simulation, which is handed one."""

    @property
    def record(self) -> Mapping[str, Any]:
        """What its results depend on, for the provenance."""

    def __call__(self, branches: Branches) -> Branches:
        """Return the branches of the reconstruction from those of the sensors."""


@dataclass(frozen=True, kw_only=True)
class _File:
    """One file to make."""

    path: Path
    run: int
    n_events: int
    record: Mapping[str, Any]


_Write = Callable[[_File, Callable[[int], object]], None]


def file_path(out_dir: Path, run: int) -> Path:
    """Return the name of the file of a run."""
    return out_dir / f"MCGamma_{run:06d}.root"


def event_seed(seed: int, run: int) -> np.random.SeedSequence:
    """Return the stream of random numbers of one file."""
    return np.random.SeedSequence(seed, spawn_key=(_EVENT_STREAM, run))


def simulate_dataset(
    config: SimulationConfig,
    out_dir: Path,
    *,
    jobs: int = 1,
    progress: bool = True,
    overwrite: bool = False,
    reconstruction: Reconstruction | None = None,
) -> list[Path]:
    """Write the files of a toy data set that are not there yet.

    Parameters
    ----------
    config
        What to simulate.
    out_dir
        Folder of the files `MCGamma_<run>.root`.
    jobs
        Processes.
    progress
        Show a bar on a terminal.
    overwrite
        Replace files of these runs that were made in another way.
    reconstruction
        Fills the branches of the reconstruction; can be pickled if there are several processes.

    Returns
    -------
    list of Path
        All files of the data set, by run number, whether new or kept.

    Raises
    ------
    ConfigError
        If the folder holds a file made in another way and `overwrite` is off; names the first field
        that differs. Nothing has been written then.
    OutputError
        If the disk is full; complete files stay.
    """
    if jobs < 1:
        raise ConfigError(f"jobs must be at least 1, got {jobs}")
    files = _plan(config, out_dir, reconstruction)
    missing = _missing(files, overwrite=overwrite)
    _check_neighbours(files, out_dir)
    if len(missing) < len(files):
        logger.info("%d of %d files are there already", len(files) - len(missing), len(files))
    n_events = sum(file.n_events for file in missing)
    write = functools.partial(_write, config, reconstruction)
    with tqdm(total=n_events, unit="event", disable=None if progress else True) as bar:
        if jobs == 1 or len(missing) <= 1:
            for file in missing:
                write(file, bar.update)
        else:
            _write_in_processes(write, missing, min(jobs, len(missing)), bar.update)
    for file in files:
        if not sidecar_path(file.path).exists():
            write_sidecar(file.path, file.record)
    return [file.path for file in files]


def _plan(
    config: SimulationConfig, out_dir: Path, reconstruction: Reconstruction | None
) -> list[_File]:
    instrument = build_instrument(config)
    by = None if reconstruction is None else reconstruction.record
    return [
        _File(
            path=file_path(out_dir, run),
            run=run,
            n_events=n,
            record=provenance(config, instrument, run=run, n_events=n, reconstruction=by),
        )
        for run, n in config.file_events().items()
    ]


def _missing(files: Sequence[_File], *, overwrite: bool) -> list[_File]:
    """Return the files to write; with `overwrite` also those that were made in another way."""
    missing = []
    for file in files:
        if not file.path.exists():
            missing.append(file)
        elif difference := _difference(file.path, file.record):
            if not overwrite:
                raise ConfigError(
                    f"{file.path} was made in another way: {difference}; choose another folder "
                    "or --overwrite"
                )
            missing.append(file)
    return missing


def _check_neighbours(files: Sequence[_File], out_dir: Path) -> None:
    """Refuse a folder where other files would join the data set with other events."""
    ours = {file.path for file in files}
    any_run = {"run": None, "n_events": None}
    for path in sorted(set(out_dir.glob("MCGamma_??????.root")) - ours):
        if difference := _difference(path, dict(files[0].record) | any_run, ignore=any_run):
            raise ConfigError(
                f"{path} would belong to the same data set but was made in another way: "
                f"{difference}; choose another folder or move it away"
            )


def _difference(
    path: Path, record: Mapping[str, Any], ignore: Mapping[str, Any] | None = None
) -> str | None:
    present = read_provenance(path)
    if present is None:
        return "it holds no record of a toy simulation"
    return first_difference(present | dict(ignore or {}), record)


def _write(
    config: SimulationConfig,
    reconstruction: Reconstruction | None,
    file: _File,
    advance: Callable[[int], object],
) -> None:
    seed = event_seed(config.seed, file.run)
    blocks = Simulator(config, reconstruction).blocks(seed, file.n_events, run=file.run)
    write_events(file.path, blocks, file.record, codec=config.codec, advance=advance)


def _write_in_processes(
    write: _Write, files: Sequence[_File], jobs: int, advance: Callable[[int], object]
) -> None:
    # Spawned, not forked: torch and uproot have threads that a fork would leave behind.
    context = multiprocessing.get_context("spawn")
    counter = context.Value("q", 0)
    started = (os.getpid(), _start_process, counter)
    with ProcessPoolExecutor(jobs, context, start_in_pool, started) as pool:
        pending = {pool.submit(_write_counted, write, file) for file in files}
        shown = 0
        try:
            while pending:
                done, pending = wait(pending, timeout=_POLL_S, return_when=FIRST_EXCEPTION)
                advance(counter.value - shown)
                shown = counter.value
                for future in done:
                    future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


class _Progress:
    """Events written by all processes together."""

    counter: "Synchronized[int] | None" = None


def _start_process(counter: "Synchronized[int]") -> None:
    _Progress.counter = counter


def _write_counted(write: _Write, file: _File) -> None:
    write(file, _count)


def _count(n_events: int) -> None:
    if _Progress.counter is not None:
        with _Progress.counter.get_lock():
            _Progress.counter.value += n_events
