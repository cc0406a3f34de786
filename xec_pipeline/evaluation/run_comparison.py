"""Runs side by side: options, events, losses, and what they resolve."""

import csv
import dataclasses
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from xec_pipeline.config.file_names import ANALYSIS_FOLDER
from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.compared_run import ROLES, ComparedRun
from xec_pipeline.evaluation.compared_tables import MODEL, sample_dir
from xec_pipeline.evaluation.comparison import build_resolution_table
from xec_pipeline.evaluation.resolution import Estimate
from xec_pipeline.evaluation.side_by_side import compare_runs
from xec_pipeline.evaluation.text import NOT_KNOWN, aligned_lines, markdown_lines, with_error

_WIDTH: Final = 100
_NAMES: Final = frozenset({"mlflow.run_name"})
_SIGNED: Final = "median bias"
_OBJECTIVE: Final = ("tasks.", "loss_balance", "data.val_path", "normalization.", "training.loss")
"""Options (or what they begin with) that decide what a validation loss is."""
_LOSS_NOTE: Final = (
    "Losses are of the best epoch, on the events that chose it; train/loss has dropout and may "
    "weigh events otherwise, so it is not to be compared with val/loss."
)
_OTHER_LOSS_NOTE: Final = (
    "The objective or its events differ: the losses of these runs cannot be compared."
)
_PAIRED_NOTE: Final = (
    "sigma: difference to the first run over its standard deviation, from events resampled for "
    "both runs alike; negative is better. How much trainings with other seeds differ is not in it."
)
_UNPAIRED_NOTE: Final = (
    "sigma: difference to the first run over the uncertainties added in quadrature, as the runs "
    "were not compared event by event; negative is better."
)

Key = tuple[str, str]
"""Quantity with its unit, and estimator."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparedNumber:
    """One measured quantity of all runs."""

    quantity: str
    estimator: str
    estimates: tuple[Estimate | None, ...]
    sigmas: tuple[float, ...]
    """Of each run after the first: difference to the first in standard deviations."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunComparison:
    """All that is compared.

    Attributes
    ----------
    runs
        In the order asked for; the first is what the others are compared with.
    options, samples, training
        Values of each run by name; only options that differ.
    numbers
        Measured quantities with uncertainties.
    notes
        How to read it.
    """

    runs: tuple[ComparedRun, ...]
    options: Mapping[str, Sequence[Any]]
    samples: Mapping[str, Sequence[Any]]
    training: Mapping[str, Sequence[Any]]
    numbers: tuple[ComparedNumber, ...]
    notes: tuple[str, ...]

    def text(self) -> str:
        """Return the comparison for a terminal."""
        lines = [self._title()]
        for title, cells in self._tables():
            lines += ["", title, *aligned_lines(cells, len(cells[0]))]
        notes = [line for note in self.notes for line in textwrap.wrap(note, _WIDTH)]
        return "\n".join([*lines, "", *notes]) + "\n"

    def markdown(self) -> str:
        """Return the comparison in Markdown."""
        lines = [f"## {self._title()}"]
        for title, cells in self._tables():
            lines += ["", f"### {title}", "", *markdown_lines(cells, len(cells[0]))]
        notes = [f"- {note}".replace("|", "\\|") for note in self.notes]
        return "\n".join([*lines, "", *notes]) + "\n"

    def records(self) -> list[dict[str, Any]]:
        """Return one row for each value of each run."""
        parts = {"option": self.options, "sample": self.samples, "training": self.training}
        return [
            _record(section, name, "", run, value)
            for section, rows in parts.items()
            for name, values in rows.items()
            for run, value in zip(self.runs, values, strict=True)
        ] + [
            _record("result", number.quantity, number.estimator, run, estimate, sigma)
            for number in self.numbers
            for run, estimate, sigma in zip(
                self.runs, number.estimates, (math.nan, *number.sigmas), strict=True
            )
        ]

    def content(self) -> dict[str, Any]:
        """Return what a JSON file holds."""
        return {
            "kind": self.runs[0].kind,
            "runs": [
                {"label": run.label, "name": run.name, "folder": str(run.folder)}
                for run in self.runs
            ],
            "notes": self.notes,
            "rows": self.records(),
        }

    def _title(self) -> str:
        return f"{self.runs[0].kind} runs: {', '.join(run.label for run in self.runs)}"

    def _tables(self) -> Iterator[tuple[str, list[list[str]]]]:
        labels = [run.label for run in self.runs]
        parts = (
            ("Options that differ", "option", self.options),
            ("Events", "sample", self.samples),
            ("Training", "number", self.training),
        )
        for title, head, rows in parts:
            if rows:
                cells = [[name, *map(_shown, values)] for name, values in rows.items()]
                yield title, [[head, *labels], *cells]
        if self.numbers:
            top = ["quantity", "estimator", labels[0]]
            top += [word for label in labels[1:] for word in (label, "sigma")]
            yield "Results", [top, *(_line(number) for number in self.numbers)]


