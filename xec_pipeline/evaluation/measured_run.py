"""What a run resolves, and of which events: the results that a comparison of runs shows."""

import csv
import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from xec_pipeline.config.file_names import ANALYSIS_FOLDER
from xec_pipeline.errors import CorruptFileError, DataError
from xec_pipeline.evaluation.compared_run import ComparedRun
from xec_pipeline.evaluation.compared_tables import MODEL, sample_dir
from xec_pipeline.evaluation.comparison import build_resolution_table
from xec_pipeline.evaluation.resolution import Estimate

Key = tuple[str, str]
"""Quantity with its unit, and estimator."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """Results of one run.

    Attributes
    ----------
    estimates
        By quantity and estimator; none if nothing was measured.
    selection
        Which events or masks, in words.
    sample
        Where they are from.
    is_toy
        True if they are of the toy detector; None if that is not known.
    counted
        What N counts, if not events.
    notes
        What one should know about them.
    """

    estimates: Mapping[Key, Estimate] = dataclasses.field(default_factory=dict)
    selection: str = ""
    sample: str = ""
    is_toy: bool | None = None
    counted: str = ""
    notes: tuple[str, ...] = ()

    @property
    def events(self) -> str:
        """Selection, sample, detector and number of events, or of sensors in a bin."""
        counts = sorted({estimate.n for estimate in self.estimates.values()})
        n = f"N = {counts[0]}" if len(counts) == 1 else f"N = {counts[0]} to {counts[-1]}"
        toy = "" if not self.is_toy else ", toy detector"
        return f"{self.selection}, sample {self.sample}{toy}, {n}{self.counted}"

    def is_comparable_with(self, other: "Measured") -> bool:
        """Tell whether a difference is one of the networks: the same choice, the same detector."""
        is_same_detector = None in (self.is_toy, other.is_toy) or self.is_toy == other.is_toy
        return self.selection == other.selection and is_same_detector


def measure(run: ComparedRun) -> Measured:
    """Return the results of a run; those without a measurement have a note that says why."""
    try:
        return _MEASURED[run.kind](run)
    except DataError as error:
        return Measured(notes=(f"{run.label}: {error}",))


def _of_regressor(run: ComparedRun) -> Measured:
    table = build_resolution_table(sample_dir(run.folder, run.name), run.name)
    return Measured(
        estimates={
            (row.label, row.estimator): row.entries[MODEL]
            for row in table.rows
            if MODEL in row.entries
        },
        selection=table.selection,
        sample=table.meta.sample or "not stated",
        is_toy=table.meta.is_toy,
        notes=tuple(f"{run.label}: {note}" for note in table.caveats()),
    )


def _of_inpainter(run: ComparedRun) -> Measured:
    path = run.folder / ANALYSIS_FOLDER / f"recovery_table_{run.name}.csv"
    if not path.is_file():
        raise DataError(f"{path}: no errors of recovered sensors; xec analyze writes them")
    about = _origin(path.with_suffix(".json"))
    files = ", ".join(str(file) for file in about.get("paths", ())) or "not stated"
    return Measured(
        estimates=dict(_recovered(path)),
        selection=f"masks of mode {about['mode']}" if "mode" in about else "masks not stated",
        sample=files,
        is_toy=about.get("is_toy"),
        counted=" sensors of a bin",
        notes=tuple(f"{run.label}: {remark}" for remark in about.get("remarks", ())),
    )


def _origin(path: Path) -> Mapping[str, Any]:
    """Return what the file beside a table of recovered sensors says of it."""
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text())
    except ValueError as error:
        raise CorruptFileError(f"{path}: not JSON: {error}") from None
    if not isinstance(found, dict):
        raise CorruptFileError(f"{path}: not a table of recovered sensors")
    return found


def _recovered(path: Path) -> Iterator[tuple[Key, Estimate]]:
    with path.open(newline="") as stream:
        for row in csv.DictReader(stream):
            if row["method"] != MODEL:
                continue
            quantity = (
                f"{row['face']} face, {float(row['low_photons']):g} - "
                f"{float(row['high_photons']):g} photons [%]"
            )
            estimator = f"relative RMS against the {row['reference']}"
            yield (
                (quantity, estimator),
                Estimate(
                    value=float(row["relative_rms_percent"] or "nan"),
                    error=float(row["error_percent"] or "nan"),
                    n=int(row["n"]),
                    estimator=estimator,
                ),
            )


def _of_mae(_run: ComparedRun) -> Measured:
    return Measured()  # its losses say all that is known


_MEASURED: Final = {"regressor": _of_regressor, "inpainter": _of_inpainter, "mae": _of_mae}
