"""Panels of errors against the signal: profiles of several methods, and the floor as a line."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from xec_pipeline.evaluation.masked_metrics import MIN_PER_BIN
from xec_pipeline.evaluation.plots.panels import draw_note
from xec_pipeline.evaluation.plots.profile_panel import Series, draw_counts, draw_points
from xec_pipeline.evaluation.plots.style import GREY
from xec_pipeline.evaluation.profiles import Profile
from xec_pipeline.evaluation.resolution import Values

_COUNT_SHARE: Final = 0.2
_PER_LEGEND_LINE: Final = 0.055
_SHOWN: Final = 0.02
"""Part of the points that may lie outside a linear axis at each end."""


@dataclass(frozen=True, kw_only=True)
class FloorLine:
    """A profile drawn as a line: what no method can go below."""

    profile: Profile
    label: str
    style: str = "--"


@dataclass(frozen=True, kw_only=True)
class SignalPanel:
    """Profiles of methods against the signal over the number of readings per bin."""

    key: str
    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    floors: tuple[FloorLine, ...] = ()
    log_x: bool = True
    is_bias: bool = False
    """Draw a linear axis around zero instead of a logarithmic one."""
    with_legend: bool = True

    def draw(self, ax: Axes) -> None:
        """Draw markers with error bars, lines, and grey steps for the readings per bin."""
        ax.set_title(self.title)
        if not any(one.profile.is_drawn.any() for one in self.series):
            ax.set_axis_off()
            draw_note(ax, f"no bin holds {MIN_PER_BIN} readings")
            return
        ax.set_xlabel(self.x_label)
        ax.set_ylabel(self.y_label)
        self._set_axes(ax)
        draw_counts(ax, self.series[0].profile, _COUNT_SHARE)
        for floor in self.floors:
            shown = floor.profile.is_drawn
            x, value = floor.profile.x[shown], floor.profile.value[shown]
            ax.plot(x, value, floor.style, color="black", linewidth=1.0, label=floor.label)
        for series in self.series:
            draw_points(ax, series)
        if self.is_bias:
            ax.axhline(0, color=GREY, linestyle="--", linewidth=0.9)
        if self.with_legend:
            ax.legend(loc="upper right", ncols=2, fontsize=6.5, columnspacing=1.0)

    def numbers(self) -> dict[str, Any]:
        """Return all profiles."""
        drawn: dict[str, Any] = {"x": self.x_label, "y": self.y_label}
        drawn |= {one.label: one.profile.numbers() for one in self.series}
        return drawn | {one.label: one.profile.numbers() for one in self.floors}

    def _set_axes(self, ax: Axes) -> None:
        if self.log_x:
            ax.set_xscale("log")
            ax.xaxis.set_minor_locator(NullLocator())
        head = 0.05 + (_PER_LEGEND_LINE * ((self._n_labels() + 1) // 2) if self.with_legend else 0)
        if self.is_bias:
            low, high = self._linear_span()
            height = (high - low) / (1 - head - _COUNT_SHARE - 0.03)
            ax.set_ylim(low - (_COUNT_SHARE + 0.03) * height, high + head * height)
            return
        low, high = np.log10(self._log_span())
        height = max(high - low, 0.3) / (1 - head - _COUNT_SHARE - 0.03)
        bottom, top = low - (_COUNT_SHARE + 0.03) * height, high + head * height
        ax.set_yscale("log")
        ax.set_ylim(10**bottom, 10**top)
        _label_log_axis(ax, top - bottom)

    def _n_labels(self) -> int:
        return len(self.series) + len(self.floors)

    def _values(self) -> Values:
        profiles = [one.profile for one in self.series] + [one.profile for one in self.floors]
        values: Values = np.concatenate([one.value[one.is_drawn] for one in profiles])
        return values

    def _log_span(self) -> tuple[float, float]:
        values = self._values()
        positive = values[values > 0]
        return (float(positive.min()), float(positive.max())) if len(positive) else (0.1, 1.0)

    def _linear_span(self) -> tuple[float, float]:
        """Return the range of all points; a method that is far off does not flatten the others."""
        values = np.append(self._values(), 0.0)
        low, high = np.quantile(values, (_SHOWN, 1 - _SHOWN))
        margin = max(0.05 * (high - low), 1e-9)
        return float(low - margin), float(high + margin)


def _label_log_axis(ax: Axes, decades: float) -> None:
    """Write plain numbers, also between the powers of ten if there are few."""
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    steps = (1.0, 2.0, 5.0) if decades < 2.5 else (1.0,)
    ax.yaxis.set_major_locator(LogLocator(subs=steps))
    ax.yaxis.set_major_formatter(plain)
    ax.yaxis.set_minor_locator(NullLocator())