def compare(runs: Sequence[ComparedRun]) -> RunComparison:
    """Set runs of one kind side by side.

    Raises
    ------
    DataError
        If there are fewer than two.
    """
    if len(runs) < 2:
        raise DataError("name at least two runs to compare")
    options = _differing(runs)
    numbers, notes = _numbers(runs)
    training = _rows([run.training() for run in runs])
    has_loss = any("loss" in name for name in training)
    notes = [*(note for run in runs for note in run.notes), *notes]
    if has_loss:
        is_other = any(name.startswith(_OBJECTIVE) for name in options)
        notes += [_LOSS_NOTE, *([_OTHER_LOSS_NOTE] if is_other else [])]
    return RunComparison(
        runs=tuple(runs),
        options=options,
        samples={role: [run.sample(role) for run in runs] for role in ROLES},
        training=training,
        numbers=tuple(numbers),
        notes=tuple(notes),
    )


def _differing(runs: Sequence[ComparedRun]) -> dict[str, list[Any]]:
    return {
        name: values
        for name, values in _rows([run.options for run in runs]).items()
        if name not in _NAMES and len(set(map(_shown, values))) > 1
    }


def _rows(of_runs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return the values of all runs by name; "-" where a run has none."""
    names = dict.fromkeys(name for values in of_runs for name in values)
    return {name: [values.get(name, "-") for values in of_runs] for name in names}


def _numbers(runs: Sequence[ComparedRun]) -> tuple[list[ComparedNumber], list[str]]:
    """Return results and how to read them."""
    measured, notes = [], []
    for run in runs:
        try:
            measured.append(_MEASURED[run.kind](run))
        except DataError as error:
            measured.append({})
            notes.append(f"{run.label}: {error}")
    paired = [_paired(runs[0], other) if measured[0] else None for other in runs[1:]]
    keys = list(dict.fromkeys(key for each in measured for key in each))
    numbers = [_number(key, measured, paired) for key in keys]
    if measured[0] and any(measured[1:]):
        notes.append(_events_note(runs[0], measured[0]))
        is_unpaired = any(not each for each in paired)
        notes.append(_UNPAIRED_NOTE if is_unpaired else _PAIRED_NOTE)
    return numbers, notes


def _events_note(run: ComparedRun, measured: Mapping[Key, Estimate]) -> str:
    """Return of which events the results are."""
    counts = sorted({estimate.n for estimate in measured.values()})
    n = f"N = {counts[0]}" if len(counts) == 1 else f"N = {counts[0]} to {counts[-1]}"
    if run.kind != "regressor":
        return f"Results of {run.label}: {n} sensors of a bin, ± is one standard deviation."
    folder = sample_dir(run.folder, run.name)
    table = build_resolution_table(folder, run.name)
    return (
        f"Results: {table.title.partition(', ')[2]}, {n}; residual = predicted - true, ± is one "
        "standard deviation."
    )


def _number(
    key: Key,
    measured: Sequence[Mapping[Key, Estimate]],
    paired: Sequence[Mapping[Key, float] | None],
) -> ComparedNumber:
    estimates = tuple(each.get(key) for each in measured)
    is_paired = all(paired)
    sigmas = [
        (each or {}).get(key, math.nan) if is_paired else _apart(key, estimates[0], other)
        for each, other in zip(paired, estimates[1:], strict=True)
    ]
    quantity, estimator = key
    return ComparedNumber(
        quantity=quantity, estimator=estimator, estimates=estimates, sigmas=tuple(sigmas)
    )


def _apart(key: Key, first: Estimate | None, other: Estimate | None) -> float:
    if first is None or other is None or key[1] == _SIGNED:
        return math.nan
    error = math.hypot(first.error, other.error)
    return (other.value - first.value) / error if error > 0 else math.nan


def _paired(first: ComparedRun, other: ComparedRun) -> dict[Key, float] | None:
    """Return differences in standard deviations if both predict the same events, else None."""
    if first.kind != "regressor":
        return None
    try:
        beside = compare_runs(
            (first.folder, first.name), (other.folder, other.name), (first.label, other.label)
        )
    except DataError:
        return None
    return {(line.label, line.estimator): -line.in_sigma for line in beside.differences}


def _of_regressor(run: ComparedRun) -> dict[Key, Estimate]:
    table = build_resolution_table(sample_dir(run.folder, run.name), run.name)
    return {
        (row.label, row.estimator): row.entries[MODEL] for row in table.rows if MODEL in row.entries
    }


def _of_inpainter(run: ComparedRun) -> dict[Key, Estimate]:
    path = run.folder / ANALYSIS_FOLDER / f"recovery_table_{run.name}.csv"
    if not path.is_file():
        raise DataError(f"{path}: no errors of recovered sensors; xec analyze writes them")
    return dict(_recovered(path))


def _recovered(path: Path) -> Iterator[tuple[Key, Estimate]]:
    with path.open(newline="") as stream:
        for row in csv.DictReader(stream):
            if row["method"] != MODEL:
                continue
            quantity = (
                f"{row['face']} face, {float(row['low_photons']):g} - "
                f"{float(row['high_photons']):g} photons [%]"
            )
            estimator = f"relative RMS against the {row['reference']}"
            yield (
                (quantity, estimator),
                Estimate(
                    value=float(row["relative_rms_percent"] or "nan"),
                    error=float(row["error_percent"] or "nan"),
                    n=int(row["n"]),
                    estimator=estimator,
                ),
            )


def _of_mae(_run: ComparedRun) -> dict[Key, Estimate]:
    return {}  # its losses say all that is known


_MEASURED: Final = {"regressor": _of_regressor, "inpainter": _of_inpainter, "mae": _of_mae}


def _line(number: ComparedNumber) -> list[str]:
    first, *others = (_cell(estimate) for estimate in number.estimates)
    cells = [number.quantity, number.estimator, first]
    for other, sigma in zip(others, number.sigmas, strict=True):
        cells += [other, f"{sigma:+.1f}" if math.isfinite(sigma) else "-"]
    return cells


def _cell(estimate: Estimate | None) -> str:
    return NOT_KNOWN if estimate is None else with_error(estimate.value, estimate.error)


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_shown, value))}]"
    return "null" if value is None else str(value)


def _record(
    section: str, name: str, estimator: str, run: ComparedRun, value: Any, sigma: float = math.nan
) -> dict[str, Any]:
    measured = value if isinstance(value, Estimate) else None
    return {
        "section": section,
        "name": name,
        "estimator": estimator,
        "run": run.label,
        "value": measured.value if measured else value,
        "error": measured.error if measured else None,
        "n": measured.n if measured else None,
        "sigma": sigma if math.isfinite(sigma) else None,
    }
