"""Panels of predicted against true counts over decades."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm

from xec_pipeline.evaluation.plots.panels import ScatterPanel, draw_note
from xec_pipeline.evaluation.plots.style import RED
from xec_pipeline.evaluation.resolution import Values

_BINS: Final = 60


@dataclass(frozen=True, kw_only=True)
class LogScatterPanel(ScatterPanel):
    """Predicted against true counts as a two-dimensional histogram with the line y = x."""

    lowest: float = 10.0
    """Where both axes begin [photons]; dimmer readings are counted only."""

    def draw(self, ax: Axes) -> None:
        """Draw the histogram with a colour bar."""
        ax.set_title(self.title)
        contents, edges = self._histogram()
        if not contents.any():
            ax.set_axis_off()
            draw_note(ax, f"no reading above {self.lowest:g} photons")
            return
        ax.set(xlabel=self.x_label, ylabel=self.y_label, xscale="log", yscale="log")
        ax.grid(visible=False)
        shown = np.where(contents > 0, contents, np.nan).T
        norm = LogNorm(vmin=1, vmax=max(float(contents.max()), 2))
        # As thousands of rectangles it would take long to write.
        mesh = ax.pcolormesh(edges, edges, shown, norm=norm, rasterized=True)
        bar = ax.figure.colorbar(mesh, cax=ax.inset_axes((1.03, 0.0, 0.04, 1.0)))
        bar.ax.set_title(self.counted, fontsize=6.5, pad=3)
        ends = (edges[0], edges[-1])
        ax.plot(ends, ends, color=RED, linestyle="--", linewidth=0.9)
        ax.set(xlim=ends, ylim=ends)
        text = f"N = {len(self.true)}, {self._n_outside()} outside"
        ax.text(0.03, 0.97, text, transform=ax.transAxes, va="top", fontsize=7.2)

    def _histogram(self) -> tuple[Values, Values]:
        highest = max(float(self.true.max(initial=0.0)), 10 * self.lowest)
        edges = np.geomspace(self.lowest, 1.2 * highest, _BINS + 1)
        contents, _, _ = np.histogram2d(self.true, self.predicted, (edges, edges))
        return contents, edges

    def _n_outside(self) -> int:
        return len(self.true) - int(self._histogram()[0].sum())
