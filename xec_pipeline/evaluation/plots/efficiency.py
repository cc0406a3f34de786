"""Pages of the physical limit: resolution, efficiency and pull versus depth, one panel each."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes

from xec_pipeline.evaluation.compared_tables import MODEL
from xec_pipeline.evaluation.efficiency import DEPTH_EDGES_CM, HALF_WIDTH, RMS, EfficiencyRow
from xec_pipeline.evaluation.efficiency_table import EfficiencyTable
from xec_pipeline.evaluation.plots.pages import Page, note_page
from xec_pipeline.evaluation.plots.panels import Panel, draw_note
from xec_pipeline.evaluation.plots.style import BLUE, GREEN, GREY, ORANGE, RED
from xec_pipeline.evaluation.resolution import Estimate, Values
from xec_pipeline.evaluation.text import estimate_text

_LIMIT: Final = "limit"
_ORDER: Final = ("u", "v", "w", "energy", "time", "theta", "phi")
_PER_ROW: Final = 3
_STYLES: Final = ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"), (RED, "D"), (GREY, "v"))
_SPREAD: Final = 0.16
"""Distance between the markers of two methods in the same range of depth."""


@dataclass(frozen=True, kw_only=True)
class DepthPanel:
    """Estimates in ranges of depth, side by side: the ranges are too unequal for an axis in cm."""

    key: str
    title: str
    y_label: str
    ranges: tuple[str, ...]
    """Ranges of depth in words."""
    counts: tuple[int, ...]
    """Events in each."""
    series: Mapping[str, tuple[Estimate, ...]]
    """One estimate per range, by method."""
    has_limit: bool = False
    """The first series is a curve; without it there is a line at 1, where the limit is."""

    def draw(self, ax: Axes) -> None:
        """Draw the limit as a curve and the methods as markers with error bars."""
        ax.set_title(self.title)
        ax.set_xlabel("w [cm]  ·  N")
        ax.set_ylabel(self.y_label)
        labels = [f"{w}\n{n}" for w, n in zip(self.ranges, self.counts, strict=True)]
        ax.set_xticks(range(len(labels)), labels, fontsize=5.8)
        if not self.has_limit:
            ax.axhline(1.0, color=GREY, linestyle="--", linewidth=0.9)
        methods = list(self.series)
        if self.has_limit:
            self._draw_curve(ax, methods.pop(0))
        for i, method in enumerate(methods):
            self._draw_markers(ax, method, _STYLES[i % len(_STYLES)], i - (len(methods) - 1) / 2)
        self._set_limits(ax)
        ax.legend(loc="upper left", ncols=2)

    def numbers(self) -> dict[str, Any]:
        """Return the estimates by method."""
        return {
            "x": "w [cm]",
            "y": self.y_label,
            "ranges": list(self.ranges),
            "n": list(self.counts),
            **{
                method: [estimate.numbers() for estimate in estimates]
                for method, estimates in self.series.items()
            },
        }

    def _draw_curve(self, ax: Axes, name: str) -> None:
        value, error = _arrays(self.series[name])
        x = np.arange(len(value))
        ax.errorbar(x, value, error, color="black", linewidth=1.2, capsize=2, label=name, zorder=2)

    def _draw_markers(self, ax: Axes, method: str, style: tuple[str, str], place: float) -> None:
        value, error = _arrays(self.series[method])
        colour, marker = style
        ax.errorbar(
            np.arange(len(value)) + _SPREAD * place,
            value,
            error,
            fmt=marker,
            color=colour,
            markersize=3.6,
            elinewidth=0.9,
            label=method,
            zorder=3,
        )

    def _all_arrays(self) -> list[tuple[Values, Values]]:
        return [_arrays(estimates) for estimates in self.series.values()]

    def _set_limits(self, ax: Axes) -> None:
        """Begin at zero and leave room for the legend; a bin of few events may stick out."""
        ends = [value + np.minimum(error, value / 2) for value, error in self._all_arrays()]
        shown = np.concatenate(ends)[np.isfinite(np.concatenate(ends))]
        if not shown.size:
            draw_note(ax, "too few events in every range of depth")
        n_lines = -(-len(self.series) // 2)
        highest = max(shown, default=1.0)
        if not self.has_limit:  # a line is drawn at one
            highest = max(highest, 1.0)
        ax.set_ylim(0, highest * (1.06 + 0.1 * n_lines))
        ax.set_xlim(-0.6, len(self.ranges) - 0.4)


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """What the panels of a page show."""

    name: str
    estimates: Callable[[EfficiencyRow], Mapping[str, Estimate]]
    has_limit: bool = False


def pages(table: EfficiencyTable) -> list[Page]:
    """Return the pages: resolution by both estimators, efficiency, pull."""
    if not table.rows:
        return [note_page("Physical limit", "nothing predicted that has a physical limit")]
    made = [
        _page(
            table,
            f"Resolution and physical limit, {name}",
            name,
            _Shown(name=name, estimates=lambda row: row.resolution, has_limit=True),
        )
        for name in (RMS, HALF_WIDTH)
    ]
    efficiency = _Shown(name="efficiency", estimates=lambda row: row.efficiency)
    pull = _Shown(name="RMS of pull", estimates=lambda row: row.pull)
    made.append(_page(table, "Efficiency: limit / resolution, RMS", RMS, efficiency))
    made.append(_page(table, "Pull: residual / limit of the event, RMS", RMS, pull))
    return made


def _page(table: EfficiencyTable, title: str, estimator: str, shown: _Shown) -> Page:
    panels: list[Panel] = []
    for quantity in _ORDER:
        rows = [row for row in table.rows if (row.quantity, row.estimator) == (quantity, estimator)]
        if rows:
            panels.append(_panel(rows, shown))
    grid = [tuple(panels[i : i + _PER_ROW]) for i in range(0, len(panels), _PER_ROW)]
    return Page(title=title, rows=tuple(grid))


def _panel(rows: Sequence[EfficiencyRow], shown: _Shown) -> DepthPanel:
    """Return a panel of one quantity from its row for all depths and those of the ranges."""
    whole, *ranges = sorted(rows, key=lambda row: row.depth_cm or (-1.0, 0.0))
    series = {_LIMIT: tuple(row.limit for row in ranges)} if shown.has_limit else {}
    series |= {
        method: tuple(shown.estimates(row)[method] for row in ranges) for method in whole.resolution
    }
    unit = f" [{whole.unit}]" if shown.has_limit else ""
    overall = estimate_text(shown.estimates(whole)[MODEL], whole.unit if shown.has_limit else "")
    return DepthPanel(
        key=f"{whole.quantity} {shown.name}",
        title=f"{whole.quantity}   ·   {MODEL}, all w: {overall}",
        y_label=f"{shown.name}{unit}",
        ranges=tuple(_range_text(row.depth_cm) for row in ranges if row.depth_cm),
        counts=tuple(row.n for row in ranges),
        series=series,
        has_limit=shown.has_limit,
    )


def _range_text(depth_cm: tuple[float, float]) -> str:
    low, high = depth_cm
    return f"> {low:g}" if high == DEPTH_EDGES_CM[-1] else f"{low:g}-{high:g}"


def _arrays(estimates: Sequence[Estimate]) -> tuple[Values, Values]:
    value = np.array([estimate.value for estimate in estimates], dtype=np.float64)
    error = np.array([estimate.error for estimate in estimates], dtype=np.float64)
    return value, np.nan_to_num(error)
