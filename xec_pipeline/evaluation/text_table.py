"""Tables of text cells for a terminal, for Markdown, and as CSV."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xec_pipeline.atomic import replacing

Cells = Sequence[Sequence[str]]


def plain_text(title: str, cells: Cells, notes: Sequence[str], n_left: int = 2) -> str:
    """Return a table with aligned columns.

    Parameters
    ----------
    title
        Line above the table.
    cells
        Rows of equal length; the first is the header.
    notes
        Lines below the table.
    n_left
        Columns that are aligned to the left; the others are numbers.
    """
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [_aligned(line, widths, n_left) for line in cells]
    rule = "-" * max(map(len, lines))
    return "\n".join([title, rule, lines[0], rule, *lines[1:], rule, *notes]) + "\n"


def markdown(title: str, cells: Cells, notes: Sequence[str], n_left: int = 2) -> str:
    """Return the same table in Markdown, under a heading of the third level."""
    header, *lines = [[cell.replace("|", "\\|") for cell in line] for line in cells]
    marks = ["---"] * n_left + ["---:"] * (len(header) - n_left)
    table = [f"| {' | '.join(line)} |" for line in (header, marks, *lines)]
    escaped = [note.replace("|", "\\|") for note in notes]
    return "\n".join([f"### {title}", "", *table, "", "\n\n".join(escaped), ""])


def write_records(path: Path, records: Sequence[Mapping[str, Any]]) -> Path:
    """Write one line per record, with the keys of the first as header; whole or not at all."""
    with replacing(path) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(records[0]) if records else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
    return path


def _aligned(line: Sequence[str], widths: Sequence[int], n_left: int) -> str:
    cells = [
        cell.ljust(width) if i < n_left else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(line, widths, strict=True))
    ]
    return "  ".join(cells).rstrip()
