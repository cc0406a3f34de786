"""Numbers with uncertainties, and tables of them, as text."""

import math
from collections.abc import Sequence

from xec_pipeline.evaluation.resolution import Estimate

NOT_KNOWN = "n/a"


def with_error(value: float, error: float) -> str:
    """Return `value ± error`, rounded to two significant digits of the error.

    Without an error the value has four significant digits; without a value it is "n/a".
    """
    if not math.isfinite(value):
        return NOT_KNOWN
    if not math.isfinite(error) or error <= 0:
        return f"{value:.4g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def estimate_text(estimate: Estimate, unit: str = "") -> str:
    """Return an estimate with its uncertainty and unit."""
    text = with_error(estimate.value, estimate.error)
    return text if text == NOT_KNOWN or not unit else f"{text} {unit}"


def aligned_lines(cells: Sequence[Sequence[str]], n_left: int) -> list[str]:
    """Return a table for a terminal: header between rules, rows, a closing rule.

    Parameters
    ----------
    cells
        Rows of equal length, the first being the header.
    n_left
        Columns aligned to the left; the others are aligned to the right.
    """
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    header, *rows = [
        "  ".join(
            cell.ljust(width) if i < n_left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    ]
    rule = "-" * max(map(len, (header, *rows)))
    return [rule, header, rule, *rows, rule]


def markdown_lines(cells: Sequence[Sequence[str]], n_left: int) -> list[str]:
    """Return a table in Markdown; see `aligned_lines`."""
    header, *rows = [[cell.replace("|", "\\|") for cell in line] for line in cells]
    marks = ["---"] * n_left + ["---:"] * (len(header) - n_left)
    return [f"| {' | '.join(line)} |" for line in (header, marks, *rows)]
