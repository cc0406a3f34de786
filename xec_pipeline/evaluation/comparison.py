"""The table of resolutions: the network beside what can be had without one."""

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from xec_pipeline.evaluation.beside import CONVENTIONAL
from xec_pipeline.evaluation.compared_tables import (
    CHARGE,
    METHODS,
    MODEL,
    compared_tables,
    sample_dir,
)
from xec_pipeline.evaluation.metadata import PredictionMeta, read_meta
from xec_pipeline.evaluation.residuals import column, opening_angle, residual, usable
from xec_pipeline.evaluation.resolution import (
    Estimate,
    Values,
    containment_68,
    half_width_68,
    median_bias,
)
from xec_pipeline.evaluation.table_files import write_table_files
from xec_pipeline.evaluation.tables import PredictionTable, read_prediction_csvs
from xec_pipeline.evaluation.text import aligned_lines, markdown_lines, with_error
from xec_pipeline.units import MM_PER_CM, PS_PER_NS

_ACCURACY_NOTE: Final = (
    "res = predicted - true. '68 % of |res| within' includes a bias, so it compares all methods; "
    "the half width (of the central 68.27 % of res) does not: a constant prediction has the width "
    "of the truth itself, 0 at one energy."
)
_ERRORS: Final = "± is one standard deviation, from order statistics"
_ERROR_NOTE: Final = f"{_ERRORS}. The other methods are calibrated on the training events only."

_METHOD_NOTES: Final[Mapping[str, str]] = MappingProxyType(
    {
        CONVENTIONAL: (
            "Conventional: a point fitted to the sensors around the brightest place, the light of "
            "all faces, the mean of the sensor times less the way of the light, each corrected "
            "with polynomials: what can be had without a network with reasonable effort."
        ),
        CHARGE: (
            "Charge-weighted: sums over the whole inner face, with a calibration for the spread of "
            "the light."
        ),
    }
)

_ACCURACY: Final = "68 % of |res| within"
_WIDTH: Final = "68 % half width"
BIAS: Final = "median bias"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measure:
    """One line of the table before it has numbers."""

    name: str
    unit: str
    task: str
    residual: Callable[[PredictionTable], Values]
    is_signed: bool = True
    """False for a distance, of which only the containment makes sense."""

    def estimators(self) -> dict[str, Callable[[Values], Estimate]]:
        """Return the estimators by their short names."""
        if not self.is_signed:
            return {_ACCURACY: containment_68}
        return {_ACCURACY: containment_68, _WIDTH: half_width_68, BIAS: median_bias}


def _scaled(quantity: str, factor: float) -> Callable[[PredictionTable], Values]:
    return lambda table: residual(table, quantity) * factor


def _relative_energy(table: PredictionTable) -> Values:
    energy = column(table, "true_energy")
    ratio: Values = 100 * residual(table, "energy") / np.where(energy > 0, energy, np.nan)
    return ratio


