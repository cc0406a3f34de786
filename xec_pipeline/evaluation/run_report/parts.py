"""Which tables and figures the report of a run shows, by kind, and what makes those missing."""

import glob
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

from xec_pipeline.config.file_names import (
    ANALYSIS_FOLDER,
    checkpoint_file,
    dead_study_file,
    face_weights_file,
    report_file,
    worst_event_file,
)
from xec_pipeline.evaluation.tables import TEST_FOLDER

KINDS: Final = ("regressor", "mae", "inpainter")


@dataclass(frozen=True, kw_only=True)
class Part:
    """Some files that are shown under one heading.

    Attributes
    ----------
    title
        The heading.
    patterns
        Names below the run's folder, `{run}` being the name of the run.
    made_by
        What makes them.
    """

    title: str
    patterns: tuple[str, ...]
    made_by: str

    def names(self, run_name: str) -> tuple[str, ...]:
        """Return the patterns for a run, to read."""
        return tuple(pattern.format(run=run_name) for pattern in self.patterns)

    def find(self, run_dir: Path, run_name: str) -> list[Path]:
        """Return the files that are there, in the order of the patterns, then of names."""
        escaped = self.names(glob.escape(run_name))
        return [path for pattern in escaped for path in sorted(run_dir.glob(pattern))]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the report of one kind of run shows.

    Attributes
    ----------
    label
        The kind in words, see also `label_of`.
    tables, figures
        Parts in the order of the report; tables are Markdown files, figures PDFs.
    """

    label: str
    tables: tuple[Part, ...]
    figures: tuple[Part, ...]


_CHANNELS: Final = {"npho": "light", "time": "time"}
_REGRESSOR: Final = Parts(
    label="regressor: energy, time, position and angle of the photon",
    tables=(
        Part(
            title="Resolution",
            patterns=("resolution_table_{run}.md",),
            made_by="asset regressor/resolution_table, or xec plots <folder> --table",
        ),
        Part(
            title="Physical limit and efficiency",
            patterns=("efficiency_table_{run}.md",),
            made_by="asset regressor/efficiency, or xec limits; only of toy events is the limit "
            "known",
        ),
    ),
    figures=(
        Part(
            title="Resolution, test events",
            patterns=(f"{TEST_FOLDER}/resolution_*_{{run}}.pdf",),
            made_by="asset regressor/resolution_pdf, if the run names test events",
        ),
        Part(
            title="Resolution, validation events",
            patterns=("resolution_*_{run}.pdf",),
            made_by="asset regressor/resolution_pdf, or xec plots <folder>",
        ),
        Part(
            title="Physical limit",
            patterns=("limit_efficiency_{run}.pdf",),
            made_by="asset regressor/efficiency; only of toy events is the limit known",
        ),
        Part(
            title="What each face counts for",
            patterns=(f"{face_weights_file('{run}')}.pdf",),
            made_by="asset regressor/event_displays",
        ),
        Part(
            title="Worst test events",
            patterns=(f"{TEST_FOLDER}/{worst_event_file('*', '{run}')}.pdf",),
            made_by="asset regressor/event_displays, if the run names test events",
        ),
        Part(
            title="Worst validation events",
            patterns=(f"{worst_event_file('*', '{run}')}.pdf",),
            made_by="asset regressor/event_displays",
        ),
    ),
)
_MAE: Final = Parts(
    label="masked autoencoder: an encoder, learned without truth",
    tables=(),
    figures=(),
)
_INPAINTER: Final = Parts(
    label="inpainter: dead sensors from the others",
    tables=(
        Part(
            title="Recovered sensors",
            patterns=(f"{ANALYSIS_FOLDER}/recovery_table_{{run}}.md",),
            made_by="asset inpainter/analysis, or xec analyze",
        ),
        Part(
            title="What dead sensors cost a regressor",
            patterns=(f"{dead_study_file('{run}')}.md",),
            made_by="asset inpainter/dead_study, or xec dead-study",
        ),
    ),
    figures=(
        Part(
            title="Recovered sensors",
            patterns=tuple(
                f"{ANALYSIS_FOLDER}/{stem}.pdf"
                for stem in (
                    "metrics_summary",
                    "resolution_vs_signal",
                    "resolution_vs_signal_per_face",
                    "residual_distributions",
                    "residual_per_face_npho",
                    "residual_per_face_time",
                    "scatter_truth_vs_pred",
                )
            ),
            made_by="asset inpainter/analysis, or xec analyze",
        ),
    ),
)
PARTS: Final[Mapping[str, Parts]] = MappingProxyType(
    {"regressor": _REGRESSOR, "mae": _MAE, "inpainter": _INPAINTER}
)


def label_of(kind: str, predict_channels: Sequence[str] | None) -> str:
    """Return a kind of run in words.

    Parameters
    ----------
    kind
        regressor, mae or inpainter.
    predict_channels
        What an inpainter predicts of a sensor: npho, time; None if not known.
    """
    if kind != "inpainter" or not predict_channels:
        return PARTS[kind].label
    what = " and ".join(_CHANNELS.get(name, name) for name in predict_channels)
    return f"inpainter: {what} of dead sensors from the others"


def files_of(run_dir: Path, kind: str) -> list[Path]:
    """Return all files of one kind of run in a folder that runs of several kinds may share.

    Hidden files and reports are left out.
    """
    return [
        path
        for path in sorted(run_dir.rglob("*"))
        if path.is_file() and kind_of(path.relative_to(run_dir)) == kind and not _is_report(path)
    ]


def kind_of(name: Path) -> str | None:
    """Return to what kind of run a file belongs by its name in the folder; None if hidden."""
    if any(part.startswith(".") for part in name.parts):
        return None
    if name.parts[0].startswith("mae_"):
        return "mae"
    return "inpainter" if name.parts[0].startswith("inpainter") else "regressor"


def kinds_in(run_dir: Path) -> list[str]:
    """Return the kinds of runs that left a checkpoint, or tables, in a folder."""
    return [kind for kind in KINDS if any(_tells_of(run_dir, kind))]


def further(run_dir: Path, run_name: str, kind: str, ending: str) -> list[Path]:
    """Return files with this ending that are in no part, such as figures of earlier epochs."""
    parts = PARTS[kind]
    known = {
        path for part in (*parts.tables, *parts.figures) for path in part.find(run_dir, run_name)
    }
    return [path for path in files_of(run_dir, kind) if path.suffix == ending and path not in known]


def named(paths: Sequence[Path], run_dir: Path) -> list[str]:
    """Return the names of files below the run's folder."""
    return [path.relative_to(run_dir).as_posix() for path in paths]


def _tells_of(run_dir: Path, kind: str) -> Iterator[Path]:
    yield from run_dir.glob(checkpoint_file(kind, "*"))
    if kind == "regressor":
        yield from run_dir.glob("predictions_*.csv")
    if kind == "inpainter":
        yield from run_dir.glob(f"{ANALYSIS_FOLDER}/*")


def _is_report(path: Path) -> bool:
    name = path.name
    return any(name.startswith(report_file(kind, "").removesuffix(".html")) for kind in KINDS)
