"""One source file becomes one part of a shard folder."""

import contextlib
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from xec_pipeline.config.data import DataConfig
from xec_pipeline.data.codec import N_FEATURES, decode_npho, decode_time_ns, encode
from xec_pipeline.data.events import Events, choose_time_branch, iterate_sensor_events
from xec_pipeline.data.root_io import open_tree, read_provenance_tree
from xec_pipeline.data.shard_format import (
    PART_NAME,
    SENSORS_NAME,
    ArrayWriter,
    PartRecord,
    Quantization,
    disk_full_is_reported,
    write_record,
)
from xec_pipeline.detector.sensors import N_SENSORS
from xec_pipeline.units import NS_PER_S, PS_PER_NS

logger = logging.getLogger(__name__)

Advance = Callable[[int], object]
"""Called with the number of events just finished."""

_SAMPLE_EVENTS = 2
_UNUSUAL = re.compile(r"[^A-Za-z0-9_-]+")


def build_part(
    source: Path, source_hash: str, key: str, parts_dir: Path, config: DataConfig, advance: Advance
) -> PartRecord:
    """Convert one ROOT file; the part appears whole or not at all.

    Parameters
    ----------
    source, source_hash
        The file and the hash of its bytes.
    key
        Hash of content and settings; ends the folder's name.
    parts_dir
        Folder of the parts.
    config
        How to read.
    advance
        Told how many events were just converted.

    Raises
    ------
    XecError
        If the file cannot be used or the disk is full.
    """
    folder = parts_dir / f"{_UNUSUAL.sub('_', source.stem)}-{key}"
    with disk_full_is_reported(folder / SENSORS_NAME), _new_folder(folder) as partial:
        record = _convert(source, source_hash, folder.name, partial, config, advance)
        write_record(partial / PART_NAME, record)
    return record


@contextlib.contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    partial.mkdir(parents=True)
    try:
        yield partial
        shutil.rmtree(folder, ignore_errors=True)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _convert(
    source: Path, source_hash: str, name: str, folder: Path, config: DataConfig, advance: Advance
) -> PartRecord:
    status = source.stat()
    with open_tree(source, config.tree_name) as tree:
        n_events = int(tree.num_entries)
        time_branch = choose_time_branch(source, tree.keys(), config)
    writers = _Writers(folder, n_events)
    tally = _Tally()
    with contextlib.closing(writers):
        for events in iterate_sensor_events([source], config):
            coded = encode(events.npho, events.time_s)
            writers.append(coded, events.columns)
            tally.add(events, coded)
            advance(events.n_events)
        data_hash = writers.finish()
    return PartRecord(
        folder=name,
        source=str(source),
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        source_hash=source_hash,
        data_hash=data_hash,
        n_events=n_events,
        n_dead=tally.n_dead,
        n_nonfinite=tally.n_nonfinite,
        time_branch=time_branch,
        n_measured=tally.n_measured,
        quantization=tally.quantization(),
        provenance=read_provenance_tree(source),
    )


class _Writers:
    """The sensor array and the columns of a part, written in step."""

    def __init__(self, folder: Path, n_events: int) -> None:
        self._folder = folder
        self._n_events = n_events
        sensors = (n_events, N_FEATURES, N_SENSORS)
        self._sensors = ArrayWriter(folder / SENSORS_NAME, sensors, np.dtype(np.float16))
        self._columns: dict[str, ArrayWriter] = {}

    def append(self, coded: NDArray[np.float16], columns: dict[str, NDArray[Any]]) -> None:
        """Write the next events."""
        self._sensors.append(coded)
        for name, values in columns.items():
            if name not in self._columns:
                shape = (self._n_events, *values.shape[1:])
                path = self._folder / f"{name}.npy"
                self._columns[name] = ArrayWriter(path, shape, values.dtype)
            self._columns[name].append(values)

    def finish(self) -> str:
        """Close all files; return the hash of all arrays."""
        digest = xxhash.xxh3_128(self._sensors.close().encode())
        for name in sorted(self._columns):
            digest.update(f"{name}:{self._columns[name].close()}".encode())
        return digest.hexdigest()

    def close(self) -> None:
        """Close what is still open after an error."""
        for writer in (self._sensors, *self._columns.values()):
            writer.abandon()


class _Tally:
    """Counts over a source file."""

    def __init__(self) -> None:
        self.n_dead = 0
        self.n_nonfinite = 0
        self.n_measured: dict[str, int] = {}
        self._npho_errors: list[NDArray[np.float64]] = []
        self._time_errors: list[NDArray[np.float64]] = []

    def add(self, events: Events, coded: NDArray[np.float16]) -> None:
        """Count the events of one read; compare the first two with their 16-bit form."""
        self.n_dead += events.n_dead
        self.n_nonfinite += events.n_nonfinite
        for name, values in events.columns.items():
            present = np.isfinite(values).reshape(len(values), -1).all(axis=1)
            if name != "entry":
                self.n_measured[name] = self.n_measured.get(name, 0) + int(present.sum())
        npho = events.npho[:_SAMPLE_EVENTS].astype(np.float64)
        bright = npho > 1
        decoded = decode_npho(coded[:_SAMPLE_EVENTS, 0])
        self._npho_errors.append(_moments((decoded / npho - 1)[bright]))
        time_ns = events.time_s[:_SAMPLE_EVENTS].astype(np.float64) * NS_PER_S
        error_ps = (decode_time_ns(coded[:_SAMPLE_EVENTS, 1]) - time_ns) * PS_PER_NS
        self._time_errors.append(_moments(error_ps))

    def quantization(self) -> Quantization:
        """Return largest and root mean square errors."""
        npho_max, npho_rms = _join(self._npho_errors)
        time_max, time_rms = _join(self._time_errors)
        return Quantization(
            npho_max_relative=npho_max,
            npho_rms_relative=npho_rms,
            time_max_ps=time_max,
            time_rms_ps=time_rms,
        )


def _moments(error: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the largest magnitude, the sum of squares and the number of finite errors."""
    finite = error[np.isfinite(error)].astype(np.float64)
    return np.array([np.abs(finite).max(initial=0.0), np.square(finite).sum(), finite.size])


def _join(moments: list[NDArray[np.float64]]) -> tuple[float, float]:
    table = np.array(moments)
    return float(table[:, 0].max()), float(np.sqrt(table[:, 1].sum() / max(table[:, 2].sum(), 1)))
