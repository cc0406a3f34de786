"""The figure of what the faces of the detector count for: weights above, permutation test below."""

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from xec_pipeline.config.file_names import face_weights_file
from xec_pipeline.evaluation.face_importance import Permutation
from xec_pipeline.evaluation.metadata import write_json
from xec_pipeline.evaluation.plots.pages import draw_head_and_foot
from xec_pipeline.evaluation.plots.panels import draw_note
from xec_pipeline.evaluation.plots.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    Caption,
    house_style,
    save_pdf,
)

_GROUP: Final = 0.8
"""Share of the place of a token or face that its bars or points take."""
_LINEAR_PERCENT: Final = 10.0
"""Increases up to this are drawn on a linear scale, larger ones on a logarithmic one."""
_TASK_COLOURS: Final[Mapping[str, str]] = MappingProxyType(
    {"angle": ORANGE, "energy": RED, "timing": BLUE, "uvwFI": GREEN}
)
# quantity: colour, marker, label
_POINTS: Final[Mapping[str, tuple[str, str, str]]] = MappingProxyType(
    {
        "energy": (RED, "o", "E"),
        "timing": (BLUE, "s", "t"),
        "u": (GREEN, "o", "u"),
        "v": (GREEN, "s", "v"),
        "w": (GREEN, "D", "w"),
        "theta": (ORANGE, "o", "θ"),
        "phi": (ORANGE, "s", "φ"),
    }
)

Weights = Mapping[str, Mapping[str, float]]


def face_weights_path(run_dir: Path | str, run_name: str) -> Path:
    """Return where the figure of a run is written."""
    return Path(run_dir) / f"{face_weights_file(run_name)}.pdf"


def write_face_weights(
    weights: Weights, permutation: Permutation, caption: Caption, path: Path
) -> Path:
    """Write the figure as PDF and all numbers drawn as JSON beside it.

    Parameters
    ----------
    weights
        Mean |weight| by head, then by token.
    permutation
        Result of the permutation test.
    caption
        Foot of the page.
    path
        The PDF.
    """
    figure = draw_face_weights(weights, permutation, caption)
    with house_style():
        save_pdf([figure], path, f"face weights, run {caption.run_name}")
    write_json(path.with_suffix(".json"), _numbers(weights, permutation, caption))
    return path


def draw_face_weights(weights: Weights, permutation: Permutation, caption: Caption) -> Figure:
    """Draw the figure."""
    with house_style():
        figure = Figure(figsize=(10.0, 8.2))
        grid = figure.add_gridspec(
            2, 1, left=0.08, right=0.985, bottom=0.1, top=0.91, hspace=0.34, height_ratios=(1, 1.25)
        )
        _draw_weights(figure.add_subplot(grid[0]), weights)
        _draw_permutation(figure.add_subplot(grid[1]), permutation)
        draw_head_and_foot(figure, "What the faces count for", caption, "1/1")
    return figure


def _draw_weights(ax: Axes, weights: Weights) -> None:
    tokens = list(next(iter(weights.values())))
    places, width = np.arange(len(tokens)), _GROUP / len(weights)
    for number, (task, by_token) in enumerate(weights.items()):
        shift = (number - (len(weights) - 1) / 2) * width
        heights = [by_token[token] for token in tokens]
        ax.bar(places + shift, heights, 0.92 * width, color=_TASK_COLOURS[task], label=task)
    ax.set_xticks(places, tokens)
    ax.grid(visible=False, axis="x")
    ax.set_ylabel("mean |weight|")
    ax.set_title("First linear layer of each head, by token of the encoder")
    ax.margins(x=0.02, y=0.2)
    ax.legend(ncols=len(weights), loc="upper left")


def _draw_permutation(ax: Axes, permutation: Permutation) -> None:
    faces, quantities = list(permutation.increase), list(permutation.half_width)
    places, step = np.arange(len(faces)), _GROUP / len(quantities)
    for number, quantity in enumerate(quantities):
        colour, marker, label = _POINTS[quantity]
        estimates = [permutation.increase[face][quantity] for face in faces]
        values = np.array([100 * estimate.value for estimate in estimates])
        errors = np.nan_to_num([100 * estimate.error for estimate in estimates])
        shift = (number - (len(quantities) - 1) / 2) * step
        ax.errorbar(
            places + shift, values, yerr=errors, fmt=marker, color=colour, markersize=4.5,
            elinewidth=1.0, label=label, zorder=3,
        )  # fmt: skip
    for edge in places[:-1] + 0.5:
        ax.axvline(edge, color=GREY, linewidth=0.5, linestyle=":")
    ax.axhline(0, color=GREY, linewidth=0.9)
    ax.set_yscale("symlog", linthresh=_LINEAR_PERCENT)
    ax.yaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
    ax.set_xticks(places, faces)
    ax.set_xlim(-0.5, len(faces) - 0.5)
    ax.grid(visible=False, axis="x")
    ax.set_ylabel(f"increase of the 68 % half width [%]\n(linear to {_LINEAR_PERCENT:g} %)")
    ax.set_title(
        f"Permutation test: the face comes from another event, N = {permutation.n_events}, "
        f"seed {permutation.seed}"
    )
    _make_room(ax, permutation)
    ax.legend(ncols=len(quantities), loc="upper left")
    if not any(np.isfinite(e.value) for by in permutation.increase.values() for e in by.values()):
        draw_note(ax, "no event with a truth and a width")


def _make_room(ax: Axes, permutation: Permutation) -> None:
    """Leave room for the legend above the highest point, and none for what is not there."""
    ends = [
        100 * (estimate.value + sign * np.nan_to_num(estimate.error))
        for by_quantity in permutation.increase.values()
        for estimate in by_quantity.values()
        for sign in (-1, 1)
        if np.isfinite(estimate.value)
    ]
    low, high = (min(ends), max(ends)) if ends else (0.0, 0.0)
    ax.set_ylim(min(1.3 * low, -_LINEAR_PERCENT / 4), max(4 * high, 2 * _LINEAR_PERCENT))


def _numbers(weights: Weights, permutation: Permutation, caption: Caption) -> dict[str, Any]:
    return {
        **caption.numbers(),
        "mean_abs_weight_of_first_layer": {task: dict(by) for task, by in weights.items()},
        "permutation": {
            "n_events": permutation.n_events,
            "seed": permutation.seed,
            "units": "half widths in MeV, ns, cm, deg; increases are ratios - 1",
            "half_width": {name: e.numbers() for name, e in permutation.half_width.items()},
            "increase": {
                face: {name: estimate.numbers() for name, estimate in by.items()}
                for face, by in permutation.increase.items()
            },
        },
    }
