"""Panels that compare methods by bars with uncertainties."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from matplotlib.axes import Axes

from xec_pipeline.evaluation.plots.panels import draw_note
from xec_pipeline.evaluation.resolution import Estimate
from xec_pipeline.evaluation.text import with_error

_GROUP_WIDTH: Final = 0.84
_TEXT_ROOM: Final = 2.8
"""The axis is that much longer than the longest bar, for the text behind it."""
_PER_LEGEND_LINE: Final = 0.06


@dataclass(frozen=True, kw_only=True)
class Bars:
    """One method in all groups."""

    label: str
    colour: str
    entries: Mapping[str, Estimate]
    """By group."""
    is_conventional: bool = False
    """Hatched: not a network."""

    @property
    def hatch(self) -> str | None:
        """Pattern of the bars."""
        return "////" if self.is_conventional else None


@dataclass(frozen=True, kw_only=True)
class RankingPanel:
    """The methods of one group as horizontal bars, the best at the top."""

    key: str
    title: str
    x_label: str
    bars: tuple[Bars, ...]
    group: str

    def draw(self, ax: Axes) -> None:
        """Draw the bars with their values."""
        ax.set_title(self.title)
        ax.set_xlabel(self.x_label)
        ranked = self._ranked()
        if not ranked:
            draw_note(ax, "no method with enough readings")
            return
        highest = max(one.entries[self.group].value for one in ranked)
        for i, one in enumerate(ranked):
            entry = one.entries[self.group]
            _bar(ax.barh, i, entry, one, horizontal=True)
            text = f" {one.label}: {with_error(entry.value, entry.error)}"
            end = entry.value + np.nan_to_num(entry.error)
            ax.text(end, i, text, va="center", fontsize=7)
        ax.set_yticks([])
        ax.set_xlim(0, _TEXT_ROOM * highest)
        ax.set_ylim(len(ranked) - 0.4, -0.6)

    def numbers(self) -> dict[str, Any]:
        """Return the estimates by method."""
        drawn: dict[str, Any] = {"x": self.x_label}
        return drawn | {one.label: one.entries[self.group].numbers() for one in self.bars}

    def _ranked(self) -> list[Bars]:
        known = [one for one in self.bars if np.isfinite(one.entries[self.group].value)]
        return sorted(known, key=lambda one: one.entries[self.group].value)


@dataclass(frozen=True, kw_only=True)
class GroupedBarPanel:
    """All methods side by side in each group."""

    key: str
    title: str
    y_label: str
    bars: tuple[Bars, ...]
    n_sensors: Mapping[str, int]
    """Groups, with the number of different sensors in each."""

    @property
    def groups(self) -> tuple[str, ...]:
        """Names of the groups."""
        return tuple(self.n_sensors)

    def draw(self, ax: Axes) -> None:
        """Draw the groups."""
        ax.set_title(self.title)
        ax.set_ylabel(self.y_label)
        width = _GROUP_WIDTH / len(self.bars)
        highest = 0.0
        for j, one in enumerate(self.bars):
            for i, group in enumerate(self.groups):
                entry = one.entries[group]
                if np.isfinite(entry.value):
                    at = i + (j + 0.5) * width - _GROUP_WIDTH / 2
                    _bar(ax.bar, at, entry, one, horizontal=False, width=width)
                    highest = max(highest, entry.value + np.nan_to_num(entry.error))
            # An empty bar for the legend, whether or not a group has one.
            ax.bar([0], [0], color=one.colour, hatch=one.hatch, alpha=0.75, label=one.label)
        ax.set_xlabel("face / readings / sensors", labelpad=1, fontsize=7.5)
        ax.set_xticks(range(len(self.groups)), self._group_labels(), fontsize=6.5)
        ax.grid(visible=False, axis="x")
        head = 0.06 + _PER_LEGEND_LINE * ((len(self.bars) + 1) // 2)
        ax.set_ylim(0, (highest or 1.0) / (1 - head))
        ax.legend(loc="upper right", ncols=2, fontsize=6.5, columnspacing=1.0)

    def numbers(self) -> dict[str, Any]:
        """Return the estimates by method and group."""
        drawn: dict[str, Any] = {"y": self.y_label, "n_sensors": dict(self.n_sensors)}
        for one in self.bars:
            drawn[one.label] = {group: one.entries[group].numbers() for group in self.groups}
        return drawn

    def _group_labels(self) -> list[str]:
        return [
            f"{group}\n{max(one.entries[group].n for one in self.bars)}\n{n_sensors}"
            for group, n_sensors in self.n_sensors.items()
        ]


def _bar(
    draw: Any, at: float, entry: Estimate, one: Bars, *, horizontal: bool, width: float = 0.8
) -> None:
    thickness = {"height": width} if horizontal else {"width": width}
    error = {"xerr" if horizontal else "yerr": np.nan_to_num(entry.error)}
    draw(
        at,
        entry.value,
        **thickness,
        **error,
        color=one.colour,
        alpha=0.75,
        hatch=one.hatch,
        error_kw={"elinewidth": 0.9},
    )
