"""The long table of an inpainter's predictions in a ROOT file: one row per masked sensor.

Tree `predictions`, per row: `event_idx`, `run_number`, `event_number`, `sensor_id`, `face` (name),
`face_id` (code), `mask_type` (0 hidden although it works, 1 dead), `truth_npho`, `pred_npho`,
`error_npho`; `truth_time`, `pred_time`, `error_time` if times are predicted; `truth_photons`; where
known `mean_photons` and `w_fip`; and `baseline_<name>_npho`, `baseline_<name>_error_npho` for each
conventional method. Errors are predicted - true. Values are normalized except where the name or the
tree `metadata` (with all that leads back to photons and seconds) says otherwise. A truth that is
not known, and an error against it, is -999 in `truth_*` and `error_*`, and NaN in the further ones.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import awkward as ak
import numpy as np
import uproot
from numpy.typing import NDArray

from xec_pipeline.atomic import replacing
from xec_pipeline.data.root_io import check_tree, iterate_tree, open_tree
from xec_pipeline.detector.faces import FACE_NAMES
from xec_pipeline.detector.sensors import N_SENSORS
from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.masked_rows import (
    Floats,
    MaskedRows,
    from_arrays,
    gathered,
    joined,
    photons,
    times_ns,
)
from xec_pipeline.evaluation.sensor_predictions import (
    TREE,
    PredictionMetadata,
    metadata_fields,
    read_metadata_entry,
    write_metadata_entry,
)

MISSING: Final = -999.0
"""Stands for a truth that is not known, and for an error against it."""
_IS_MISSING_BELOW: Final = -998.0
_ROWS_PER_BASKET: Final = 50_000
_ROWS_PER_READ: Final = 200_000
_FIRST_BASKETS: Final = 64
_INTEGERS: Final = {
    "event_idx": np.int32,
    "run_number": np.int64,
    "event_number": np.int64,
    "sensor_id": np.int32,
    "mask_type": np.int32,
}
_OLDER_NAMES: Final = {"run_number": "run", "event_number": "event"}
_OPTIONAL: Final = ("truth_photons", "mean_photons", "w_fip")
_RAW: Final = {"npho_scheme": "linear", "npho_scale": 1.0, "time_scale": 1.0, "time_shift": 0.0}
"""What the scheme "raw" of older files means: photons and seconds."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskedMetadata(PredictionMetadata):
    """The single entry of the tree `metadata` of a long table.

    Attributes
    ----------
    mode
        How sensors were masked: `validation`, `mc`, `data` or `sensorfront`.
    baselines
        Names of the conventional methods in the table.
    dead_pattern
        Source of the dead sensors; empty if none was given.
    n_events
        Events that were predicted; -1 if unknown.
    sample
        ROOT files or shards of the events, as named in the configuration; empty if unknown.
    energy_low_mev, energy_high_mev
        Least and greatest true energy of the events; -1 if unknown.
    """

    mode: str = "validation"
    baselines: tuple[str, ...] = ()
    dead_pattern: str = ""
    n_events: int = -1
    sample: str = ""
    energy_low_mev: float = -1.0
    energy_high_mev: float = -1.0

    @property
    def predicts_time(self) -> bool:
        """Times are predicted beside photon counts."""
        return "time" in self.predict_channels


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskedTable:
    """A table as read, with its numbers in photons and nanoseconds."""

    path: Path
    rows: MaskedRows
    metadata: MaskedMetadata

    @cached_property
    def pred_photons(self) -> Floats:
        """Predicted counts [photons], shape (n_rows,)."""
        return photons(self.rows.pred_npho, self.metadata.normalization)

    def baseline_photons(self, name: str) -> Floats:
        """Return the counts of a conventional method [photons]; NaN where it gives nothing."""
        return photons(self.rows.baselines[name], self.metadata.normalization)

    def times_ns(self) -> tuple[Floats, Floats] | None:
        """Return true and predicted times [ns], NaN where unusable; None if not predicted."""
        true, pred = self.rows.truth_time, self.rows.pred_time
        if true is None or pred is None:
            return None
        scheme = self.metadata.normalization
        return times_ns(true, scheme), times_ns(pred, scheme)


def write_masked_table(path: Path, blocks: Iterable[MaskedRows], metadata: MaskedMetadata) -> Path:
    """Write a table, block by block; the file is whole or not there.

    Parameters
    ----------
    path
        The file, `inpainter_predictions_epoch_{epoch}.root` in the contract.
    blocks
        Rows in the order of the file, all with the same columns; blocks may be of any size.
    metadata
        Written into the tree `metadata`.

    Raises
    ------
    DataError
        If a block's columns differ in length, are not those of `metadata` or of the first block, or
        a sensor number is out of range.
    OutputError
        If the disk is full.
    """
    parts = iter(gathered(_checked(path, blocks, metadata), _ROWS_PER_BASKET))
    first = next(parts, None)
    with (
        replacing(path) as partial,
        uproot.recreate(partial, compression=uproot.ZSTD(5)) as file,
    ):
        write_metadata_entry(file, metadata)
        tree = file.mktree(
            TREE, _branch_types(first, metadata), initial_basket_capacity=_FIRST_BASKETS
        )
        for part in itertools.chain([] if first is None else [first], parts):
            for start in range(0, len(part), 2 * _ROWS_PER_BASKET):
                tree.extend(_columns(part.taken(slice(start, start + 2 * _ROWS_PER_BASKET))))
    return path


