"""What lies in a shard folder, and how its files are written.

    manifest.json                     what the folder holds; written last
    parts/<name>-<hash>/part.json     the same for one source file
    parts/<name>-<hash>/sensors.npy   (n, 2, 4760) float16: signed root of the photons, time [ns]
    parts/<name>-<hash>/<column>.npy  (n,) or (n, k): run, event, truth, conventional reconstruction

The hash in a part's name is that of the source's content, the options that change the result, and
the code that converts, so a part is current if it exists.
"""

import contextlib
import errno
import functools
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np
import xxhash
from numpy.typing import NDArray
from pydantic import ValidationError

from xec_pipeline.atomic import replacing
from xec_pipeline.code_versions import code_version_of
from xec_pipeline.config.data import DataConfig
from xec_pipeline.config.section import Section
from xec_pipeline.detector.sensors import N_SENSORS
from xec_pipeline.errors import CorruptFileError, DataError, OutputError
from xec_pipeline.revision import git_revision

SHARD_VERSION: Final = 1
MANIFEST_NAME: Final = "manifest.json"
PART_NAME: Final = "part.json"
SENSORS_NAME: Final = "sensors.npy"
PARTS_FOLDER: Final = "parts"

_CONVERTING: Final = "xec_pipeline.data.shard_part"
_NOT_CONVERTING: Final = (
    "xec_pipeline.atomic",
    "xec_pipeline.code_versions",
    "xec_pipeline.config",  # the options that matter are among the settings
    "xec_pipeline.errors",
    "xec_pipeline.revision",
)

Record = TypeVar("Record", bound=Section)

_READ_BYTES: Final = 1 << 22
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}


@functools.cache
def converting_code() -> str:
    """Return the version of the code that converts ROOT files, and of the library that reads."""
    return code_version_of(_CONVERTING, without=_NOT_CONVERTING, libraries=("uproot",))


class ShardSettings(Section):
    """What changes the content of shards beside their sources: options and code."""

    shard_version: int = SHARD_VERSION
    tree_name: str
    npho_branch: str
    time_branch: str
    nonfinite: str
    code_version: str = ""
    """See `converting_code`; empty in older shards."""

    @classmethod
    def of(cls, config: DataConfig) -> "ShardSettings":
        """Return the settings of a configuration, with the present code."""
        return cls(
            tree_name=config.tree_name,
            npho_branch=config.npho_branch,
            time_branch=config.time_branch,
            nonfinite=config.nonfinite,
            code_version=converting_code(),
        )


class Quantization(Section):
    """Error of the 16-bit values, measured on two events in 64."""

    npho_max_relative: float = 0.0
    """Largest |decoded - true| / true for counts above 1 photon."""
    npho_rms_relative: float = 0.0
    """Root mean square of the same."""
    time_max_ps: float = 0.0
    """Largest error of a time [ps]; far times are kept less exactly."""
    time_rms_ps: float = 0.0
    """Root mean square error of the times [ps]."""


class PartRecord(Section):
    """One source file and what was made from it."""

    folder: str
    """Name of the folder in `parts`."""
    source: str
    """Path of the ROOT file when the part was made."""
    size: int
    """Bytes of the source."""
    mtime_ns: int
    """Modification time of the source."""
    source_hash: str
    """xxh3-128 of the source's bytes."""
    data_hash: str
    """xxh3-128 of the arrays."""
    n_events: int
    n_dead: int
    """Dead sensor values over all events."""
    n_nonfinite: int
    """NaN or infinite sensor values that were taken as dead."""
    time_branch: str
    """Branch the times came from; `time` if the relative times were derived."""
    n_measured: dict[str, int]
    """Events with a measured value, by column; columns that the source lacks do not appear."""
    quantization: Quantization
    provenance: dict[str, Any] | None
    """Record of the simulation, if the file carries one."""


class ShardManifest(Section):
    """What a shard folder holds."""

    shard_version: int = SHARD_VERSION
    data_version: str
    """Hash of the arrays in order; paths and dates do not enter."""
    n_events: int
    dead_fraction: float
    n_nonfinite: int
    toy: bool
    """Whether the sources carry the record of a simulation."""
    provenance: dict[str, Any] | None
    """That record, of the first source."""
    git_revision: str
    settings: ShardSettings
    quantization: Quantization
    sources: tuple[PartRecord, ...]


