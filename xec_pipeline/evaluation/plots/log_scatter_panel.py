"""Panels of predicted against true counts over decades."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm

from xec_pipeline.evaluation.plots.panels import draw_note
from xec_pipeline.evaluation.plots.style import RED
from xec_pipeline.evaluation.resolution import Values

_BINS: Final = 60


@dataclass(frozen=True, kw_only=True)
class LogScatterPanel:
    """Predicted against true counts as a two-dimensional histogram with the line y = x."""

    key: str
    title: str
    x_label: str
    y_label: str
    true: Values
    predicted: Values
    lowest: float
    """Where both axes begin [photons]; dimmer sensors are counted only."""

    def draw(self, ax: Axes) -> None:
        """Draw the histogram with a colour bar."""
        ax.set_title(self.title)
        ax.set_xlabel(self.x_label)
        ax.set_ylabel(self.y_label)
        contents, edges = self._histogram()
        if not contents.any():
            draw_note(ax, f"no sensor above {self.lowest:g} photons")
            return
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.grid(visible=False)
        shown = np.where(contents > 0, contents, np.nan).T
        norm = LogNorm(vmin=1, vmax=max(float(contents.max()), 2))
        mesh = ax.pcolormesh(edges, edges, shown, norm=norm, rasterized=True)
        bar = ax.figure.colorbar(mesh, cax=ax.inset_axes((1.03, 0.0, 0.04, 1.0)))
        bar.ax.set_title("sensors", fontsize=6.5, pad=3)
        ends = [edges[0], edges[-1]]
        ax.plot(ends, ends, color=RED, linestyle="--", linewidth=0.9)
        ax.set_xlim(*ends)
        ax.set_ylim(*ends)
        text = f"N = {len(self.true)}, {self._n_outside(edges)} outside"
        ax.text(0.03, 0.97, text, transform=ax.transAxes, va="top", fontsize=7.2)

    def numbers(self) -> dict[str, Any]:
        """Return range and counts; the sensors themselves are in the ROOT file."""
        _, edges = self._histogram()
        return {
            "x": self.x_label,
            "y": self.y_label,
            "range": [float(edges[0]), float(edges[-1])],
            "bins": len(edges) - 1,
            "n": len(self.true),
            "outside": self._n_outside(edges),
        }

    def _histogram(self) -> tuple[Values, Values]:
        highest = max(float(self.true.max(initial=0.0)), 10 * self.lowest)
        edges = np.geomspace(self.lowest, 1.2 * highest, _BINS + 1)
        contents, _, _ = np.histogram2d(self.true, self.predicted, (edges, edges))
        return contents, edges

    def _n_outside(self, edges: Values) -> int:
        inside = [(one >= edges[0]) & (one <= edges[-1]) for one in (self.true, self.predicted)]
        return int((~(inside[0] & inside[1])).sum())
