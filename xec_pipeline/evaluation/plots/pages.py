"""A page: panels in rows and columns, a title, notes and a caption at the foot."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import text_to_path

from xec_pipeline.evaluation.metadata import write_json
from xec_pipeline.evaluation.plots.panels import NotePanel, Panel
from xec_pipeline.evaluation.plots.style import (
    GREY,
    ORANGE,
    RC,
    SEPARATOR,
    Caption,
    house_style,
    save_pdf,
)

# All in inches. Fixed, because a layout engine places axes differently in the last digits from
# one run to the next, and the PDF would not be the same file.
_CELL_WIDTH: Final = 3.85
_CELL_HEIGHT: Final = 3.2
_LEFT, _RIGHT, _BOTTOM, _TOP = 0.68, 0.52, 0.50, 0.30
_HEAD: Final = 0.42
_FOOT: Final = 0.30
"""With one line of text; each further one is as high as `_FOOT_LINE`."""
_FOOT_LINE: Final = 0.125
_FOOT_MARGINS: Final = 0.55
"""Beside the lines of the foot, of which the page number takes a part."""
_FOOT_FONT: Final = FontProperties(family=RC["font.family"], size=7)
_BREAKS: Final = (SEPARATOR, " ", "")
"""Where a line may end, the best first; the last is between any two letters."""
_POINTS_PER_INCH: Final = 72


@dataclass(frozen=True, kw_only=True)
class Page:
    """Panels by row; rows may differ in length, and None leaves a place empty."""

    title: str
    rows: tuple[tuple[Panel | None, ...], ...]
    wide: Panel | None = None
    """Below the rows, over the whole width."""
    cell: tuple[float, float] = (_CELL_WIDTH, _CELL_HEIGHT)
    """Width and height of the place of a panel [inch]."""
    notes: tuple[str, ...] = ()
    """What a reader of this page must know, above the caption."""

    def numbers(self) -> dict[str, Any]:
        """Return the numbers drawn, by panel, and the notes if there are any."""
        panels = [panel for row in self.rows for panel in row if panel is not None]
        panels += [] if self.wide is None else [self.wide]
        notes = {"notes": list(self.notes)} if self.notes else {}
        drawn = {panel.key: panel.numbers() for panel in panels}
        return {"title": self.title, **notes, "panels": drawn}


def note_page(title: str, text: str) -> Page:
    """Return a page that says why there is nothing to draw."""
    return Page(title=title, rows=((NotePanel(key="note", text=text),),))


def draw_page(page: Page, caption: Caption, position: str) -> Figure:
    """Draw one page.

    Parameters
    ----------
    page
        What to draw.
    caption
        Foot of the page.
    position
        Page number as text, for example "1/3".
    """
    n_columns = max(len(row) for row in page.rows)
    n_cells = max(n_columns, 2)
    n_rows = len(page.rows) + (page.wide is not None)
    width = page.cell[0] * n_cells
    lines = foot_lines((*page.notes, caption.text()), width)
    foot = _FOOT + _FOOT_LINE * (len(lines) - 1)
    height = page.cell[1] * n_rows + _HEAD + foot
    with house_style():
        figure = Figure(figsize=(width, height))
        for i, row in enumerate(page.rows):
            for j, panel in enumerate(row):
                if panel is not None:
                    left = j + (n_cells - n_columns) / 2
                    panel.draw(figure.add_axes(_place(left, i, page.cell, (width, height))))
        if page.wide is not None:
            whole = (width, page.cell[1])
            page.wide.draw(figure.add_axes(_place(0, n_rows - 1, whole, (width, height))))
        draw_head_and_foot(figure, page.title, caption, position, page.notes)
    return figure


def write_pages(pages: Sequence[Page], caption: Caption, pdf_path: Path, title: str) -> None:
    """Write pages as PDF and all numbers drawn as JSON beside it."""
    n_pages = len(pages)
    figures = (draw_page(page, caption, f"{i + 1}/{n_pages}") for i, page in enumerate(pages))
    with house_style():
        save_pdf(figures, pdf_path, title)
    content = caption.numbers() | {"pages": [page.numbers() for page in pages]}
    write_json(pdf_path.with_suffix(".json"), content)


def _place(
    column: float, row: int, cell: tuple[float, float], page: tuple[float, float]
) -> tuple[float, float, float, float]:
    """Return left, bottom, width and height of the axes of a cell, as parts of the figure."""
    left = column * cell[0] + _LEFT
    bottom = page[1] - _HEAD - (row + 1) * cell[1] + _BOTTOM
    return (
        left / page[0],
        bottom / page[1],
        (cell[0] - _LEFT - _RIGHT) / page[0],
        (cell[1] - _BOTTOM - _TOP) / page[1],
    )


def foot_lines(texts: Sequence[str], width: float) -> list[str]:
    """Return texts in lines that fit on a page of some width [inch], each from a new line on."""
    return [line for text in texts for line in _lines(text, width - _FOOT_MARGINS, _BREAKS)]


def _lines(text: str, width: float, breaks: tuple[str, ...]) -> list[str]:
    if _text_width(text) <= width or not breaks:
        return [text]
    between, *others = breaks
    lines: list[str] = []
    for part in text.split(between) if between else text:
        joined = f"{lines[-1]}{between}{part}" if lines else part
        if lines and _text_width(joined) <= width:
            lines[-1] = joined
        else:
            lines += _lines(part, width, tuple(others))
    return lines


def _text_width(text: str) -> float:
    """Return the width of a line of the foot [inch]."""
    width, _, _ = text_to_path.get_text_width_height_descent(text, _FOOT_FONT, ismath=False)
    return float(width) / _POINTS_PER_INCH


def draw_head_and_foot(
    figure: Figure, title: str, caption: Caption, position: str, notes: Sequence[str] = ()
) -> None:
    """Write title, notes, caption and page number, and what the events come from."""
    height = figure.get_figheight()
    figure.text(
        0.5, 1 - 0.2 / height, title, ha="center", va="center", fontsize=12, fontweight="bold"
    )
    lines = foot_lines((*notes, caption.text()), figure.get_figwidth())
    for i, line in enumerate(reversed(lines)):
        place = (0.17 + i * _FOOT_LINE) / height
        figure.text(0.012, place, line, ha="left", va="center", fontsize=7, color=GREY)
    foot = 0.17 / height
    figure.text(0.988, foot, position, ha="right", va="center", fontsize=7, color=GREY)
    if caption.detector():
        figure.text(
            0.988,
            1 - 0.2 / height,
            caption.detector(),
            ha="right",
            va="center",
            fontsize=9,
            color=ORANGE,
            fontweight="bold",
        )
