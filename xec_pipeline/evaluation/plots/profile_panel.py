"""Panels of profiles: estimates in bins of a variable over the number of events in each bin."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes

from xec_pipeline.evaluation.gaussian_core import CORE, MIN_FOR_CORE_FIT
from xec_pipeline.evaluation.plots.panels import draw_note
from xec_pipeline.evaluation.plots.style import BLUE, GREY, LIGHT_GREY, RED
from xec_pipeline.evaluation.profiles import MIN_EVENTS, Profile
from xec_pipeline.evaluation.resolution import Values

# The counts of events fill this part of a panel.
_COUNT_SHARE: Final = 0.22
_X_MARGIN: Final = 0.04
_SCALE: Final[Mapping[str, Any]] = {"color": GREY, "clip_on": False}


@dataclass(frozen=True, kw_only=True)
class Series:
    """One profile in a panel."""

    profile: Profile
    label: str = ""
    """Text of the legend; empty to leave it out."""
    key: str = ""
    """Name in the JSON; by default the label."""
    colour: str = BLUE
    marker: str = "o"


@dataclass(frozen=True, kw_only=True)
class BinnedValues:
    """What the bins of a profile hold."""

    values: tuple[Values, ...]
    """The values of each bin."""
    label: str
    """Of an axis along them."""
    unit: str


@dataclass(frozen=True, kw_only=True)
class ProfilePanel:
    """Profiles with their uncertainties over the numbers of events per bin."""

    key: str
    title: str
    x_label: str
    y_label: str
    series: tuple[Series, ...]
    subtitle: str = ""
    """Second line of the title."""
    is_bias: bool = False
    """Draw a line at zero instead of beginning the axis there."""
    curve: Callable[[Values], Values] | None = None
    """Function drawn over the range of the points."""
    comment: str = ""
    """Text at the top of the panel."""
    fit: Mapping[str, Any] = field(default_factory=dict)
    """Numbers of the curve for the JSON."""
    binned: BinnedValues | None = None
    """Of the first series, to draw the distribution in every bin."""

    def draw(self, ax: Axes) -> None:
        """Draw markers with error bars, the curve, and grey steps for the events per bin."""
        ax.set_title(f"{self.title}\n{self.subtitle}" if self.subtitle else self.title)
        ax.set_xlabel(self.x_label)
        ax.set_ylabel(self.y_label)
        low, high, share = self._limits()
        ax.set_ylim(low, high)
        draw_counts(ax, self.series[0].profile, share)
        for series in self.series:
            draw_points(ax, series)
        if self.is_bias:
            ax.axhline(0, color=GREY, linestyle="--", linewidth=0.9)
        self._draw_curve(ax)
        if self.comment:
            ax.text(0.03, 0.97, self.comment, transform=ax.transAxes, va="top", fontsize=7.5)
        if self._n_labels():
            ax.legend(loc="upper right")
        if not any(series.profile.is_drawn.any() for series in self.series):
            draw_note(ax, self._nothing())

    def numbers(self) -> dict[str, Any]:
        """Return the profiles, and the fit if there is one."""
        drawn: dict[str, Any] = {"x": self.x_label, "y": self.y_label}
        for i, series in enumerate(self.series):
            unnamed = "profile" if not i else f"profile {i}"
            drawn[series.key or series.label or unnamed] = series.profile.numbers()
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
            low, high = min(low, 0.0), max(high, 0.0)
            height = (high - low) / (1 - head - _COUNT_SHARE - 0.05)
            return low - (_COUNT_SHARE + 0.05) * height, high + head * height, _COUNT_SHARE
        # Widths begin at zero, and the counts stay below the lowest point.
        top = high / (1 - head)
        return 0.0, top, float(np.clip(0.85 * low / top, 0.1, _COUNT_SHARE))

    def _nothing(self) -> str:
        fewest = MIN_FOR_CORE_FIT if self.series[0].profile.estimator in CORE else MIN_EVENTS
        return f"no bin holds {fewest} events"

    def _n_labels(self) -> int:
        return sum(bool(series.label) for series in self.series)


def draw_points(ax: Axes, series: Series) -> None:
    """Draw a profile as markers with the widths of the bins and the uncertainties."""
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


def draw_counts(ax: Axes, profile: Profile, share: float) -> None:
    """Draw the events per bin as grey steps over the bottom `share` of `ax`, and their scale.

    In parts of the height, as axes of their own would take longer to draw than all the rest.
    """
    highest = max(int(profile.n.max(initial=0)), 1)
    in_height = ax.get_xaxis_transform()
    ax.stairs(
        share * profile.n / highest,
        profile.edges,
        color=LIGHT_GREY,
        fill=True,
        alpha=0.45,
        linewidth=0,
        transform=in_height,
        zorder=0.5,
    )
    _limit_to(ax, profile.edges)
    for height, text in ((0.0, "0"), (share, str(highest))):
        ax.plot([1, 1.012], [height] * 2, **_SCALE, linewidth=0.8, transform=ax.transAxes)
        ax.text(1.02, height, text, **_SCALE, fontsize=6.5, va="center", transform=ax.transAxes)
    ax.text(
        1.1,
        0.0,
        "N per bin",
        **_SCALE,
        fontsize=6.5,
        rotation=90,
        va="bottom",
        transform=ax.transAxes,
    )


def _limit_to(ax: Axes, edges: Values) -> None:
    low, high = float(edges[0]), float(edges[-1])
    if ax.get_xscale() == "log":
        margin = (high / low) ** _X_MARGIN
        ax.set_xlim(low / margin, high * margin)
    else:
        margin = _X_MARGIN * (high - low)
        ax.set_xlim(low - margin, high + margin)


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
