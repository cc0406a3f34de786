"""Panels of distributions of several methods as steps over one another."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes

from xec_pipeline.evaluation.plots.panels import draw_note
from xec_pipeline.evaluation.plots.style import GREY
from xec_pipeline.evaluation.resolution import Estimate, Values
from xec_pipeline.evaluation.text import estimate_text

_BINS: Final = 80
_PER_LEGEND_LINE: Final = 0.062


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """The values of one method."""

    label: str
    colour: str
    values: Values
    width: Estimate
    """Written behind the label."""


@dataclass(frozen=True, kw_only=True)
class OverlayPanel:
    """Shares of the readings per bin of an error, by method."""

    key: str
    title: str
    x_label: str
    unit: str
    readings: str
    """Which readings the methods have in common, and how many."""
    distributions: tuple[Distribution, ...]
    low: float
    high: float

    def draw(self, ax: Axes) -> None:
        """Draw steps and the widths."""
        ax.set_title(self.title)
        ax.set_xlabel(self.x_label)
        ax.set_ylabel("share of the readings per bin")
        if not any(len(one.values) for one in self.distributions):
            draw_note(ax, "no reading")
            return
        highest = 0.0
        for one in self.distributions:
            shares, edges = self._shares(one.values)
            highest = max(highest, float(shares.max()))
            label = f"{one.label}: {estimate_text(one.width, self.unit)}"
            ax.stairs(shares, edges, color=one.colour, label=label)
        title = f"{self.distributions[0].width.estimator},\n{self.readings}"
        n_lines = len(self.distributions) + len(title.splitlines())
        head = min(0.1 + _PER_LEGEND_LINE * n_lines, 0.6)
        ax.axvline(0, ymax=1 - head, color=GREY, linestyle="--", linewidth=0.9)
        ax.set_xlim(self.low, self.high)
        ax.set_ylim(0, max(highest, 1e-9) / (1 - head))
        ax.legend(loc="upper right", fontsize=6.5, title=title, title_fontsize=6.5)

    def numbers(self) -> dict[str, Any]:
        """Return shares, edges and widths."""
        drawn: dict[str, Any] = {"x": self.x_label, "readings": self.readings}
        for one in self.distributions:
            shares, edges = self._shares(one.values)
            drawn[one.label] = {
                "edges": edges.tolist(),
                "shares": shares.tolist(),
                "outside": int(((one.values < self.low) | (one.values > self.high)).sum()),
                "width": one.width.numbers(),
            }
        return drawn

    def _shares(self, values: Values) -> tuple[Values, Values]:
        contents, edges = np.histogram(values, _BINS, (self.low, self.high))
        return contents / max(len(values), 1), edges
