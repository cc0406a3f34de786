"""Panels of distributions."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from xec_pipeline.evaluation.gaussian_core import CoreFit
from xec_pipeline.evaluation.plots.style import BLUE, RED
from xec_pipeline.evaluation.resolution import CENTRAL, Estimate, Values, finite
from xec_pipeline.evaluation.text import estimate_text

_LINE_INCH: Final = 0.125
"""Height of a line of text."""


@dataclass(frozen=True, kw_only=True)
class HistogramPanel:
    """A distribution with its core fit, marked values and estimates."""

    key: str
    title: str
    x_label: str
    values: Values
    low: float
    high: float
    lines: tuple[tuple[str, Estimate], ...] = ()
    """Estimates listed in the panel."""
    marks: tuple[tuple[float, str], ...] = ()
    """Positions and colours of vertical lines."""
    unit: str = ""
    core: CoreFit | None = None
    with_core_mean: bool = False
    """Write the mean of the core fit too."""
    span: tuple[float, float] | None = None
    """Interval to shade."""
    log_y: bool = False
    counted: str = "events"
    """What a bin counts."""

    def draw(self, ax: Axes) -> None:
        """Draw steps, the fitted curve over its range, the marks and the text."""
        ax.set_title(self.title)
        ax.set_xlabel(self.x_label)
        ax.set_ylabel(f"{self.counted} per bin")
        contents, edges = self._histogram()
        ax.stairs(contents, edges, fill=True, color=BLUE, alpha=0.25)
        ax.stairs(contents, edges, color=BLUE)
        if self.span is not None:
            ax.axvspan(*self.span, color=RED, alpha=0.15, linewidth=0)
        self._draw_core(ax, edges[1] - edges[0])
        for position, colour in self.marks:
            # Not through the text above.
            top = 1 - self._text_share(ax)
            ax.axvline(position, ymax=top, color=colour, linestyle="--", linewidth=0.9)
        self._set_limits(ax, float(contents.max(initial=0)))
        ax.text(0.02, 0.98, self._text(), transform=ax.transAxes, va="top", fontsize=7.2)

    def numbers(self) -> dict[str, Any]:
        """Return contents, edges, estimates and fit."""
        contents, edges = self._histogram()
        drawn: dict[str, Any] = {
            "x": self.x_label,
            "edges": edges.tolist(),
            "contents": contents.tolist(),
            "outside": self._n_outside(),
            "n": len(self.values),
        }
        drawn |= {label: estimate.numbers() for label, estimate in self.lines}
        if self.core is not None:
            drawn["core fit"] = self.core.numbers()
        return drawn

    def _histogram(self) -> tuple[Values, Values]:
        n_bins = int(np.clip(2 * np.sqrt(len(self.values)), 20, 100))
        contents, edges = np.histogram(self.values, n_bins, (self.low, self.high))
        return contents.astype(np.float64), edges

    def _n_outside(self) -> int:
        return int(((self.values < self.low) | (self.values > self.high)).sum())

    def _draw_core(self, ax: Axes, bin_width: float) -> None:
        if self.core is None or self.core.note:
            return
        x = np.linspace(self.core.low, self.core.high, 200)
        ax.plot(x, self.core.density(x) * bin_width, color=RED)

    def _set_limits(self, ax: Axes, highest: float) -> None:
        ax.set_xlim(self.low, self.high)
        share = self._text_share(ax)
        if not self.log_y:
            ax.set_ylim(0, max(highest, 1.0) / (1 - share))
            return
        ax.set_yscale("log")
        # Every tick takes a while to draw; those of the default are eight between two decades.
        ax.yaxis.set_minor_locator(LogLocator(subs=(2.0, 5.0)))
        ax.yaxis.set_minor_formatter(NullFormatter())
        decades = max(np.log10(max(highest, 1.0)), 0.5) + 0.3
        ax.set_ylim(0.5, 0.5 * 10 ** (decades / (1 - share)))

    def _text_share(self, ax: Axes) -> float:
        """Return the part of the height that the text takes."""
        height = ax.bbox.height / ax.figure.dpi
        return min(0.07 + _LINE_INCH / height * len(self._text().splitlines()), 0.7)

    def _text(self) -> str:
        outside = self._n_outside()
        lines = [f"N = {len(self.values)}" + (f" ({outside} outside)" if outside else "")]
        lines += [f"{label}: {estimate_text(value, self.unit)}" for label, value in self.lines]
        if self.core is not None:
            lines.append(self._core_text(self.core))
        return "\n".join(lines)

    def _core_text(self, core: CoreFit) -> str:
        if core.note:
            return f"no core fit: {core.note}"
        sigma = f"core σ: {estimate_text(core.sigma, self.unit)}"
        quality = f"χ²/ndf = {core.chi2:.0f}/{core.ndf}"
        if not self.with_core_mean:
            return f"{sigma}, {quality}"
        return f"core mean: {estimate_text(core.mean, self.unit)}\n{sigma}\n{quality}"


def residual_range(values: Values, *, half_widths: float = 6.0) -> tuple[float, float]:
    """Return a range that shows the distribution: median -+ `half_widths` half widths.

    The full range if it is narrower, so that a few events do not make an empty figure.
    """
    kept = finite(values)
    if not len(kept):
        return -1.0, 1.0
    low, centre, high = np.quantile(kept, (CENTRAL[0], 0.5, CENTRAL[1]))
    reach = half_widths * (high - low) / 2
    first, last = max(centre - reach, kept.min()), min(centre + reach, kept.max())
    if last - first <= 1e-9 * max(abs(first), abs(last), 1e-3):
        margin = max(0.1 * abs(centre), 1.0)
        return float(centre - margin), float(centre + margin)
    margin = 0.02 * (last - first)
    return float(first - margin), float(last + margin)
