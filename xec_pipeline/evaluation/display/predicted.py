"""Events of prediction files: of masked autoencoders, and of inpainters."""

import logging
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.data.root_io import check_tree, open_tree, read_entries
from xec_pipeline.detector.sensors import N_SENSORS
from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.display.comparison import Comparison
from xec_pipeline.evaluation.display.event import DisplayEvent
from xec_pipeline.evaluation.display.sources import (
    EventSource,
    Keys,
    Wanted,
    find_row,
    nearest_text,
    open_source,
    read_event,
)
from xec_pipeline.evaluation.masked_rows import ARTIFICIAL, MaskedRows, photons, times_ns
from xec_pipeline.evaluation.masked_table import MaskedTable, read_masked_table
from xec_pipeline.evaluation.sensor_predictions import (
    TREE,
    PredictionMetadata,
    read_prediction_metadata,
)

FileKind = Literal["data", "mae", "inpainter"]
Values = NDArray[np.float32]

_SAME_COUNT: Final = 0.01
"""Relative difference that 16-bit storage and a normalization may leave."""
_COMPARED_ABOVE: Final = 10.0

_log = logging.getLogger(__name__)


def file_kind(path: Path) -> FileKind:
    """Return what a ROOT file holds, by its branches."""
    with open_tree(path) as tree:
        branches = set(tree.keys())
    if {"sensor_id", "pred_npho"} <= branches:
        return "inpainter"
    return "mae" if "mask" in branches and branches & {"pred_npho", "pred_time"} else "data"


def read_mae_event(path: Path, wanted: Wanted, original: str | None = None) -> Comparison:
    """Return an event of `mae_predictions_epoch_*.root`.

    Parameters
    ----------
    path
        The file.
    wanted
        Which event; the entry is that in the sample where the file says it, else in the file.
    original
        ROOT files or shards of the sample; they add energy and first interaction.

    Raises
    ------
    DataError
        If there is no such event, naming the nearest, the original has another of these numbers,
        or the file lacks a branch.
    """
    metadata = read_prediction_metadata(path)
    with open_tree(path, TREE) as tree, ThreadPoolExecutor(1) as pool:
        row = _mae_row(path, tree, wanted, pool)
        names = ["truth_npho", "mask", *(f"pred_{name}" for name in metadata.predict_channels)]
        names += ["truth_time"] if "time" in metadata.predict_channels else ["masked_time"]
        names = check_tree(path, tree, names, ["event_id", "run_id", "entry"])
        arrays = read_entries(path, tree, names, range(row, row + 1), pool).arrays
    found = {name: values[0] for name, values in arrays.items()}
    event = _mae_event(path, found, row, metadata)
    if original is not None:
        source = open_source(original)
        known = read_event(source, _same_event(event))
        _check_same(path, source, known, np.arange(N_SENSORS), event.npho)
        event = _with_truth(event, known)
    scheme = metadata.normalization
    predicted = {name: found[f"pred_{name}"] for name in metadata.predict_channels}
    return Comparison(
        event=event,
        model=_model("MAE", metadata),
        is_masked=found["mask"] > 0,
        pred_npho=_f4(photons(predicted["npho"], scheme)) if "npho" in predicted else None,
        pred_time_ns=_f4(times_ns(predicted["time"], scheme)) if "time" in predicted else None,
        source=str(path),
        time_from_photons=scheme.npho_threshold,
    )


def read_inpainter_event(path: Path, wanted: Wanted, original: str | None = None) -> Comparison:
    """Return an event of a long table `inpainter_*.root`, with the sensors that were not masked.

    Parameters
    ----------
    path
        The table.
    wanted
        Which event; the entry is that in the sample.
    original
        ROOT files or shards of the sample; by default those that the table names.

    Raises
    ------
    DataError
        If there is no such event, naming the nearest, or the original is missing or another.
    """
    table = read_masked_table(path)
    rows = _rows_of(table, wanted)
    source = _original(table, original)
    event = read_event(source, _in_sample(rows))
    known = rows.mask_type == ARTIFICIAL
    _check_same(path, source, event, rows.sensor_id[known], rows.truth_photons[known])
    masked = np.zeros(N_SENSORS, dtype=bool)
    masked[rows.sensor_id[known]] = True
    # A sensor that was taken as dead may have a count in the file all the same.
    npho = event.npho.copy()
    npho[rows.sensor_id[~known]] = np.nan
    scheme = table.metadata.normalization
    times = None if rows.pred_time is None else times_ns(rows.pred_time, scheme)
    return Comparison(
        event=replace(event, npho=npho),
        model=_model("Inpainter", table.metadata),
        is_masked=masked,
        pred_npho=_scattered(rows, photons(rows.pred_npho, scheme)),
        pred_time_ns=None if times is None else _scattered(rows, times),
        source=str(path),
        time_from_photons=scheme.npho_threshold,
    )