def read_masked_table(path: Path) -> MaskedTable:
    """Read a table into memory, 60 bytes per row and more with baselines.

    Parameters
    ----------
    path
        File of `write_masked_table` or of the earlier system: its tree may be called `tree`, its
        `face` may be a code, and it may hold photons and seconds (scheme "raw").

    Notes
    -----
    Faces follow from the sensor numbers. What an older file lacks is completed: the mask type is
    "hidden", the true photons come from the inverse transform, the event's number is its entry.

    Raises
    ------
    MissingBranchError, CorruptFileError, DataError
        Naming the file, and branch and entry.
    """
    metadata = read_masked_metadata(path)
    with open_tree(path, TREE) as tree, ThreadPoolExecutor(1) as pool:
        names = check_tree(path, tree, *_wanted(set(tree.keys()), metadata))
        chunks = iterate_tree(path, tree, names, _ROWS_PER_READ, pool)
        rows = joined([_rows(chunk.arrays, metadata) for chunk in chunks])
    _check_sensors(path, rows)
    return MaskedTable(path=path, rows=rows, metadata=metadata)


def read_masked_metadata(path: Path) -> MaskedMetadata:
    """Return what the tree `metadata` of a long table says.

    Raises
    ------
    DataError, CorruptFileError
        As `read_prediction_metadata`.
    """
    found = read_metadata_entry(path)
    if found.get("npho_scheme") == "raw":
        found |= _RAW
    names = str(found.get("baselines", ""))
    return MaskedMetadata(
        **metadata_fields(path, found),
        mode=str(found.get("mode", "validation")),
        baselines=tuple(names.split(",")) if names else (),
        dead_pattern=str(found.get("dead_pattern", "")),
        n_events=int(found.get("n_events", -1)),
        sample=str(found.get("sample", "")),
        energy_low_mev=float(found.get("energy_low_mev", -1.0)),
        energy_high_mev=float(found.get("energy_high_mev", -1.0)),
    )


def _checked(
    path: Path, blocks: Iterable[MaskedRows], metadata: MaskedMetadata
) -> Iterable[MaskedRows]:
    columns: set[str] | None = None
    for block in blocks:
        arrays = block.arrays()
        columns = columns or _expected(set(arrays), metadata)
        if set(arrays) != columns:
            differing = ", ".join(sorted(set(arrays) ^ columns))
            raise DataError(
                f"{path}: a block has not the columns of the metadata and of the first block; "
                f"differing: {differing}"
            )
        lengths = {name: len(values) for name, values in arrays.items()}
        if len(set(lengths.values())) > 1:
            raise DataError(f"{path}: columns of a block differ in length: {lengths}")
        _check_sensors(path, block)
        yield block


def _expected(given: set[str], metadata: MaskedMetadata) -> set[str]:
    """Return the columns of all blocks; those of `given` that only some samples know are kept."""
    times = {"truth_time", "pred_time"}
    fixed = {*_INTEGERS, "truth_npho", "pred_npho", "truth_photons"}
    baselines = {f"baseline_{name}" for name in metadata.baselines}
    return fixed | baselines | (times if metadata.predicts_time else set()) | given & {*_OPTIONAL}


def _check_sensors(path: Path, rows: MaskedRows) -> None:
    is_bad = (rows.sensor_id < 0) | (rows.sensor_id >= N_SENSORS)
    if is_bad.any():
        first = int(np.argmax(is_bad))
        raise DataError(
            f"{path}: sensor_id {rows.sensor_id[first]} in row {first}, "
            f"expected 0 to {N_SENSORS - 1}"
        )


def _branch_types(first: MaskedRows | None, metadata: MaskedMetadata) -> dict[str, Any]:
    given = set(first.arrays()) if first is not None else set()
    names = _expected(given, metadata)
    floats = ["truth_npho", "pred_npho", "error_npho"]
    floats += ["truth_time", "pred_time", "error_time"] if metadata.predicts_time else []
    floats += [name for name in _OPTIONAL if name in names]
    for name in metadata.baselines:
        floats += [f"baseline_{name}_npho", f"baseline_{name}_error_npho"]
    types: dict[str, Any] = {**_INTEGERS, "face": "string", "face_id": np.int32}
    return types | dict.fromkeys(floats, np.float32)


