"""The kinds of panel that figures are put together from.

A panel holds numbers, ready in the unit of its axes. It draws itself on given Axes and returns the
numbers drawn, so that the JSON beside a figure cannot differ from the figure.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize

from xec_pipeline.evaluation.plots.style import BLUE, GREY, LIGHT_GREY, RED
from xec_pipeline.evaluation.profiles import MIN_EVENTS, Profile
from xec_pipeline.evaluation.resolution import CoreFit, Estimate, Values, finite
from xec_pipeline.evaluation.text import estimate_text, with_error

# The counts of events fill this part of a profile's panel.
_COUNT_SHARE: Final = 0.22
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
        _note(ax, self.text)

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
class Series:
    """One profile in a panel."""

    profile: Profile
    label: str = ""
    colour: str = BLUE
    marker: str = "o"


@dataclass(frozen=True, kw_only=True)
class ProfilePanel:
    """Profiles with their uncertainties over the numbers of events per bin."""

    key: str
    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    is_bias: bool = False
    """Draw a line at zero instead of beginning the axis there."""
    curve: Callable[[Values], Values] | None = None
    """Function drawn over the range of the points."""
    comment: str = ""
    """Text at the top of the panel."""
    fit: Mapping[str, Any] = field(default_factory=dict)
    """Numbers of the curve for the JSON."""

    def draw(self, ax: Axes) -> None:
        """Draw markers with error bars, the curve, and grey steps for the events per bin."""
        ax.set_title(self.title)
        ax.set_xlabel(self.x_label)
        ax.set_ylabel(self.y_label)
        low, high, share = self._limits()
        ax.set_ylim(low, high)
        _draw_counts(ax, self.series[0].profile, share)
        for series in self.series:
            _draw_points(ax, series)
        if self.is_bias:
            ax.axhline(0, color=GREY, linestyle="--", linewidth=0.9)
        self._draw_curve(ax)
        if self.comment:
            ax.text(0.03, 0.97, self.comment, transform=ax.transAxes, va="top", fontsize=7.5)
        if self._n_labels():
            ax.legend(loc="upper right")
        if not any(series.profile.is_drawn.any() for series in self.series):
            _note(ax, f"no bin holds {MIN_EVENTS} events")

    def numbers(self) -> dict[str, Any]:
        """Return the profiles, and the fit if there is one."""
        drawn: dict[str, Any] = {"x": self.x_label, "y": self.y_label}
        for i, series in enumerate(self.series):
            drawn[series.label or ("profile" if not i else f"profile {i}")] = (
                series.profile.numbers()
            )
        if self.fit:
            drawn["fit"] = dict(self.fit)
        return drawn

    def _draw_curve(self, ax: Axes) -> None:
        x = self.series[0].profile.x[self.series[0].profile.is_drawn]
        if self.curve is not None and len(x) > 1:
            grid = np.linspace(x.min(), x.max(), 100)
            ax.plot(grid, self.curve(grid), color=RED, zorder=4)

    def _limits(self) -> tuple[float, float, float]:
        """Return the ends of the axis and the part of it for the counts, with room for text."""
        low, high = _span(self.series)
        n_lines = max(self.comment.count("\n") + 1 if self.comment else 0, self._n_labels())
        head = 0.06 + 0.07 * n_lines
        if self.is_bias:
            height = (high - low) / (1 - head - _COUNT_SHARE - 0.05)
            return low - (_COUNT_SHARE + 0.05) * height, high + head * height, _COUNT_SHARE
        # Widths begin at zero, and the counts stay below the lowest point.
        top = high / (1 - head)
        return 0.0, top, float(np.clip(0.85 * low / top, 0.1, _COUNT_SHARE))

    def _n_labels(self) -> int:
        return sum(bool(series.label) for series in self.series)


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
    log_y: bool = False

    def draw(self, ax: Axes) -> None:
        """Draw steps, the fitted curve over its range, the marks and the text."""
        ax.set_title(self.title)
        ax.set_xlabel(self.x_label)
        ax.set_ylabel("events per bin")
        contents, edges = self._histogram()
        ax.stairs(contents, edges, fill=True, color=BLUE, alpha=0.25)
        ax.stairs(contents, edges, color=BLUE)
        self._draw_core(ax, edges[1] - edges[0])
        for position, colour in self.marks:
            # Not through the text above.
            top = 1 - self._text_share()
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
        share = self._text_share()
        if not self.log_y:
            ax.set_ylim(0, max(highest, 1.0) / (1 - share))
            return
        ax.set_yscale("log")
        decades = max(np.log10(max(highest, 1.0)), 0.5) + 0.3
        ax.set_ylim(0.5, 0.5 * 10 ** (decades / (1 - share)))

    def _text_share(self) -> float:
        """Return the part of the height that the text takes."""
        return 0.07 + 0.052 * len(self._text().splitlines())

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
        sigma = with_error(core.sigma.value, core.sigma.error)
        return rf"core $\sigma$: {sigma} {self.unit}, χ²/ndf = {core.chi2:.0f}/{core.ndf}"


@dataclass(frozen=True, kw_only=True)
class ScatterPanel:
    """Predicted against true value as a two-dimensional histogram with the line y = x."""

    key: str
    title: str
    x_label: str
    y_label: str
    true: Values
    predicted: Values

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
        bar.set_label("events", labelpad=1)
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
        n_bins = int(np.clip(np.sqrt(len(self.true)), 20, 100))
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


def residual_range(values: Values, *, half_widths: float = 6.0) -> tuple[float, float]:
    """Return a range that shows the distribution: median -+ `half_widths` half widths.

    The full range if it is narrower, so that a few events do not make an empty figure.
    """
    kept = finite(values)
    if not len(kept):
        return -1.0, 1.0
    low, centre, high = np.quantile(kept, (0.15865, 0.5, 0.84135))
    reach = half_widths * (high - low) / 2
    first, last = max(centre - reach, kept.min()), min(centre + reach, kept.max())
    if last - first <= 1e-9 * max(abs(first), abs(last), 1e-3):
        margin = max(0.1 * abs(centre), 1.0)
        return float(centre - margin), float(centre + margin)
    margin = 0.02 * (last - first)
    return float(first - margin), float(last + margin)


def _draw_points(ax: Axes, series: Series) -> None:
    profile, shown = series.profile, series.profile.is_drawn
    x, value = profile.x[shown], profile.value[shown]
    reach = [x - profile.edges[:-1][shown], profile.edges[1:][shown] - x]
    ax.errorbar(
        x,
        value,
        xerr=reach,
        yerr=np.nan_to_num(profile.error[shown]),
        fmt=series.marker,
        color=series.colour,
        markersize=3.8,
        elinewidth=0.9,
        label=series.label or None,
        zorder=3,
    )


def _draw_counts(ax: Axes, profile: Profile, share: float) -> None:
    """Draw the events per bin as grey steps at the bottom, with their own axis at the right."""
    counts_ax = ax.twinx()
    counts_ax.grid(visible=False)
    counts_ax.stairs(profile.n, profile.edges, color=LIGHT_GREY, fill=True, alpha=0.45)
    highest = max(int(profile.n.max(initial=0)), 1)
    counts_ax.set_ylim(0, highest / share)
    counts_ax.set_yticks([0, highest])
    counts_ax.tick_params(colors=GREY, labelsize=6.5, length=2)
    counts_ax.set_ylabel("N per bin", color=GREY, fontsize=6.5, loc="bottom")
    counts_ax.yaxis.set_label_coords(1.12, 0.0)
    ax.set_zorder(counts_ax.get_zorder() + 1)
    ax.patch.set_visible(False)


def _span(series: tuple[Series, ...]) -> tuple[float, float]:
    """Return the lowest and highest end of all error bars, never equal."""
    ends = [
        end
        for one in series
        for sign in (-1, 1)
        for end in (one.profile.value + sign * np.nan_to_num(one.profile.error))
        if np.isfinite(end)
    ]
    low, high = (min(ends), max(ends)) if ends else (0.0, 1.0)
    if high - low <= 1e-12 * max(abs(low), abs(high), 1e-9):
        margin = max(0.5 * abs(high), 1e-3)
        return low - margin, high + margin
    return low, high


def _count_norm(contents: Values) -> Normalize:
    highest = float(contents.max(initial=0))
    if highest < _LOG_COUNTS_FROM:
        return Normalize(vmin=0, vmax=max(highest, 1.0))
    return LogNorm(vmin=1, vmax=highest)


def _note(ax: Axes, text: str) -> None:
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