def _mae_row(path: Path, tree: Any, wanted: Wanted, pool: ThreadPoolExecutor) -> int:
    everything = range(tree.num_entries)
    if wanted.entry is None:
        names = check_tree(path, tree, ["run_id", "event_id"])
        found = read_entries(path, tree, names, everything, pool).arrays
        keys = Keys(found["run_id"], found["event_id"])
        return find_row(str(path), keys, int(wanted.run or 0), int(wanted.event or 0))
    if "entry" not in tree.keys():  # noqa: SIM118 - a tree is no mapping
        entries: NDArray[Any] = np.arange(tree.num_entries)
    else:
        entries = read_entries(path, tree, ["entry"], everything, pool).arrays["entry"]
    return _row_of_entry(path, entries, wanted.entry)


def _row_of_entry(path: Path, entries: NDArray[Any], wanted: int) -> int:
    rows = np.flatnonzero(entries == wanted)
    if not len(rows):
        near = nearest_text("entries", entries, wanted)
        raise DataError(f"{path}: no prediction for entry {wanted} of the sample; {near}")
    return int(rows[0])


def _mae_event(
    path: Path, found: dict[str, Any], row: int, metadata: PredictionMetadata
) -> DisplayEvent:
    scheme = metadata.normalization
    is_dead = found["truth_npho"] == np.float32(scheme.sentinel_npho)
    times = found["truth_time" if "truth_time" in found else "masked_time"]
    unusable = is_dead | (times == np.float32(scheme.sentinel_time))
    return DisplayEvent(
        run=int(found.get("run_id", -1)),
        event=int(found.get("event_id", -1)),
        entry=int(found.get("entry", row)),
        npho=_f4(np.where(is_dead, np.nan, photons(found["truth_npho"], scheme))),
        time_ns=_f4(np.where(unusable, np.nan, times_ns(times, scheme))),
        source=str(path),
        is_toy=metadata.toy,
    )


def _with_truth(event: DisplayEvent, original: DisplayEvent) -> DisplayEvent:
    return replace(
        event,
        energy_mev=original.energy_mev,
        uvw_cm=original.uvw_cm,
        reco_energy_mev=original.reco_energy_mev,
        reco_uvw_cm=original.reco_uvw_cm,
    )


def _same_event(event: DisplayEvent) -> Wanted:
    if event.run < 0:
        return Wanted(entry=event.entry)
    return Wanted(run=event.run, event=event.event)


def _rows_of(table: MaskedTable, wanted: Wanted) -> MaskedRows:
    rows = table.rows
    if wanted.entry is None:
        keys = Keys(rows.run_number, rows.event_number)
        first = find_row(str(table.path), keys, int(wanted.run or 0), int(wanted.event or 0))
    else:
        first = _row_of_entry(table.path, rows.event_idx, wanted.entry)
    return rows.taken(rows.event_idx == rows.event_idx[first])


def _original(table: MaskedTable, given: str | None) -> EventSource:
    path = given or table.metadata.sample
    if not path:
        raise DataError(
            f"{table.path}: holds the masked sensors only and does not name its sample; give the "
            "ROOT files or shards that it was made from with --original"
        )
    return open_source(path)


def _in_sample(rows: MaskedRows) -> Wanted:
    run, event = int(rows.run_number[0]), int(rows.event_number[0])
    return Wanted(entry=int(rows.event_idx[0])) if run < 0 else Wanted(run=run, event=event)


def _check_same(
    path: Path,
    source: EventSource,
    event: DisplayEvent,
    sensors: NDArray[np.integer[Any]],
    true: NDArray[Any],
) -> None:
    """Raise DataError if the true counts of some sensors [photons] are not those of the original.

    `event` is of the original; `sensors` and `true`, of the predictions, have a shape in common.
    """
    measured = event.npho[sensors]
    compared = np.isfinite(true) & (true > _COMPARED_ABOVE)
    differ = compared & ~np.isclose(true, measured, rtol=_SAME_COUNT)
    if differ.sum() > 0.5 * compared.sum():
        row = int(np.argmax(differ))
        raise DataError(
            f"{path}: not made from {source.name}: sensor {sensors[row]} of {event.name()} has "
            f"{true[row]:.4g} photons in the predictions and {measured[row]:.4g} in the original"
        )


def _scattered(rows: MaskedRows, values: NDArray[Any]) -> Values:
    placed = np.full(N_SENSORS, np.nan, dtype=np.float32)
    placed[rows.sensor_id] = values
    return placed


def _model(kind: str, metadata: PredictionMetadata) -> str:
    name = f" {metadata.run_name}" if metadata.run_name else ""
    epoch = f", epoch {metadata.epoch}" if metadata.epoch >= 0 else ""
    return f"{kind}{name}{epoch}"


def _f4(values: NDArray[Any]) -> Values:
    return np.asarray(values, dtype=np.float32)