def build_manifest(parts: Sequence[PartRecord], settings: ShardSettings) -> ShardManifest:
    """Return the manifest of a folder with these parts, in this order."""
    n_events = sum(part.n_events for part in parts)
    hashes = [f"{SHARD_VERSION}", *(part.data_hash for part in parts)]
    records = [part.provenance for part in parts if part.provenance is not None]
    return ShardManifest(
        data_version=xxhash.xxh3_128_hexdigest(" ".join(hashes).encode()),
        n_events=n_events,
        dead_fraction=sum(part.n_dead for part in parts) / max(n_events * N_SENSORS, 1),
        n_nonfinite=sum(part.n_nonfinite for part in parts),
        toy=bool(records),
        provenance=records[0] if records else None,
        git_revision=git_revision(),
        settings=settings,
        quantization=_combine([part.quantization for part in parts]),
        sources=tuple(parts),
    )


def _combine(parts: Sequence[Quantization]) -> Quantization:
    def rms(values: list[float]) -> float:
        return float(np.sqrt(np.mean(np.square(values))))

    return Quantization(
        npho_max_relative=max(part.npho_max_relative for part in parts),
        npho_rms_relative=rms([part.npho_rms_relative for part in parts]),
        time_max_ps=max(part.time_max_ps for part in parts),
        time_rms_ps=rms([part.time_rms_ps for part in parts]),
    )


def read_record(path: Path, kind: type[Record]) -> Record:
    """Read a part record or a manifest.

    Raises
    ------
    CorruptFileError
        If the file does not hold one.
    """
    try:
        return kind.model_validate_json(path.read_bytes())
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise CorruptFileError(
            f"{path}: not a {kind.__name__} of version {SHARD_VERSION}: {where}: {first['msg']}; "
            "delete the folder to build it again"
        ) from None


def write_record(path: Path, record: PartRecord | ShardManifest) -> None:
    """Write a part record or a manifest, whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(record.model_dump_json(indent=1) + "\n")


def hash_file(path: Path) -> str:
    """Return the xxh3-128 of a file's bytes."""
    digest = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def part_key(source_hash: str, settings: ShardSettings) -> str:
    """Return the part of a folder's name that stands for content and settings."""
    text = json.dumps([source_hash, settings.model_dump()], sort_keys=True)
    return xxhash.xxh3_64_hexdigest(text.encode())


@contextlib.contextmanager
def disk_full_is_reported(path: Path) -> Iterator[None]:
    """Turn "no space left" into an OutputError that names the file.

    Raises
    ------
    OutputError
        If the disk or the quota is full.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise OutputError(
                f"{path}: no space left to write it; nothing half-written is left. "
                "Shards need 19 kB for each event; data.shard_dir chooses another disk"
            ) from error
        raise


class ArrayWriter:
    """Writes one array to a `.npy` file piece by piece, and hashes it on the way.

    Plain writes report a full disk as an error; a memory map of a new file would die of a signal.
    """

    def __init__(self, path: Path, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> None:
        self._file = path.open("wb")
        self._missing = shape[0]
        header = {
            "descr": np.lib.format.dtype_to_descr(dtype),
            "fortran_order": False,
            "shape": shape,
        }
        np.lib.format.write_array_header_1_0(self._file, header)
        self._digest = xxhash.xxh3_128(repr((shape, dtype.str)).encode())
        self._dtype = dtype

    def append(self, rows: NDArray[np.generic]) -> None:
        """Write the next rows."""
        data = np.ascontiguousarray(rows, dtype=self._dtype).data.cast("B")
        self._digest.update(data)
        self._file.write(data)
        self._missing -= len(rows)

    def close(self) -> str:
        """Flush to disk; return the hash of the array.

        Raises
        ------
        DataError
            If rows are missing.
        """
        with self._file:
            self._file.flush()
            os.fsync(self._file.fileno())
        if self._missing:
            raise DataError(f"{self._file.name}: {self._missing} rows missing")
        return self._digest.hexdigest()

    def abandon(self) -> None:
        """Close without checks; the caller removes the file."""
        with contextlib.suppress(OSError):
            self._file.close()