MEASURES: Final = (
    Measure(name="energy", unit="%", task="energy", residual=_relative_energy),
    *(
        Measure(name=name, unit="mm", task="uvwFI", residual=_scaled(name, MM_PER_CM))
        for name in ("u", "v", "w")
    ),
    Measure(name="time", unit="ps", task="timing", residual=_scaled("timing", PS_PER_NS)),
    Measure(name="theta", unit="deg", task="angle", residual=_scaled("theta", 1.0)),
    Measure(name="phi", unit="deg", task="angle", residual=_scaled("phi", 1.0)),
    Measure(
        name="opening angle", unit="deg", task="angle", residual=opening_angle, is_signed=False
    ),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One quantity by one estimator."""

    quantity: str
    unit: str
    estimator: str
    entries: Mapping[str, Estimate]
    """By method; methods that do not predict the quantity are not in it."""

    @property
    def label(self) -> str:
        """Quantity with its unit."""
        return f"{self.quantity} [{self.unit}]"


@dataclasses.dataclass(frozen=True, kw_only=True)
class ResolutionTable:
    """The table and what it was made from."""

    rows: tuple[Row, ...]
    selection: str
    """Which events, in words."""
    meta: PredictionMeta
    n_left_out: Mapping[str, Mapping[str, int]] = dataclasses.field(default_factory=dict)
    """Events without finite truth or prediction, by method, then by task."""
    unlike: tuple[str, ...] = ()
    """Which tables were not used, and why."""

    @property
    def title(self) -> str:
        """Run, selection, sample."""
        parts = [f"run {self.meta.run_name}", self.selection]
        parts.append(f"sample {self.meta.sample or 'not stated'}")
        if self.meta.is_toy:
            parts.append("toy detector")
        return ", ".join(parts)

    def notes(self) -> list[str]:
        """Return how to read the table, and the ratios to the other methods."""
        ratios = [
            f"model / {method}, 68 % of |res|: {text}"
            for method in METHODS
            if method != MODEL and (text := self._ratios(method))
        ]
        shown = {method for row in self.rows for method in row.entries}
        described = [note for method, note in _METHOD_NOTES.items() if method in shown]
        return [_ACCURACY_NOTE, _ERROR_NOTE, *described, *self.caveats(), *ratios]

    def caveats(self) -> list[str]:
        """Return what is not in the table though one might expect it there."""
        lacking = [_left_out(method, counts) for method, counts in self.n_left_out.items()]
        return [*lacking, *self.unlike]

    def cells(self) -> list[list[str]]:
        """Return the table as text, the first row being the header."""
        header = ["quantity", "estimator", *METHODS, "N"]
        lines, previous = [header], ""
        for row in self.rows:
            label = row.label if row.label != previous else ""
            values = [_cell(row.entries.get(method)) for method in METHODS]
            lines.append([label, row.estimator, *values, _counts(row)])
            previous = row.label
        return lines

    def text(self) -> str:
        """Return the table with aligned columns for a terminal."""
        return "\n".join([self.title, *aligned_lines(self.cells(), 2), *self.notes()]) + "\n"

    def text_of_model(self) -> str:
        """Return what the network resolves alone, for a terminal."""
        lines = [["quantity", "estimator", MODEL, "N"]]
        lines += [
            [row.label, row.estimator, _cell(row.entries[MODEL]), str(row.entries[MODEL].n)]
            for row in self.rows
        ]
        notes = [_ACCURACY_NOTE, f"{_ERRORS}.", *self.caveats()]
        return "\n".join([self.title, *aligned_lines(lines, 2), *notes]) + "\n"

    def markdown(self) -> str:
        """Return the table in Markdown."""
        table = markdown_lines(self.cells(), 2)
        notes = [note.replace("|", "\\|") for note in self.notes()]
        return "\n".join([f"### Resolution: {self.title}", "", *table, "", "\n\n".join(notes), ""])

    def records(self) -> list[dict[str, Any]]:
        """Return one dictionary per number."""
        return [
            {
                "quantity": row.quantity,
                "unit": row.unit,
                "estimator": row.estimator,
                "method": method,
                "value": entry.value,
                "error": entry.error,
                "n": entry.n,
            }
            for row in self.rows
            for method, entry in row.entries.items()
        ]

    def _ratios(self, method: str) -> str:
        parts = []
        for row in self.rows:
            own, other = row.entries.get(MODEL), row.entries.get(method)
            if row.estimator == _ACCURACY and own and other and other.value > 0:
                parts.append(f"{row.quantity} {own.value / other.value:.3g}")
        return ", ".join(parts)


def build_resolution_table(
    folder: Path | str,
    run_name: str,
    csv_suffix: str = "",
    tasks: Collection[str] | None = None,
) -> ResolutionTable:
    """Compare the methods whose CSVs stand in `folder`.

    Parameters
    ----------
    folder, run_name, csv_suffix, tasks
        See `compared_tables`.

    Raises
    ------
    DataError
        If there is no prediction of the network.
    """
    found = compared_tables(folder, run_name, csv_suffix, tasks)
    return ResolutionTable(
        rows=tuple(row for measure in MEASURES for row in _rows(measure, found.tables)),
        selection=found.selection,
        meta=read_meta(folder, run_name, csv_suffix),
        n_left_out=found.n_left_out,
        unlike=found.notes,
    )


def resolution_of_all_events(
    folder: Path | str, run_name: str, tasks: Collection[str]
) -> ResolutionTable:
    """Return what the network resolves alone, of all events in its CSVs, whatever their energy.

    Raises
    ------
    DataError
        If a CSV of `tasks` is missing.
    """
    tables = read_prediction_csvs(folder, run_name, tasks=tasks)
    kept = {task: usable(table, task) for task, table in tables.items()}
    counts = {task: n for task in tables if (n := len(tables[task]) - len(kept[task]))}
    return ResolutionTable(
        rows=tuple(row for measure in MEASURES for row in _rows(measure, {MODEL: kept})),
        selection="all events",
        meta=read_meta(folder, run_name),
        n_left_out={MODEL: counts} if counts else {},
    )


def write_resolution_table(
    run_dir: Path | str,
    run_name: str,
    out_dir: Path | str | None = None,
    suffix: str = "",
    *,
    csv_suffix: str = "",
    tasks: Collection[str] | None = None,
) -> tuple[ResolutionTable, dict[str, Path]]:
    """Compare on the test sample, or on the validation sample if there is no test sample.

    Parameters
    ----------
    run_dir, run_name
        Where the CSVs stand, and the name in theirs.
    out_dir
        By default `run_dir`.
    suffix
        Put behind the run's name in the names of the files.
    csv_suffix
        `_ep{N}` for the predictions at that best epoch.
    tasks
        Tasks to compare; None for all.

    Returns
    -------
    table, paths
        The table, and the files `resolution_table_{run}{suffix}` by ending: csv, json, md, txt.

    Raises
    ------
    DataError
        If there is no prediction of the network.
    """
    folder = sample_dir(run_dir, run_name, csv_suffix)
    table = build_resolution_table(folder, run_name, csv_suffix, tasks)
    stem = Path(out_dir or run_dir) / f"resolution_table_{run_name}{suffix}"
    content = {
        **dataclasses.asdict(table.meta),
        "selection": table.selection,
        "n_left_out": table.n_left_out,
        "notes": table.notes(),
    }
    paths = write_table_files(
        stem, table.records(), content, markdown=table.markdown(), text=table.text()
    )
    return table, paths


def _rows(measure: Measure, tables: Mapping[str, Mapping[str, PredictionTable]]) -> Iterable[Row]:
    residuals = {
        method: measure.residual(by_task[measure.task])
        for method, by_task in tables.items()
        if measure.task in by_task
    }
    if MODEL not in residuals:
        return
    for name, estimator in measure.estimators().items():
        entries = {method: estimator(values) for method, values in residuals.items()}
        yield Row(quantity=measure.name, unit=measure.unit, estimator=name, entries=entries)


def _cell(entry: Estimate | None) -> str:
    return "-" if entry is None else with_error(entry.value, entry.error)


def _counts(row: Row) -> str:
    """Return the number of events, for each method if they differ."""
    counts = [row.entries[method].n for method in METHODS if method in row.entries]
    return str(counts[0]) if len(set(counts)) == 1 else "/".join(map(str, counts))


def _left_out(method: str, counts: Mapping[str, int]) -> str:
    listed = ", ".join(f"{task} {count}" for task, count in counts.items())
    return f"{method}: events without finite truth or prediction left out: {listed}."
