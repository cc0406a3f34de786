"""Pages of nets: title, nets in rows, a foot that says where the event comes from."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xec_pipeline.evaluation.display.draw import NetContent, draw_net
from xec_pipeline.evaluation.display.net import net_box
from xec_pipeline.evaluation.plots.style import GREY, ORANGE, house_style, save_pdf

_NET_WIDTH: Final = {1: 9.0, 2: 7.2, 3: 6.0}
"""Inches, by the number of nets beside each other."""
_SIDE, _BETWEEN = 0.25, 0.3
_LINE: Final = 0.24
_FOOT_LINE: Final = 0.13
_FOOT_MARGIN: Final = 0.24
_LETTERS_PER_INCH: Final = 16.5
"""Of the small print at the foot."""
_TOY_WIDTH: Final = 1.2


@dataclass(frozen=True, kw_only=True)
class TextBlock:
    """Lines in place of a net."""

    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class DisplayPage:
    """What a page shows.

    Attributes
    ----------
    head
        Lines of the title; the first is bold.
    rows
        Nets and text by row; rows may differ in length.
    foot
        Origin of the event, in small print; may hold line breaks.
    is_toy
        The event comes from the toy detector.
    """

    head: tuple[str, ...]
    rows: tuple[tuple[NetContent | TextBlock, ...], ...]
    foot: str
    is_toy: bool


def draw_display_page(page: DisplayPage) -> Figure:
    """Draw one page."""
    n_columns = max(len(row) for row in page.rows)
    box = net_box()
    width = _NET_WIDTH[n_columns]
    height = width * (box.top - box.bottom) / (box.right - box.left)
    head = _LINE * len(page.head) + 0.2
    full_width = 2 * _SIDE + n_columns * width + (n_columns - 1) * _BETWEEN
    small_print = _wrapped(page.foot, full_width)
    foot = _FOOT_MARGIN + _FOOT_LINE * len(small_print)
    full_height = head + foot + len(page.rows) * (height + _BETWEEN)
    with house_style():
        figure = Figure(figsize=(full_width, full_height))
        for i, row in enumerate(page.rows):
            for j, item in enumerate(row):
                left = _SIDE + j * (width + _BETWEEN)
                bottom = full_height - head - (i + 1) * (height + _BETWEEN)
                size = (width / full_width, height / full_height)
                ax = figure.add_axes((left / full_width, bottom / full_height, *size))
                if isinstance(item, NetContent):
                    draw_net(ax, item)
                else:
                    _draw_text(ax, item)
        _draw_head_and_foot(figure, page, small_print)
    return figure


def write_display(pages: Sequence[DisplayPage], path: Path, title: str) -> Path:
    """Write pages as one PDF; equal pages give equal bytes."""
    figures = (draw_display_page(page) for page in pages)
    with house_style():
        save_pdf(figures, path, title)
    return path


def _draw_text(ax: Axes, block: TextBlock) -> None:
    ax.set_axis_off()
    ax.text(
        0.04, 0.9, "\n".join(block.lines), transform=ax.transAxes, va="top",
        family="DejaVu Sans Mono", fontsize=7.5, linespacing=1.5,
    )  # fmt: skip


def _wrapped(text: str, width: float) -> list[str]:
    """Return lines of small print that end before the words "toy detector"."""
    letters = int((width - 2 * _SIDE - _TOY_WIDTH) * _LETTERS_PER_INCH)
    return [part for line in text.splitlines() for part in textwrap.wrap(line, letters)]


def _draw_head_and_foot(figure: Figure, page: DisplayPage, small_print: list[str]) -> None:
    width, height = figure.get_size_inches()
    left, right = _SIDE / width, 1 - _SIDE / width
    for i, line in enumerate(page.head):
        bold = {"fontsize": 10.5, "fontweight": "bold"} if i == 0 else {"fontsize": 9}
        figure.text(left, 1 - (0.14 + _LINE * i) / height, line, va="top", **bold)
    if page.is_toy:
        figure.text(
            right, 0.16 / height, "toy detector", ha="right", color=ORANGE, fontsize=10,
            fontweight="bold",
        )  # fmt: skip
    figure.text(left, 0.14 / height, "\n".join(small_print), va="bottom", fontsize=7, color=GREY)
