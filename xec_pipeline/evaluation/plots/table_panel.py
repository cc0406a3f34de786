"""Panels of numbers in rows and columns."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from matplotlib.axes import Axes

from xec_pipeline.evaluation.plots.style import GREY

_LABELS: Final = 0.24
"""Part of the width that the labels of the rows take."""


@dataclass(frozen=True, kw_only=True)
class TablePanel:
    """Text cells under headings, with notes below; the JSON has the numbers themselves."""

    key: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    """Label, and a cell for each column."""
    notes: tuple[str, ...] = ()
    content: Mapping[str, Any] = field(default_factory=dict)

    def draw(self, ax: Axes) -> None:
        """Write the cells from the top, evenly."""
        ax.set_axis_off()
        ax.set_title(self.title)
        step = 1.0 / (len(self.rows) + len(self.notes) + 2.0)
        ends = self._ends()
        top = 1 - step
        for end, name in zip(ends, self.columns, strict=True):
            ax.text(
                end, top, name, transform=ax.transAxes, ha="right", va="bottom", fontweight="bold"
            )
        ax.plot([0, 1], [top - step / 4] * 2, color=GREY, linewidth=0.7, transform=ax.transAxes)
        for i, (label, cells) in enumerate(self.rows):
            y = top - step * (i + 1.1)
            ax.text(0.0, y, label, transform=ax.transAxes)
            for end, cell in zip(ends, cells, strict=True):
                ax.text(end, y, cell, transform=ax.transAxes, ha="right")
        for i, note in enumerate(self.notes):
            y = top - step * (len(self.rows) + i + 1.3)
            ax.text(0.0, y, note, transform=ax.transAxes, fontsize=7, color=GREY)
        ax.set_xlim(0, 1)
        ax.set_ylim(0, 1)

    def numbers(self) -> dict[str, Any]:
        """Return the numbers behind the cells."""
        return dict(self.content)

    def _ends(self) -> list[float]:
        width = (1 - _LABELS) / max(len(self.columns), 1)
        return [_LABELS + width * (i + 1) for i in range(len(self.columns))]
