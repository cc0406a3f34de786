"""Opened shards: sensor values as memory maps, everything else as columns."""

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.data.codec import N_FEATURES, decode_npho, decode_time_ns
from xec_pipeline.data.schema import BRANCHES, COLUMN_BRANCHES
from xec_pipeline.data.shard_format import (
    MANIFEST_NAME,
    PARTS_FOLDER,
    SENSORS_NAME,
    PartRecord,
    ShardManifest,
    read_record,
)
from xec_pipeline.detector.sensors import N_SENSORS
from xec_pipeline.errors import CorruptFileError, DataError

F16 = NDArray[np.float16]
F32 = NDArray[np.float32]
Index = NDArray[np.integer[Any]] | NDArray[np.bool_]

EXTRA_COLUMNS: Final = ("entry", "source")
"""Columns that are not branches: entry number in the source file, and number of that file."""


class ShardColumns(Mapping[str, NDArray[Any]]):
    """Columns by name, read when first asked for.

    A column that a source file lacks is NaN there, or -1 for whole numbers.
    """

    def __init__(self, shard_dir: Path, parts: tuple[PartRecord, ...]) -> None:
        self._folders = [shard_dir / PARTS_FOLDER / part.folder for part in parts]
        self._parts = parts
        self._read: dict[str, NDArray[Any]] = {}

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Return one column, shape (n_events,) or (n_events, k), read-only."""
        if name not in self._read:
            if name not in COLUMN_BRANCHES and name not in EXTRA_COLUMNS:
                raise KeyError(name)
            column = np.concatenate(
                [self._of_part(number, name) for number in range(len(self._parts))]
            )
            column.setflags(write=False)
            self._read[name] = column
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        """Go through the names of all columns, also of those no source has."""
        return iter((*COLUMN_BRANCHES, *EXTRA_COLUMNS))

    def __len__(self) -> int:
        """Return the number of columns."""
        return len(COLUMN_BRANCHES) + len(EXTRA_COLUMNS)

    def _of_part(self, number: int, name: str) -> NDArray[Any]:
        part = self._parts[number]
        if name == "source":
            return np.full(part.n_events, number, dtype=np.int32)
        if name == "entry" or name in part.n_measured:
            loaded: NDArray[Any] = load_array(self._folders[number] / f"{name}.npy", part.n_events)
            return loaded
        branch = BRANCHES[name]
        return np.full((part.n_events, *branch.shape), branch.fill, dtype=branch.numpy_dtype)


class SensorRows:
    """One feature of all events, (n_events, 4760) float16, read from disk where indexed."""

    def __init__(self, shards: "ShardSet", feature: int) -> None:
        self._shards = shards
        self._feature = feature
        self.shape = (shards.n_events, N_SENSORS)
        self.dtype = np.dtype(np.float16)

    def __len__(self) -> int:
        """Return the number of events."""
        return self.shape[0]

    def __getitem__(self, rows: int | slice | Index) -> NDArray[Any]:
        """Return the rows; a view of the file for a slice inside one part, else a copy."""
        if isinstance(rows, int):
            only: NDArray[Any] = self[np.array([range(len(self))[rows]])][0]
            return only
        if isinstance(rows, slice):
            start, stop, step = rows.indices(len(self))
            part, first = self._shards.locate(min(start, len(self) - 1))
            values: NDArray[Any] = self._shards.parts[part][:, self._feature]
            if step > 0 and first + (stop - start) <= len(values):
                return values[first : first + max(stop - start, 0) : step]
            rows = np.arange(start, stop, step, dtype=np.int64)
        return self._shards.sensors(rows)[:, self._feature]


class ShardSet:
    """A dataset ready for training.

    Parameters
    ----------
    shard_dir
        Folder with a manifest.

    Raises
    ------
    DataError
        If the folder holds no manifest.
    CorruptFileError
        If an array is not what the manifest says.
    """

    def __init__(self, shard_dir: Path) -> None:
        path = shard_dir / MANIFEST_NAME
        if not path.is_file():
            raise DataError(f"{shard_dir}: not a shard folder, it has no {MANIFEST_NAME}")
        self.path = shard_dir
        self.manifest: ShardManifest = read_record(path, ShardManifest)
        folder = shard_dir / PARTS_FOLDER
        self.parts: tuple[F16, ...] = tuple(
            load_array(folder / part.folder / SENSORS_NAME, part.n_events)
            for part in self.manifest.sources
        )
        for values, part in zip(self.parts, self.manifest.sources, strict=True):
            if values.shape[1:] != (N_FEATURES, N_SENSORS) or values.dtype != np.float16:
                raise CorruptFileError(
                    f"{folder / part.folder / SENSORS_NAME}: {values.dtype}{values.shape}, "
                    f"expected float16 ({part.n_events}, {N_FEATURES}, {N_SENSORS})"
                )
        counts = [part.n_events for part in self.manifest.sources]
        self._starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self.columns = ShardColumns(shard_dir, self.manifest.sources)

    @property
    def n_events(self) -> int:
        """Number of events."""
        return self.manifest.n_events

    def __len__(self) -> int:
        """Return the number of events."""
        return self.manifest.n_events

    @property
    def data_version(self) -> str:
        """Hash of the arrays."""
        return self.manifest.data_version

    @property
    def toy(self) -> bool:
        """Whether the events were simulated with the toy detector."""
        return self.manifest.toy

    @cached_property
    def npho_sqrt(self) -> SensorRows:
        """Signed square root of the photons; NaN is a dead sensor."""
        return SensorRows(self, 0)

    @cached_property
    def time_ns(self) -> SensorRows:
        """Relative time [ns]; NaN is not measured."""
        return SensorRows(self, 1)

    def npho(self, rows: slice | Index) -> F32:
        """Return photons of some events, shape (N, 4760); NaN is a dead sensor."""
        return decode_npho(self.npho_sqrt[rows])

    def times_ns(self, rows: slice | Index) -> F32:
        """Return relative times [ns] of some events, shape (N, 4760); NaN is not measured."""
        return decode_time_ns(self.time_ns[rows])

    def locate(self, row: int) -> tuple[int, int]:
        """Return the part that holds an event and the row in it."""
        part = int(np.searchsorted(self._starts, row, side="right")) - 1
        return part, row - int(self._starts[part])

    def sensors(self, rows: Index, out: F16 | None = None) -> F16:
        """Return both features of some events, shape (N, 2, 4760).

        Parameters
        ----------
        rows
            Event numbers in any order, or a mask over all events.
        out
            Array to fill, if given.

        Raises
        ------
        IndexError
            If there is no such event.
        """
        if rows.dtype == np.bool_:
            rows = np.flatnonzero(rows)
        if len(rows) and not (rows.min() >= 0 and rows.max() < self.n_events):
            raise IndexError(
                f"{self.path}: events {rows.min()} to {rows.max()} asked for, "
                f"expected 0 to {self.n_events - 1}"
            )
        if out is None:
            out = np.empty((len(rows), N_FEATURES, N_SENSORS), dtype=np.float16)
        if len(self.parts) == 1:
            np.take(self.parts[0], rows, axis=0, out=out, mode="clip")
            return out
        part_of = np.searchsorted(self._starts, rows, side="right") - 1
        for part in np.unique(part_of):
            here = np.flatnonzero(part_of == part)
            out[here] = self.parts[part][rows[here] - self._starts[part]]
        return out


def load_array(path: Path, n_rows: int) -> NDArray[Any]:
    """Open an array of a shard as a read-only memory map.

    Raises
    ------
    CorruptFileError
        If it is missing, damaged, or has another number of rows.
    """
    try:
        values: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise CorruptFileError(
            f"{path}: not a whole array ({error}); delete the shard folder to build it again"
        ) from error
    if len(values) != n_rows:
        raise CorruptFileError(f"{path}: {len(values)} rows, the manifest says {n_rows}")
    return values


def open_shards(shard_dir: Path | str) -> ShardSet:
    """Open a shard folder; see `ShardSet`."""
    return ShardSet(Path(shard_dir))
