"""The figure of dead sensors by period: bars for each face, and how alike the periods are."""

from collections.abc import Sequence
from typing import Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from xec_pipeline.detector.dead_runs import DeadSummary
from xec_pipeline.detector.faces import FACE_NAMES, sensors_of_face
from xec_pipeline.evaluation.plots.style import GREY, ORANGE, house_style

_BAR_GROUP: Final = 0.8
_NUMBERS_UP_TO: Final = 8
"""More periods than this leave no room for numbers."""


def draw_dead_periods(
    labels: Sequence[str],
    summaries: Sequence[DeadSummary],
    similarity: NDArray[np.float64],
    *,
    foot: str,
    is_toy: bool,
) -> Figure:
    """Draw the share of dead sensors of each face, and the Jaccard similarity of all pairs.

    Parameters
    ----------
    labels
        Names of the P periods.
    summaries
        Their counts.
    similarity
        Shape (P, P).
    foot
        Line at the foot: which runs, from where.
    is_toy
        Whether to say that these are sensors of the toy detector.
    """
    with house_style():
        figure = Figure(figsize=(11.0, 4.2))
        grid = figure.add_gridspec(
            1, 2, width_ratios=(1.7, 1), left=0.065, right=0.93, bottom=0.23, top=0.84, wspace=0.3
        )
        _draw_bars(figure.add_subplot(grid[0]), labels, summaries)
        _draw_similarity(figure.add_subplot(grid[1]), labels, similarity)
        figure.suptitle("Dead sensors by period", fontsize=12, fontweight="bold")
        figure.text(0.012, 0.03, foot, fontsize=7, color=GREY)
        if is_toy:
            figure.text(
                0.988, 0.95, "toy detector", ha="right", fontsize=9, color=ORANGE, fontweight="bold"
            )
    return figure


def _draw_bars(ax: Axes, labels: Sequence[str], summaries: Sequence[DeadSummary]) -> None:
    sizes = {name: len(sensors_of_face(face)) for face, name in FACE_NAMES.items()}
    places = np.arange(len(sizes))
    width = _BAR_GROUP / len(labels)
    colours = mpl.colormaps["viridis"](np.linspace(0.1, 0.9, len(labels)))
    for number, (label, summary) in enumerate(zip(labels, summaries, strict=True)):
        counts = [summary.by_face[name] for name in sizes]
        percent = [100 * n / size for n, size in zip(counts, sizes.values(), strict=True)]
        shift = (number - (len(labels) - 1) / 2) * width
        bars = ax.bar(places + shift, percent, width, color=colours[number], label=label)
        if len(labels) <= _NUMBERS_UP_TO:
            ax.bar_label(bars, [str(n) for n in counts], fontsize=6, padding=1)
    ax.set_xticks(places, [f"{name}\n{size} sensors" for name, size in sizes.items()])
    ax.set_ylabel("dead sensors of the face [%]")
    ax.set_title("By face; numbers are sensors")
    ax.margins(y=0.25)
    ax.grid(visible=False, axis="x")
    ax.legend(ncols=min(len(labels), 4), loc="upper left")


def _draw_similarity(ax: Axes, labels: Sequence[str], similarity: NDArray[np.float64]) -> None:
    image = ax.imshow(similarity, vmin=0, vmax=1, cmap="viridis")
    ax.grid(visible=False)
    places = np.arange(len(labels))
    ax.set_xticks(places, labels, rotation=30, ha="right")
    ax.set_yticks(places, labels)
    ax.set_title("Jaccard similarity: dead in both / dead in either")
    if len(labels) <= _NUMBERS_UP_TO:
        for (row, column), value in np.ndenumerate(similarity):
            colour = "black" if value > 0.6 else "white"
            ax.text(column, row, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=7)
    ax.figure.colorbar(image, ax=ax, fraction=0.046, pad=0.04)
