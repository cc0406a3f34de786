"""Dead sensors of several periods side by side: how many on each face, and which changed."""

import csv
import dataclasses
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.atomic import replacing
from xec_pipeline.detector.dead_runs import DeadSummary, summarize_dead
from xec_pipeline.detector.dead_table import DeadInterval
from xec_pipeline.detector.faces import FACE_NAMES
from xec_pipeline.detector.sensors import N_SENSORS
from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.plots.dead_periods import draw_dead_periods
from xec_pipeline.evaluation.plots.style import save_pdf

STEM: Final = "dead_comparison"
TOY: Final = "toy detector"
"""In the source of a list, it says where the events come from."""
_FOOT_LETTERS: Final = 180
_CHANGE_COLUMNS: Final = ("before", "after", "channel", "change")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Period:
    """One period, represented by a run."""

    label: str
    run: int
    dead: DeadInterval

    @property
    def summary(self) -> DeadSummary:
        """Counts of its dead sensors."""
        return summarize_dead(self.dead.mask())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Change:
    """From one period to the next."""

    new: tuple[int, ...]
    """Sensors that are dead in the later one only."""
    recovered: tuple[int, ...]
    """Sensors that are dead in the earlier one only."""
    jaccard: float


def jaccard(first: Sequence[int], second: Sequence[int]) -> float:
    """Return |A and B| / |A or B| of two sets of sensors; 1 if both are empty, as for equal sets.

    Jaccard, Bull. Soc. Vaud. Sci. Nat. 37 (1901) 547.
    """
    either = set(first) | set(second)
    return len(set(first) & set(second)) / len(either) if either else 1.0


@dataclasses.dataclass(frozen=True)
class DeadComparison:
    """Periods in the order given; a change is from each to the one after it.

    Raises
    ------
    DataError
        If there is no period, or two have the same label.
    """

    periods: tuple[Period, ...]

    def __post_init__(self) -> None:
        labels = [period.label for period in self.periods]
        twice = sorted({label for label in labels if labels.count(label) > 1})
        if twice or not labels:
            what = f"period {twice[0]} is there twice" if twice else "no period"
            raise DataError(f"comparison of dead sensors: {what}; expected different labels")

    @property
    def is_toy(self) -> bool:
        """Whether a list says that it comes from toy events."""
        return any(TOY in period.dead.source for period in self.periods)

    def changes(self) -> list[Change | None]:
        """Return what changed on the way to each period; None for the first."""
        changes: list[Change | None] = [None]
        for before, after in itertools.pairwise(period.dead.channels for period in self.periods):
            changes.append(
                Change(
                    new=tuple(sorted(set(after) - set(before))),
                    recovered=tuple(sorted(set(before) - set(after))),
                    jaccard=jaccard(before, after),
                )
            )
        return changes

    def similarity(self) -> NDArray[np.float64]:
        """Return the Jaccard similarity of all pairs, shape (P, P)."""
        sets = [period.dead.channels for period in self.periods]
        return np.array([[jaccard(a, b) for b in sets] for a in sets])

    def records(self) -> list[dict[str, Any]]:
        """Return one dictionary per period; None where there is no earlier period."""
        return [
            {
                "period": period.label,
                "run": period.run,
                "status_id": period.dead.status_id,
                **period.summary.by_face,
                "total": period.summary.n_dead,
                "fraction": period.summary.fraction,
                "new": len(change.new) if change else None,
                "recovered": len(change.recovered) if change else None,
                "jaccard_with_previous": change.jaccard if change else None,
                "digest": period.summary.digest,
                "source": period.dead.source,
            }
            for period, change in zip(self.periods, self.changes(), strict=True)
        ]

    def text(self) -> str:
        """Return the tables with aligned columns for a terminal."""
        parts = []
        for title, cells in self._tables():
            widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
            rows = [_aligned(row, widths) for row in cells]
            rule = "-" * max(map(len, rows))
            parts += [title, rule, rows[0], rule, *rows[1:], rule, ""]
        return "\n".join([*parts[:-1], *self.notes()]) + "\n"

    def markdown(self) -> str:
        """Return the tables in Markdown."""
        parts = []
        for title, cells in self._tables():
            header, *rows = [[cell.replace("|", "\\|") for cell in row] for row in cells]
            marks = ["---", *["---:"] * (len(header) - 1)]
            parts += [f"### {title}", ""]
            parts += [f"| {' | '.join(row)} |" for row in (header, marks, *rows)]
            parts.append("")
        return "\n".join([*parts, "\n\n".join(self.notes()), ""])

    def notes(self) -> list[str]:
        """Return how to read the tables, and where the lists come from."""
        note = (
            f"Fraction of all {N_SENSORS} sensors; outer counts all 234 sensors of that face. New "
            "and recovered: against the line above. Jaccard: dead in both / dead in either."
        )
        return [note, f"Sources: {self.sources()}"]

    def sources(self) -> str:
        """Return where the lists come from, each source once."""
        sources = dict.fromkeys(period.dead.source or "not stated" for period in self.periods)
        return ", ".join(sources)

    def _tables(self) -> list[tuple[str, list[list[str]]]]:
        toy = f", {TOY}" if self.is_toy else ""
        labels = [period.label for period in self.periods]
        matrix = [
            [label, *(f"{value:.3f}" for value in row)]
            for label, row in zip(labels, self.similarity(), strict=True)
        ]
        return [
            (f"Dead sensors by period{toy}", self._counts()),
            (f"Jaccard similarity of the dead sets{toy}", [["", *labels], *matrix]),
        ]

    def _counts(self) -> list[list[str]]:
        faces = list(FACE_NAMES.values())
        header = ["period", "run", *faces, "total", "fraction", "new", "recovered", "Jaccard"]
        lines = [header]
        for record in self.records():
            similar = record["jaccard_with_previous"]
            lines.append(
                [
                    *(str(record[name]) for name in ("period", "run", *faces, "total")),
                    f"{100 * record['fraction']:.2f} %",
                    *("" if record[n] is None else str(record[n]) for n in ("new", "recovered")),
                    "" if similar is None else f"{similar:.3f}",
                ]
            )
        return lines


