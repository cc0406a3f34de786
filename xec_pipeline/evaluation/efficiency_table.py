"""The table of efficiencies: what the toy detector allows, and what was made of it."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Final

from xec_pipeline.evaluation.compared_tables import MODEL
from xec_pipeline.evaluation.efficiency import JUDGED_FROM, SUSPICIOUS_BELOW, EfficiencyRow
from xec_pipeline.evaluation.metadata import PredictionMeta
from xec_pipeline.evaluation.resolution import Estimate
from xec_pipeline.evaluation.text import aligned_lines, markdown_lines, with_error

WARNING: Final = f"below {SUSPICIOUS_BELOW:g} of the limit: suspect a leak"
_NOTES: Final = (
    (
        "limit: spread of the best estimate with the shower unknown, of each event by itself, true "
        "to about 5 %. RMS is about zero and includes a bias; the 68 % half width (of the central "
        "68.27 %) does not, and its limit is that of residuals which are normal with the limit of "
        "their event."
    ),
    (
        "efficiency = limit / resolution, pull = residual / limit; ± is one standard deviation, "
        "from events drawn anew."
    ),
    (
        "The limit knows nothing of E, u, v, w beforehand. A method trained at one energy, or near "
        "the ends of the range it was trained in, knows more and may honestly surpass it; "
        "otherwise look for a leak, a wrong split or a wrong metric. "
        f"Rows of fewer than {JUDGED_FROM} events are not judged."
    ),
    "theta, phi: the vertex is not seen, so their limit is the beam spot, not the detector.",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class EfficiencyTable:
    """The table and what it was made from."""

    rows: tuple[EfficiencyRow, ...]
    selection: str
    """Which events, in words."""
    meta: PredictionMeta

    @property
    def methods(self) -> tuple[str, ...]:
        """Methods of any row, the network first."""
        return tuple(dict.fromkeys(method for row in self.rows for method in row.resolution))

    @property
    def title(self) -> str:
        """Run, selection, sample."""
        sample = self.meta.sample or "not stated"
        return f"run {self.meta.run_name}, {self.selection}, sample {sample}, toy detector"

    def warnings(self) -> list[str]:
        """Return which numbers are too good to be true."""
        return [
            f"{method}, {row.quantity}, {_depth(row)}, {row.estimator}: {WARNING}"
            for row in self.rows
            for method in row.resolution
            if row.is_suspicious(method)
        ]

    def notes(self) -> list[str]:
        """Return how to read the table."""
        return list(_NOTES)

    def summary(self) -> str:
        """Return the table of all depths with aligned columns for a terminal."""
        all_depths, _ = self._both()
        parts = [self.title, *self.warnings(), *aligned_lines(all_depths, _N_LEFT)]
        return "\n".join([*parts, *self.notes()]) + "\n"

    def text(self) -> str:
        """Return both tables with aligned columns."""
        _, by_depth = self._both()
        return "\n".join([self.summary(), "Versus depth", *aligned_lines(by_depth, _N_LEFT)]) + "\n"

    def markdown(self) -> str:
        """Return the tables in Markdown."""
        all_depths, by_depth = (markdown_lines(cells, _N_LEFT) for cells in self._both())
        warnings = [f"**{warning}**\n" for warning in self.warnings()]
        parts = [f"### Efficiency: {self.title}", "", *warnings, *all_depths, ""]
        parts += ["#### Versus depth", "", *by_depth, "", "\n\n".join(self.notes()), ""]
        return "\n".join(parts)

    def records(self) -> list[dict[str, Any]]:
        """Return one dictionary per row and method."""
        return [
            {
                "quantity": row.quantity,
                "unit": row.unit,
                "estimator": row.estimator,
                "w_low_cm": row.depth_cm[0] if row.depth_cm else None,
                "w_high_cm": row.depth_cm[1] if row.depth_cm else None,
                "method": method,
                "n": row.n,
                **_pair("limit", row.limit),
                **_pair("resolution", row.resolution[method]),
                **_pair("efficiency", row.efficiency[method]),
                **_pair("pull", row.pull[method]),
                "warning": WARNING if row.is_suspicious(method) else "",
            }
            for row in self.rows
            for method in row.resolution
        ]

    def _both(self) -> tuple[list[list[str]], list[list[str]]]:
        """Return the cells of the table of all depths and of that versus depth."""
        all_depths, by_depth = _split(self.rows)
        return self._cells(all_depths), self._cells(by_depth)

    def _cells(self, rows: Sequence[EfficiencyRow]) -> list[list[str]]:
        header = ["quantity", "estimator", "w", "N", "limit"]
        for method in self.methods:
            header += [method, "efficiency"] + (["pull"] if method == MODEL else [])
        lines, previous = [header], ""
        for row in rows:
            label = f"{row.quantity} [{row.unit}], {row.estimator}"
            names = [f"{row.quantity} [{row.unit}]", row.estimator]
            cells = [*(names if label != previous else ["", ""]), _depth(row), str(row.n)]
            cells.append(_cell(row.limit))
            for method in self.methods:
                cells += _method_cells(row, method)
            lines.append(cells)
            previous = label
        return lines


_N_LEFT: Final = 2


def _split(rows: Sequence[EfficiencyRow]) -> tuple[list[EfficiencyRow], list[EfficiencyRow]]:
    """Return the rows of all depths, and the others with the ranges of one estimator together."""
    by_depth = [row for row in rows if row.depth_cm]
    order = list(dict.fromkeys((row.quantity, row.estimator) for row in by_depth))
    by_depth.sort(key=lambda row: order.index((row.quantity, row.estimator)))
    return [row for row in rows if not row.depth_cm], by_depth


def _method_cells(row: EfficiencyRow, method: str) -> list[str]:
    extra = 1 if method == MODEL else 0
    if method not in row.resolution:
        return ["-"] * (2 + extra)
    mark = " !" if row.is_suspicious(method) else ""
    cells = [_cell(row.resolution[method]), _cell(row.efficiency[method]) + mark]
    return [*cells, _cell(row.pull[method])] if extra else cells


def _depth(row: EfficiencyRow) -> str:
    return "all w" if row.depth_cm is None else "{:g}-{:g} cm".format(*row.depth_cm)


def _cell(estimate: Estimate) -> str:
    return with_error(estimate.value, estimate.error)


def _pair(name: str, estimate: Estimate) -> dict[str, float]:
    return {name: estimate.value, f"{name}_error": estimate.error}
