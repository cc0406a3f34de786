"""Pages of a scan: losses of all its runs by epoch, and the runs in their order."""

import math
from pathlib import Path
from typing import Final

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from xec_pipeline.evaluation.plots.style import GREY, ORANGE, house_style, save_pdf
from xec_pipeline.evaluation.scan import TRAIN_LOSS, VAL_LOSS, Scan

_MOST: Final = 20
"""Runs that are drawn; the table has all."""

_BELOW, _ABOVE = 0.8, 0.9
"""Inches for the axis and the foot, and for the titles."""


def write_scan_pdf(scan: Scan, path: Path, *, is_toy: bool | None) -> None:
    """Draw the pages.

    Parameters
    ----------
    scan
        What to draw.
    path
        The PDF.
    is_toy
        Whether the events come from the toy detector; None if that is not known.
    """
    with house_style():
        figures = [draw_losses(scan), _order(scan)]
        for number, figure in enumerate(figures, 1):
            _head_and_foot(figure, scan, f"{number}/{len(figures)}", is_toy=is_toy)
        save_pdf(figures, path, f"scan of {scan.experiment}")


def draw_losses(scan: Scan) -> Figure:
    """Draw the losses by epoch; on a logarithmic axis if it can show all of them."""
    figure = Figure(figsize=(9.0, 5.4))
    ax = figure.add_axes((0.09, 0.13, 0.62, 0.76))
    shown = scan.runs[:_MOST]
    colours = mpl.colormaps["viridis"]([0.92 * i / max(len(shown) - 1, 1) for i in range(_MOST)])
    drawn: list[float] = []
    for run, colour in zip(shown, colours, strict=False):
        for metric, line in ((VAL_LOSS, "-"), (TRAIN_LOSS, "--")):
            points = sorted(run.histories.get(metric, {}).items())
            epochs, losses = [epoch for epoch, _ in points], [loss for _, loss in points]
            label = run.name if metric == VAL_LOSS else None
            drawn += losses
            ax.plot(epochs, losses, line, color=colour, marker=".", label=label)
    ax.set_yscale("linear" if any(loss <= 0 for loss in drawn) else "log")
    ax.set_xlabel("epoch")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_ylabel("loss")
    ax.set_title("solid: validation, dashed: training")
    if shown:
        ax.legend(loc="upper left", bbox_to_anchor=(1.02, 1.0), fontsize=7)
    return figure


def _order(scan: Scan) -> Figure:
    shown = [run for run in scan.runs[:_MOST] if math.isfinite(run.at_best(scan.metric))]
    inner = 0.28 * max(len(shown), 4)
    height = _BELOW + inner + _ABOVE
    figure = Figure(figsize=(9.0, height))
    ax = figure.add_axes((0.28, _BELOW / height, 0.66, inner / height))
    values = [run.at_best(scan.metric) for run in shown]
    ax.plot(values, range(len(shown)), "o")
    ax.set_yticks(range(len(shown)), [f"{run.name}, epoch {run.best_epoch}" for run in shown])
    ax.set_ylim(len(shown) - 0.5, -0.5)
    ax.set_xlabel(f"{scan.metric}{f' [{scan.unit}]' if scan.unit else ''}")
    title = "on the validation events, without uncertainties"
    if scan.is_by_loss:
        title += "\nother tasks, weights or losses are not to be compared by val/loss"
    ax.set_title(title)
    return figure


def _head_and_foot(figure: Figure, scan: Scan, position: str, *, is_toy: bool | None) -> None:
    height = figure.get_figheight()
    foot = f"experiment {scan.experiment}   ·   {len(scan.runs)} runs, {_MOST} at most drawn"
    if is_toy is None:
        foot += "   ·   events not at hand: not known whether of the toy detector"
    figure.suptitle(f"Runs of {scan.experiment}", y=1 - 0.1 / height, fontsize=12, weight="bold")
    figure.text(0.012, 0.12 / height, foot, fontsize=7, color=GREY)
    figure.text(0.988, 0.12 / height, position, fontsize=7, color=GREY, ha="right")
    if is_toy:
        figure.text(
            0.988, 1 - 0.25 / height, "toy detector", ha="right", fontsize=9, color=ORANGE,
            fontweight="bold",
        )  # fmt: skip
