"""Runs side by side: options, events, losses, and what they resolve."""

import dataclasses
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.compared_run import ROLES, ComparedRun
from xec_pipeline.evaluation.measured_run import Key, Measured, measure
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
_RESULTS_NOTE: Final = "residual = predicted - true, ± is one standard deviation."
_SIGMA_NOTES: Final = {
    "paired": (
        "difference to the first run over its standard deviation, from events resampled for both "
        "runs alike; negative is better. How much trainings with other seeds differ is not in it."
    ),
    "apart": (
        "difference to the first run over the uncertainties added in quadrature, as the runs were "
        "not compared event by event; negative is better."
    ),
    "none": "not given, as its results are of another choice of events or of another detector.",
}
"""By how a run was compared with the first one."""


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
    measured = [measure(run) for run in runs]
    notes = [note for each in measured for note in each.notes]
    first = measured[0]
    sigmas = [
        _sigmas(runs[0], first, run, other)
        for run, other in zip(runs[1:], measured[1:], strict=True)
    ]
    keys = list(dict.fromkeys(key for each in measured for key in each.estimates))
    numbers = [
        ComparedNumber(
            quantity=quantity,
            estimator=estimator,
            estimates=tuple(each.estimates.get((quantity, estimator)) for each in measured),
            sigmas=tuple(found.get((quantity, estimator), math.nan) for _, found in sigmas),
        )
        for quantity, estimator in keys
    ]
    ways = {run.label: way for run, (way, _) in zip(runs[1:], sigmas, strict=True) if way}
    return numbers, [*notes, *_events_notes(runs, measured), *_sigma_notes(ways)]


def _events_notes(runs: Sequence[ComparedRun], measured: Sequence[Measured]) -> Iterator[str]:
    """Yield of which events the results are, and then how they are given."""
    known = {
        run.label: each.events for run, each in zip(runs, measured, strict=True) if each.estimates
    }
    for events in dict.fromkeys(known.values()):
        labels = [label for label, own in known.items() if own == events]
        yield f"Results of {', '.join(labels)}: {events}."
    if known:
        yield _RESULTS_NOTE


def _sigma_notes(ways: Mapping[str, str]) -> Iterator[str]:
    """Yield what sigma is, for each way in which runs were compared."""
    for way in dict.fromkeys(ways.values()):
        labels = [label for label, own in ways.items() if own == way]
        of_some = "" if len(labels) == len(ways) else f" of {', '.join(labels)}"
        yield f"sigma{of_some}: {_SIGMA_NOTES[way]}"


def _sigmas(
    first: ComparedRun, own: Measured, run: ComparedRun, other: Measured
) -> tuple[str, Mapping[Key, float]]:
    """Return how a run is compared with the first, and its differences in standard deviations."""
    if not own.estimates or not other.estimates:
        return "", {}
    if not own.is_comparable_with(other):
        return "none", {}
    paired = _paired(first, run)
    if paired is not None:
        return "paired", paired
    keys = [key for key in own.estimates if key in other.estimates and key[1] != _SIGNED]
    return "apart", {key: _apart(own.estimates[key], other.estimates[key]) for key in keys}


def _apart(first: Estimate, other: Estimate) -> float:
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