def _columns(rows: MaskedRows) -> dict[str, Any]:
    columns: dict[str, Any] = {
        name: np.asarray(getattr(rows, name)).astype(kind) for name, kind in _INTEGERS.items()
    }
    columns |= {"face": _face_names(rows.face_id), "face_id": rows.face_id.astype(np.int32)}
    columns |= _true_pred_error("npho", rows.truth_npho, rows.pred_npho)
    if rows.truth_time is not None and rows.pred_time is not None:
        columns |= _true_pred_error("time", rows.truth_time, rows.pred_time)
    arrays = rows.arrays()
    columns |= {name: _f4(arrays[name]) for name in _OPTIONAL if name in arrays}
    for name, values in rows.baselines.items():
        columns[f"baseline_{name}_npho"] = _f4(values)
        columns[f"baseline_{name}_error_npho"] = _f4(values) - _f4(rows.truth_npho)
    return columns


def _true_pred_error(channel: str, true: Floats, pred: Floats) -> dict[str, NDArray[np.float32]]:
    truth, predicted, missing = _f4(true), _f4(pred), np.float32(MISSING)
    is_known = np.isfinite(truth)
    return {
        f"truth_{channel}": np.where(is_known, truth, missing),
        f"pred_{channel}": predicted,
        f"error_{channel}": np.where(is_known, predicted - truth, missing),
    }


def _f4(values: Floats) -> NDArray[np.float32]:
    return np.asarray(values, dtype=np.float32)


def _face_names(face_id: NDArray[np.int8]) -> Any:
    """Return the names as an array of strings, put together from bytes: Python is too slow."""
    names = list(FACE_NAMES.values())
    letters = np.frombuffer("".join(names).encode(), dtype=np.uint8)
    lengths = np.array([len(name) for name in names])
    length = lengths[face_id]
    end = np.cumsum(length)
    # Position among all letters = place in the row + where the face's name begins.
    shift = (np.cumsum(lengths) - lengths)[face_id] - (end - length)
    content = letters[np.repeat(shift, length) + np.arange(length.sum())]
    text = ak.contents.ListOffsetArray(
        ak.index.Index64(np.concatenate([[0], end])),
        ak.contents.NumpyArray(content, parameters={"__array__": "char"}),
        parameters={"__array__": "string"},
    )
    return ak.Array(text)


def _wanted(present: set[str], metadata: MaskedMetadata) -> tuple[list[str], list[str]]:
    """Return the branches that must be there and those that are read if they are."""
    required = ["event_idx", "sensor_id", "truth_npho", "pred_npho"]
    required += ["truth_time", "pred_time"] if metadata.predicts_time else []
    required += [f"baseline_{name}_npho" for name in metadata.baselines]
    optional = ["mask_type", *_OPTIONAL]
    optional += [
        name if name in present else _OLDER_NAMES[name] for name in ("run_number", "event_number")
    ]
    if not metadata.schema_version:
        # Older files do not name their baselines.
        optional += sorted(name for name in present if name in _OLDER_BASELINES)
    return required, optional


_OLDER_BASELINES: Final = {f"baseline_{name}_npho": name for name in ("avg", "sa", "localfit")}


def _rows(found: Mapping[str, NDArray[Any]], metadata: MaskedMetadata) -> MaskedRows:
    n_rows = len(found["sensor_id"])
    arrays: dict[str, NDArray[Any]] = {
        "event_idx": found["event_idx"],
        "run_number": _either(found, "run_number", np.full(n_rows, -1, dtype=np.int64)),
        "event_number": _either(found, "event_number", found["event_idx"].astype(np.int64)),
        "sensor_id": found["sensor_id"],
        "mask_type": found.get("mask_type", np.zeros(n_rows, dtype=np.int32)),
        "truth_npho": _known(found["truth_npho"]),
        "pred_npho": _known(found["pred_npho"]),
    }
    if metadata.predicts_time:
        arrays["truth_time"] = _usable_times(found["truth_time"], metadata)
        arrays["pred_time"] = _known(found["pred_time"])
    for name, values in found.items():
        if name.startswith("baseline_"):
            arrays[name.removesuffix("_npho")] = _known(values)
    arrays["truth_photons"] = photons(arrays["truth_npho"], metadata.normalization)
    arrays |= {name: _known(found[name]) for name in _OPTIONAL if name in found}
    return from_arrays(arrays)


def _either(found: Mapping[str, NDArray[Any]], name: str, otherwise: NDArray[Any]) -> NDArray[Any]:
    return found.get(name, found.get(_OLDER_NAMES[name], otherwise))


def _known(values: NDArray[Any]) -> NDArray[np.float32]:
    return np.where(values > _IS_MISSING_BELOW, _f4(values), np.float32(np.nan))


def _usable_times(values: NDArray[Any], metadata: MaskedMetadata) -> NDArray[np.float32]:
    """Return true times, NaN where unusable; older files mark these by the sentinel alone."""
    times = _known(values)
    if not metadata.schema_version:
        times[times == np.float32(metadata.normalization.sentinel_time)] = np.nan
    return times
