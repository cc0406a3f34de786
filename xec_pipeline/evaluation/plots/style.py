"""How every figure looks, and how a PDF is written so that equal figures give equal bytes."""

import contextlib
import gc
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import matplotlib as mpl
from matplotlib.backends.backend_pdf import PdfPages
from matplotlib.figure import Figure

from xec_pipeline.atomic import replacing
from xec_pipeline.evaluation.metadata import PredictionMeta

BLUE: Final = "#1f5fa8"
ORANGE: Final = "#d1690e"
GREEN: Final = "#2b8a3e"
PURPLE: Final = "#7048a8"
RED: Final = "#c92a2a"
GREY: Final = "#868e96"
LIGHT_GREY: Final = "#ced4da"

RC: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "font.family": "DejaVu Sans",
        "font.size": 8.5,
        "axes.titlesize": 9,
        "axes.labelsize": 8.5,
        "axes.grid": True,
        # The place is the same as the default finds, which measures all labels of the axes for it.
        "axes.titley": 1.0,
        "axes.axisbelow": True,
        "grid.color": "#e9ecef",
        "grid.linewidth": 0.6,
        "xtick.labelsize": 7.5,
        "ytick.labelsize": 7.5,
        "legend.fontsize": 7.5,
        "legend.frameon": False,
        "lines.linewidth": 1.2,
        "axes.formatter.useoffset": False,
        "image.cmap": "viridis",
        # Type 42 would run a font tool for every font of every file: a fifth of the time.
        "pdf.fonttype": 3,
        "savefig.dpi": 150,
    }
)


def house_style() -> contextlib.AbstractContextManager[None]:
    """Return a context with the settings of all figures; the user's own stay untouched."""
    return mpl.rc_context(dict(RC))  # type: ignore[arg-type]  # the stub wants literal keys


SEPARATOR: Final = "   ·   "
"""Between the parts of a caption."""


@dataclass(frozen=True, kw_only=True)
class Caption:
    """What stands at the foot of every page."""

    run_name: str
    n_events: int
    """Events drawn."""
    n_left_out: int = 0
    """Events without a finite truth or prediction."""
    meta: PredictionMeta

    def text(self) -> str:
        """Return the line: run, sample, number of events, commit."""
        parts = [f"run {self.run_name}", f"N = {self.n_events}"]
        if self.n_left_out:
            parts.append(f"{self.n_left_out} events without finite truth or prediction left out")
        parts.append(f"sample {self.meta.sample or 'not stated'}")
        if self.meta.weights:
            parts.append(f"weights {self.meta.weights}")
        parts.append(f"commit {(self.meta.git_revision or 'not stated')[:12]}")
        return SEPARATOR.join(parts)

    def numbers(self) -> dict[str, Any]:
        """Return what the JSON beside the figure says of the origin of its numbers."""
        return {
            "run": self.run_name,
            "sample": self.meta.sample,
            "is_toy": self.meta.is_toy,
            "data_version": self.meta.data_version,
            "model_digest": self.meta.model_digest,
            "git_revision": self.meta.git_revision,
            "n_events": self.n_events,
            "n_left_out": self.n_left_out,
        }

    def detector(self) -> str:
        """Return what the events come from, if it must be said."""
        return "toy detector" if self.meta.is_toy else ""


def save_pdf(figures: Iterable[Figure], path: Path, title: str) -> None:
    """Write figures as the pages of one PDF; no date, so that equal pages give equal bytes."""
    # It tells of every table of the font that it leaves out.
    logging.getLogger("fontTools").setLevel(logging.WARNING)
    metadata = {"Title": title, "CreationDate": None}
    with (
        _collected_later(),
        replacing(path) as partial,
        PdfPages(partial, metadata=metadata) as pdf,
    ):
        for figure in figures:
            pdf.savefig(figure)


@contextlib.contextmanager
def _collected_later() -> Iterator[None]:
    """Hold back Python's collector, which goes through all parts of all figures again and again.

    It would take a fifth of the time.
    """
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
