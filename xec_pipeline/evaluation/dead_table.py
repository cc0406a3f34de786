"""Resolutions and biases of a regressor with dead sensors, one column per way of treating them."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.compared_tables import chosen_events, selection_of
from xec_pipeline.evaluation.comparison import MEASURES, Measure
from xec_pipeline.evaluation.dead_study import COMPLETE, STRATEGIES
from xec_pipeline.evaluation.resolution import Estimate
from xec_pipeline.evaluation.side_by_side import paired_error
from xec_pipeline.evaluation.table_files import write_table_files
from xec_pipeline.evaluation.tables import PredictionTable
from xec_pipeline.evaluation.text import NOT_KNOWN, aligned_lines, markdown_lines, with_error

Tables = Mapping[str, Mapping[str, PredictionTable]]
"""Strategy to task to predictions of the same events."""

_NOTES: Final = (
    (
        "res = predicted - true; median bias: the median of res. ± is one standard deviation, from "
        "order statistics."
    ),
    (
        "In brackets: difference to the same events with all sensors alive, in standard deviations "
        "of that difference when events are drawn anew, the same for both columns."
    ),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StrategyRow:
    """One quantity by one estimator, under every strategy.

    Attributes
    ----------
    label, estimator
        Quantity with unit, and how its resolution or its bias is measured.
    entries
        Estimates by strategy.
    in_sigma
        By strategy, the difference to all sensors alive in standard deviations.
    """

    label: str
    estimator: str
    entries: Mapping[str, Estimate]
    in_sigma: Mapping[str, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class StrategyTable:
    """The table and what it was made from.

    Attributes
    ----------
    rows
        Its lines.
    title
        Runs, pattern, events.
    """

    rows: tuple[StrategyRow, ...]
    title: str

    def text(self) -> str:
        """Return the table with aligned columns for a terminal."""
        return "\n".join([self.title, *aligned_lines(self._cells(), 2), *_NOTES]) + "\n"

    def markdown(self) -> str:
        """Return the table in Markdown."""
        lines = markdown_lines(self._cells(), 2)
        return "\n".join([f"### {self.title}", "", *lines, "", "\n\n".join(_NOTES), ""])

    def records(self) -> list[dict[str, Any]]:
        """Return one dictionary per number."""
        return [
            {
                "quantity": row.label,
                "estimator": row.estimator,
                "strategy": name,
                "value": entry.value,
                "error": entry.error,
                "n": entry.n,
                "difference_in_sigma": row.in_sigma.get(name),
            }
            for row in self.rows
            for name, entry in row.entries.items()
        ]

    def write(self, stem: Path) -> dict[str, Path]:
        """Write `stem` with the endings csv, json, md, txt; return the paths by ending."""
        content = {"title": self.title, "notes": list(_NOTES)}
        return write_table_files(
            stem, self.records(), content, markdown=self.markdown(), text=self.text()
        )

    def _cells(self) -> list[list[str]]:
        names = list(self.rows[0].entries)
        lines = [["quantity", "estimator", *(STRATEGIES[name] for name in names), "N"]]
        for row in self.rows:
            cells = [_cell(row, name) for name in names]
            lines.append([row.label, row.estimator, *cells, str(row.entries[COMPLETE].n)])
        return lines


def build_strategy_table(tables: Tables, title: str) -> StrategyTable:
    """Compare the strategies on events near the signal energy, or on all if there are none.

    Parameters
    ----------
    tables
        Predictions; the strategy `complete` must be among them.
    title
        Which runs and which pattern.

    Raises
    ------
    DataError
        If no event has truth and prediction.
    """
    reference = tables[COMPLETE]
    selection = selection_of(reference)
    kept = {strategy: chosen_events(by_task, reference) for strategy, by_task in tables.items()}
    rows = tuple(row for measure in MEASURES for row in _rows(measure, kept))
    if not rows or not any(row.entries[COMPLETE].n for row in rows):
        raise DataError(f"{title}: no event has truth and prediction")
    return StrategyTable(rows=rows, title=f"{title}, {selection}")


def _rows(measure: Measure, tables: Tables) -> Iterator[StrategyRow]:
    residuals = {
        strategy: measure.residual(by_task[measure.task])
        for strategy, by_task in tables.items()
        if measure.task in by_task
    }
    if COMPLETE not in residuals:
        return
    complete = residuals[COMPLETE]
    for name, estimate in measure.estimators().items():
        entries = {strategy: estimate(values) for strategy, values in residuals.items()}
        in_sigma = {
            strategy: _in_sigma(entries, strategy, paired_error(estimate, values, complete))
            for strategy, values in residuals.items()
            if strategy != COMPLETE and len(values) == len(complete)
        }
        yield StrategyRow(
            label=f"{measure.name} [{measure.unit}]",
            estimator=name,
            entries=entries,
            in_sigma=in_sigma,
        )


def _in_sigma(entries: Mapping[str, Estimate], strategy: str, error: float) -> float:
    difference = entries[strategy].value - entries[COMPLETE].value
    return difference / error if error > 0 else math.nan


def _cell(row: StrategyRow, name: str) -> str:
    entry = row.entries[name]
    text = with_error(entry.value, entry.error)
    return text if name not in row.in_sigma else f"{text} ({_rounded(row.in_sigma[name])})"


def _rounded(in_sigma: float) -> str:
    return f"{in_sigma:+.1f}" if math.isfinite(in_sigma) else NOT_KNOWN
