"""The kinds of panel that figures are put together from: notes, estimates as text, scatter.

A panel holds numbers, ready in the unit of its axes. It draws itself on given Axes and returns the
numbers drawn, so that the JSON beside a figure cannot differ from the figure. Profiles and
histograms have modules of their own.
"""

from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize

from xec_pipeline.evaluation.plots.style import GREY, RED
from xec_pipeline.evaluation.resolution import Estimate, Values
from xec_pipeline.evaluation.text import estimate_text

_LOG_COUNTS_FROM: Final = 20


class Panel(Protocol):
    """One pair of axes of a figure."""

    @property
    def key(self) -> str:
        """Name of the panel in the JSON."""

    def draw(self, ax: Axes) -> None:
        """Draw on `ax`."""

    def numbers(self) -> dict[str, Any]:
        """Return the numbers drawn."""


@dataclass(frozen=True, kw_only=True)
class NotePanel:
    """A sentence in place of a drawing."""

    key: str
    text: str
    title: str = ""

    def draw(self, ax: Axes) -> None:
        """Write the sentence in the middle."""
        ax.set_axis_off()
        ax.set_title(self.title)
        draw_note(ax, self.text)

    def numbers(self) -> dict[str, Any]:
        """Return the sentence."""
        return {"note": self.text}


@dataclass(frozen=True, kw_only=True)
class SummaryPanel:
    """Estimates over all events as lines of text."""

    key: str
    title: str
    lines: tuple[tuple[str, Estimate, str], ...]
    """Label, estimate, unit."""

    def draw(self, ax: Axes) -> None:
        """Write the lines from the top."""
        ax.set_axis_off()
        ax.set_title(self.title)
        for i, (label, estimate, unit) in enumerate(self.lines):
            y = 0.93 - 0.085 * i
            ax.text(0.03, y, label, transform=ax.transAxes, va="top")
            text = estimate_text(estimate, unit)
            ax.text(0.97, y, text, transform=ax.transAxes, va="top", ha="right")

    def numbers(self) -> dict[str, Any]:
        """Return the estimates with their units."""
        return {label: {**estimate.numbers(), "unit": unit} for label, estimate, unit in self.lines}


@dataclass(frozen=True, kw_only=True)
class ScatterPanel:
    """Predicted against true value as a two-dimensional histogram with the line y = x."""

    key: str
    title: str
    x_label: str
    y_label: str
    true: Values
    predicted: Values
    counted: str = "events"
    """What a point is."""
    bins: int | None = None
    """Along each axis; None lets the number of events decide."""

    def draw(self, ax: Axes) -> None:
        """Draw the histogram with a colour bar."""
        ax.set_title(self.title)
        ax.set_xlabel(self.x_label)
        ax.set_ylabel(self.y_label)
        ax.grid(visible=False)
        contents, edges = self._histogram()
        low, high = edges[0], edges[-1]
        image = ax.imshow(
            np.where(contents > 0, contents, np.nan).T,
            origin="lower",
            extent=(low, high, low, high),
            aspect="equal",
            interpolation="nearest",
            norm=_count_norm(contents),
        )
        bar = ax.figure.colorbar(image, cax=ax.inset_axes((1.03, 0.0, 0.04, 1.0)))
        bar.set_label(self.counted, labelpad=1)
        bar.minorticks_off()
        ax.plot([low, high], [low, high], color=RED, linestyle="--", linewidth=0.9)
        ax.set_xlim(low, high)
        ax.set_ylim(low, high)
        if self._n_outside():
            ax.text(0.03, 0.97, f"{self._n_outside()} outside", transform=ax.transAxes, va="top")

    def numbers(self) -> dict[str, Any]:
        """Return range, counts and correlation; the events themselves are in the CSV."""
        _, edges = self._histogram()
        return {
            "x": self.x_label,
            "y": self.y_label,
            "range": [float(edges[0]), float(edges[-1])],
            "bins": len(edges) - 1,
            "n": len(self.true),
            "outside": self._n_outside(),
        }

    def _histogram(self) -> tuple[Values, Values]:
        low, high = self._range()
        n_bins = self.bins or int(np.clip(np.sqrt(len(self.true)), 20, 100))
        contents, edges, _ = np.histogram2d(
            self.true, self.predicted, n_bins, ((low, high), (low, high))
        )
        return contents, edges

    def _range(self) -> tuple[float, float]:
        """Cover the truth and all but one per mille of the predictions at each side."""
        ends = np.quantile(self.predicted, (0.001, 0.999))
        low = min(float(self.true.min()), float(ends[0]))
        high = max(float(self.true.max()), float(ends[1]))
        margin = max(0.02 * (high - low), 1e-6 * max(abs(low), abs(high)), 1e-9)
        return low - margin, high + margin

    def _n_outside(self) -> int:
        low, high = self._range()
        return int(((self.predicted < low) | (self.predicted > high)).sum())


def draw_note(ax: Axes, text: str) -> None:
    """Write a grey sentence in the middle of `ax`."""
    ax.text(
        0.5,
        0.5,
        text,
        transform=ax.transAxes,
        ha="center",
        va="center",
        color=GREY,
        style="italic",
        wrap=True,
    )


def _count_norm(contents: Values) -> Normalize:
    highest = float(contents.max(initial=0))
    if highest < _LOG_COUNTS_FROM:
        return Normalize(vmin=0, vmax=max(highest, 1.0))
    return LogNorm(vmin=1, vmax=highest)