def write_dead_comparison(comparison: DeadComparison, folder: Path) -> dict[str, Path]:
    """Write the comparison as csv (one line per period), changes, md, txt and pdf.

    `dead_comparison_changes.csv` names every sensor that is new or recovered.
    """
    paths = {kind: folder / f"{STEM}.{kind}" for kind in ("csv", "md", "txt", "pdf")}
    paths["changes"] = folder / f"{STEM}_changes.csv"
    records = comparison.records()
    _write_csv(paths["csv"], list(records[0]), records)
    _write_csv(paths["changes"], _CHANGE_COLUMNS, _change_records(comparison))
    for kind, text in (("md", comparison.markdown()), ("txt", comparison.text())):
        with replacing(paths[kind]) as partial:
            partial.write_text(text, encoding="utf-8")
    runs = ", ".join(str(period.run) for period in comparison.periods)
    figure = draw_dead_periods(
        [period.label for period in comparison.periods],
        [period.summary for period in comparison.periods],
        comparison.similarity(),
        foot=_shortened(f"runs {runs}   ·   {comparison.sources()}"),
        is_toy=comparison.is_toy,
    )
    save_pdf([figure], paths["pdf"], "Dead sensors by period")
    return paths


def _change_records(comparison: DeadComparison) -> list[dict[str, Any]]:
    pairs = itertools.pairwise(comparison.periods)
    found = [change for change in comparison.changes() if change is not None]
    return [
        {"before": before.label, "after": after.label, "channel": channel, "change": what}
        for (before, after), change in zip(pairs, found, strict=True)
        for what, channels in (("new", change.new), ("recovered", change.recovered))
        for channel in channels
    ]


def _write_csv(path: Path, columns: Sequence[str], records: Sequence[dict[str, Any]]) -> None:
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)


def _shortened(text: str) -> str:
    return text if len(text) <= _FOOT_LETTERS else f"{text[: _FOOT_LETTERS - 4]} ..."


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    first, *others = [
        cell.ljust(width) if i == 0 else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(row, widths, strict=True))
    ]
    return "  ".join([first, *others]).rstrip()
