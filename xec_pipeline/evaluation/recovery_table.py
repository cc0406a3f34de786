"""The table of the inpainter: relative error in bins of the signal beside what can be had without.

The error is (predicted - reference) / reference on the inner face in percent: the root of its mean
square, and its mean, the bias, which the root holds too. Where a simulation knows the mean of the
count, the methods are compared with it too; the method "true mean" then shows what is left against
the count by its own noise, the floor.
"""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from xec_pipeline.detector.faces import FACE_NAMES, Face
from xec_pipeline.evaluation.event_bootstrap import N_RESAMPLES, Resampled
from xec_pipeline.evaluation.masked_methods import definitions, method_name
from xec_pipeline.evaluation.masked_metrics import MIN_PER_BIN, enough, in_bin
from xec_pipeline.evaluation.masked_rows import Bools
from xec_pipeline.evaluation.masked_samples import MEAN, TRUE_MEAN, TRUTH, Origin, Sample
from xec_pipeline.evaluation.resolution import Estimate
from xec_pipeline.evaluation.table_files import write_table_files
from xec_pipeline.evaluation.text import NOT_KNOWN, aligned_lines, markdown_lines, with_error

COUNTING_NOISE: Final = "counting noise"
"""The spread of the count about its mean by formula, as a column."""
AGAINST: Final = {TRUTH: "count", MEAN: "mean"}
_PERCENT: Final = 100.0
_RMS: Final = "RMS"
_BIAS: Final = "bias"
_HOW_TO_READ: Final = (
    "Error: (predicted - reference) / reference. RMS: the root of its mean square, which includes "
    "the method's own bias; bias: its mean. N: readings (one sensor in one event) in the bin; bins "
    f"are in the reference and hold their lower edge. ± is one standard deviation from "
    f"{N_RESAMPLES} resamples of the events. {NOT_KNOWN}: fewer than {MIN_PER_BIN} readings. Bins "
    "in a noisy count favour readings that fluctuated up, so even the true mean seems some percent "
    "too low there; against the mean there is no such bias."
)
_FLOOR_NOTE: Final = (
    f"count: as measured, with its noise; mean: without it. '{TRUE_MEAN}' predicts the mean "
    "itself, so what it shows against the count is the noise of the count: the floor."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecoveryRow:
    """One bin of the signal against one reference."""

    reference: str
    low: float
    high: float
    entries: Mapping[str, Resampled]
    """Relative RMS error by method."""
    biases: Mapping[str, Resampled] = dataclasses.field(default_factory=dict)
    """Mean of the relative error by method."""
    paired: Mapping[tuple[str, str], Resampled] = dataclasses.field(default_factory=dict)
    """Errors of a network, the first name, where the method of the second name gives something;
    only for methods that do not predict all sensors."""
    noise: Estimate | None = None
    """Counting noise by formula."""

    @property
    def label(self) -> str:
        """The bin in words."""
        if np.isfinite(self.high):
            return f"{self.low:g} - {self.high:g}"
        return f"> {self.low:g}"

    def estimate(self, method: str) -> Estimate | None:
        """Return a method's RMS error [%]; None if it is not in this row."""
        if method == COUNTING_NOISE:
            return None if self.noise is None else enough(self.noise).scaled(_PERCENT)
        one = self.entries.get(method)
        return None if one is None else enough(one.estimate()).scaled(_PERCENT)

    def bias(self, method: str) -> Estimate | None:
        """Return a method's mean error [%]; None if it is not in this row."""
        one = self.biases.get(method)
        return None if one is None else enough(one.estimate()).scaled(_PERCENT)

    @property
    def n(self) -> int:
        """Rows of the first method, which predicts all of them."""
        return next(iter(self.entries.values())).n


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecoveryTable:
    """The table and what it was made from."""

    rows: tuple[RecoveryRow, ...]
    columns: tuple[str, ...]
    models: tuple[str, ...]
    """Columns that are networks."""
    face: Face
    n_missing: Mapping[str, int]
    """Sensors in the bins for which a method gives nothing."""
    origin: Origin

    @property
    def title(self) -> str:
        """What, where, run, masks, events."""
        origin = self.origin
        error = f"Relative error on the {FACE_NAMES[self.face]} face [%]"
        parts = [f"{error}: {origin.run_name}", _masks(origin), *_events(origin)]
        return ", ".join([*parts, "toy detector"] if origin.is_toy else parts)

    def cells(self) -> list[list[str]]:
        """Return the table as text, the first row being the header."""
        lines = [["error", "photons", "against", "N", *map(method_name, self.columns)]]
        for name, row in itertools.product((_RMS, _BIAS), self.rows):
            found = row.estimate if name == _RMS else row.bias
            values = [_cell(found(column)) for column in self.columns]
            lines.append([name, row.label, AGAINST[row.reference], str(row.n), *values])
        return lines

    def notes(self) -> list[str]:
        """Return how to read the table, and the ratios of the models to the other methods."""
        notes = [_HOW_TO_READ]
        if any(row.reference == MEAN for row in self.rows):
            notes.append(_FLOOR_NOTE)
        missing = [f"{method_name(name)} {n}" for name, n in self.n_missing.items() if n]
        if missing:
            notes.append(f"Sensors without a prediction, left out: {', '.join(missing)}.")
        about = [definitions(self.columns), _made_with(self.origin), *self.origin.remarks]
        return [*notes, *filter(None, about), *self._ratios()]

    def text(self) -> str:
        """Return the table with aligned columns for a terminal."""
        return "\n".join([self.title, *aligned_lines(self.cells(), 3), *self.notes()]) + "\n"

    def markdown(self) -> str:
        """Return the table in Markdown."""
        notes = "\n\n".join(note.replace("|", "\\|") for note in self.notes())
        return "\n".join([f"### {self.title}", "", *markdown_lines(self.cells(), 3), "", notes, ""])

    def records(self) -> list[dict[str, Any]]:
        """Return one dictionary per number."""
        return [
            {
                "face": FACE_NAMES[self.face],
                "reference": AGAINST[row.reference],
                "low_photons": row.low,
                "high_photons": row.high,
                "method": column,
                "relative_rms_percent": estimate.value,
                "error_percent": estimate.error,
                "n": estimate.n,
                "relative_bias_percent": bias.value if bias else None,
                "bias_error_percent": bias.error if bias else None,
                "method_name": method_name(column),
            }
            for row in self.rows
            for column in self.columns
            if (estimate := row.estimate(column)) is not None
            for bias in (row.bias(column),)
        ]

    def ratio(self, row: RecoveryRow, model: str, other: str) -> Estimate:
        """Return the error of a model over that of another method, of the same sensors."""
        own = row.paired.get((model, other), row.entries[model])
        return enough(own.over(row.entries[other]))

    def _ratios(self) -> Iterator[str]:
        for i, model in enumerate(self.models):
            # Of two models one ratio is enough.
            skipped = {*self.models[: i + 1], TRUE_MEAN, COUNTING_NOISE}
            others = [column for column in self.columns if column not in skipped]
            for reference, other in itertools.product(AGAINST, others):
                rows = [row for row in self.rows if row.reference == reference]
                ratios = [self.ratio(row, model, other) for row in rows]
                if any(np.isfinite(ratio.value) for ratio in ratios):
                    text = ", ".join(with_error(ratio.value, ratio.error) for ratio in ratios)
                    names = f"{method_name(model)} / {method_name(other)}"
                    yield f"RMS of {names}, against the {AGAINST[reference]}: {text}"


def build_recovery_table(
    sample: Sample, edges: Sequence[float], models: Sequence[str], face: Face = Face.INNER
) -> RecoveryTable:
    """Compare all methods of a sample in photons.

    Parameters
    ----------
    sample
        Counts in photons.
    edges
        Of the bins [photons], see `masked_metrics.signal_edges`.
    models
        Methods that are networks; ratios to all others are in the notes.
    face
        Sensors to compare.
    """
    rows = tuple(
        _row(sample, reference, (low, high), face, models)
        for reference in sample.references
        for low, high in itertools.pairwise(edges)
    )
    columns = [*sample.predictions]
    if MEAN in sample.references:
        columns.append(TRUE_MEAN)
    if sample.floor is not None:
        columns.append(COUNTING_NOISE)
    inside = sample.on_face(face) & (sample.references[TRUTH] >= edges[0])
    missing = {
        name: int((inside & ~np.isfinite(values)).sum())
        for name, values in sample.predictions.items()
    }
    return RecoveryTable(
        rows=rows,
        columns=tuple(columns),
        models=tuple(models),
        face=face,
        n_missing=missing,
        origin=sample.origin,
    )


def write_recovery_table(table: RecoveryTable, folder: Path, name: str) -> dict[str, Path]:
    """Write `recovery_table_{name}` and return the paths by ending: csv, json, md, txt."""
    content = dataclasses.asdict(table.origin)
    content["paths"] = [str(path) for path in table.origin.paths]
    return write_table_files(
        folder / f"recovery_table_{name}",
        table.records(),
        content | {"notes": table.notes()},
        markdown=table.markdown(),
        text=table.text(),
    )


def _row(
    sample: Sample, reference: str, edges: tuple[float, float], face: Face, models: Sequence[str]
) -> RecoveryRow:
    low, high = edges
    known = sample.references[reference]
    rows = sample.on_face(face) & in_bin(known, low, high)
    methods = [*sample.predictions]
    if reference == TRUTH and MEAN in sample.references:
        methods.append(TRUE_MEAN)
    found = {
        method: sample.summary(sample.relative_error(method, reference), rows) for method in methods
    }
    noise = None
    if sample.floor is not None and reference == TRUTH:
        summary = sample.summary(sample.floor / np.where(known > 0, known, np.nan), rows)
        noise = summary["rmse"].estimate()
    return RecoveryRow(
        reference=reference,
        low=low,
        high=high,
        entries={method: summary["rmse"] for method, summary in found.items()},
        biases={method: summary["bias"] for method, summary in found.items()},
        paired=_paired(sample, reference, rows, models),
        noise=noise,
    )


def _paired(
    sample: Sample, reference: str, rows: Bools, models: Sequence[str]
) -> dict[tuple[str, str], Resampled]:
    """Return the networks' errors on the sensors of each method that leaves some out."""
    found = {}
    for name, values in sample.predictions.items():
        given = rows & np.isfinite(values)
        if name in models or given.sum() == rows.sum():
            continue
        for model in models:
            error = sample.relative_error(model, reference)
            found[model, name] = sample.summary(error, given)["rmse"]
    return found


def _cell(estimate: Estimate | None) -> str:
    return "-" if estimate is None else with_error(estimate.value, estimate.error)


def _masks(origin: Origin) -> str:
    """Return the mode, and how many sensors were masked."""
    mode = f"masks of mode {origin.mode}"
    if origin.masked_per_event < 0:
        return mode
    number = f"{origin.masked_per_event:.4g}"
    return f"{mode} ({number} {'sensor' if number == '1' else 'sensors'} per event)"


def _events(origin: Origin) -> Iterator[str]:
    if origin.n_events >= 0:
        yield f"{origin.n_events} events" + (f" of {origin.sample}" if origin.sample else "")
    elif origin.sample:
        yield f"events of {origin.sample}"
    if origin.energy_mev is not None:
        low, high = (f"{energy:.4g}" for energy in origin.energy_mev)
        yield f"{low} MeV" if low == high else f"{low} to {high} MeV"


def _made_with(origin: Origin) -> str:
    """Return dead pattern, weights and version of the events, as far as they are known."""
    parts = []
    if origin.dead_pattern:
        parts.append(f"Dead sensors: {origin.dead_pattern}.")
    weights = [f"after epoch {origin.epoch}"] if origin.epoch >= 0 else []
    weights += [f"digest {origin.checkpoint_digest}"] if origin.checkpoint_digest else []
    if weights:
        parts.append(f"Weights of the inpainter: {', '.join(weights)}.")
    if origin.data_version:
        parts.append(f"Data version of the events: {origin.data_version}.")
    return " ".join(parts)
