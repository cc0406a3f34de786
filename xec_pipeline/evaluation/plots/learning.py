"""How a training went: losses, errors and learning rate by epoch."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from xec_pipeline.detector.faces import FACE_NAMES
from xec_pipeline.evaluation.plots.pages import Page, draw_page
from xec_pipeline.evaluation.plots.panels import Panel
from xec_pipeline.evaluation.plots.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    Caption,
    house_style,
)

Epochs = Mapping[int, Mapping[str, float]]
"""Metrics by epoch."""

_COLOURS: Final = (BLUE, ORANGE, GREEN, PURPLE, RED, GREY)
_PER_ROW: Final = 4
_TASKS: Final = ("angle", "energy", "timing", "uvwFI")
_PANELS: Final[tuple[tuple[str, str, Mapping[str, str]], ...]] = (
    ("Loss", "loss", {"train/loss": "training", "val/loss": "validation"}),
    ("Loss by task", "validation loss", {f"val/loss_{task}": task for task in _TASKS}),
    (
        "Loss by feature",
        "validation loss",
        {"val/npho_loss": "light", "val/time_loss": "time"},
    ),
    ("Energy", "68 % of |res| within [MeV]", {"energy_res_68pct": "validation"}),
    ("Time", "68 % of |res| within [ns]", {"timing_res_68pct": "validation"}),
    ("Position", "68 % of distances within [cm]", {"uvw_dist_68pct": "validation"}),
    ("Angle", "68 % of opening angles within [deg]", {"angle_resolution_68pct": "validation"}),
    (
        "Light of hidden sensors",
        "error [normalized]",
        {"val/mae_npho": "mean absolute", "val/rmse_npho": "RMS"},
    ),
    (
        "Time of hidden sensors",
        "error [normalized]",
        {"val/mae_time": "mean absolute", "val/rmse_time": "RMS"},
    ),
    (
        "Light by face",
        "validation loss",
        {f"val/loss_{face}_npho": face for face in FACE_NAMES.values()},
    ),
    (
        "Time by face",
        "validation loss",
        {f"val/loss_{face}_time": face for face in FACE_NAMES.values()},
    ),
    ("Learning rate", "at the end of the epoch", {"lr": "end of the epoch"}),
    ("Gradient", "largest norm of an epoch", {"train/grad_norm_max": "training"}),
)


@dataclass(frozen=True, kw_only=True)
class LearningCaption(Caption):
    """Foot of the page: `n_events` are those of the training."""

    def text(self) -> str:
        """Return the line: run, events, commit."""
        parts = [f"run {self.run_name}"]
        if self.n_events:
            parts.append(f"{self.n_events} training events")
        parts.append(f"validation events {self.meta.sample or 'not stated'}")
        parts.append(f"commit {(self.meta.git_revision or 'not stated')[:12]}")
        return "   ·   ".join(parts)


@dataclass(frozen=True, kw_only=True)
class CurvePanel:
    """Metrics by epoch on a logarithmic scale, if none is zero or negative."""

    key: str
    title: str
    y_label: str
    curves: Mapping[str, Mapping[int, float]]
    """Values by epoch, by label."""
    best_epoch: int | None = None

    def draw(self, ax: Axes) -> None:
        """Draw on `ax`."""
        for (label, points), colour in zip(self.curves.items(), _COLOURS, strict=False):
            ax.plot(list(points), list(points.values()), marker=".", color=colour, label=label)
        values = [value for points in self.curves.values() for value in points.values()]
        if min(values) > 0 and max(values) > 3 * min(values):
            ax.set_yscale("log")
        if self.best_epoch is not None:
            ax.axvline(self.best_epoch, color=GREY, linestyle=":", linewidth=0.9)
        ax.set_title(self.title)
        ax.set_xlabel("epoch")
        ax.set_ylabel(self.y_label)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        if len(self.curves) > 1:
            ax.legend()

    def numbers(self) -> dict[str, Any]:
        """Return the curves."""
        return {label: dict(points) for label, points in self.curves.items()}


def learning_page(epochs: Epochs, best_epoch: int | None) -> Page | None:
    """Return a page with all that is known of the epochs; None if that is nothing.

    Parameters
    ----------
    epochs
        Metrics by epoch, as MLflow has them.
    best_epoch
        Epoch whose weights are kept, marked in every panel.
    """
    panels = [
        CurvePanel(key=title, title=title, y_label=label, curves=curves, best_epoch=best_epoch)
        for title, label, names in _PANELS
        if (curves := _curves(epochs, names))
    ]
    if not panels:
        return None
    rows: list[tuple[Panel | None, ...]] = [
        tuple(panels[first : first + _PER_ROW]) for first in range(0, len(panels), _PER_ROW)
    ]
    return Page(title="Training (dotted: the epoch that is kept)", rows=tuple(rows))


def learning_svg(page: Page, caption: Caption) -> str:
    """Return the page as SVG; equal pages give equal text."""
    buffer = io.StringIO()
    with house_style(), mpl.rc_context({"svg.hashsalt": "xec"}):
        metadata = {"Date": None, "Creator": None}
        draw_page(page, caption, "1/1").savefig(buffer, format="svg", metadata=metadata)
    return buffer.getvalue()


def _curves(epochs: Epochs, names: Mapping[str, str]) -> dict[str, dict[int, float]]:
    curves = {
        label: {epoch: epochs[epoch][name] for epoch in sorted(epochs) if name in epochs[epoch]}
        for name, label in names.items()
    }
    return {label: points for label, points in curves.items() if points}
