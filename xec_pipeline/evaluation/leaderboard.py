"""The resolutions of all runs beside each other, from the tables that the runs left."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from xec_pipeline.errors import CorruptFileError
from xec_pipeline.evaluation.compared_tables import MODEL
from xec_pipeline.evaluation.comparison import MEASURES
from xec_pipeline.evaluation.resolution import Estimate
from xec_pipeline.evaluation.text import aligned_lines, markdown_lines, with_error

ESTIMATOR: Final = "68 % of |res| within"
_RANKED_BY: Final = ("energy", "u", "v", "w", "time")
_ESTIMATOR_NOTE: Final = (
    f"{ESTIMATOR}, res = predicted - true, of the network alone, for the events that the selection "
    "names; ± is one standard deviation, from order statistics."
)
_SCORE_NOTE: Final = (
    f"score: geometric mean over {', '.join(_RANKED_BY)} of the resolution over the smallest of "
    "any run with the same test events; 1 is best in everything. Runs with another data version "
    "or selection had other test events and are ranked by themselves; those whose data version is "
    "not known have no score."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """One run of the board.

    Attributes
    ----------
    run
        Name.
    in_use
        True for the champion, if these are its weights.
    encoder
        Kind of network, with the masked autoencoder that it began with.
    trained
        When its weights were made, as text; empty if not known.
    resolutions
        By name of the quantity.
    n
        Number of events, from the fewest to the most of all quantities.
    sample, data_version, selection
        Which events; the selection of them is in words.
    is_toy
        True if they are from the toy detector.
    """

    run: str
    in_use: bool = False
    encoder: str = ""
    trained: str = ""
    resolutions: Mapping[str, Estimate] = dataclasses.field(default_factory=dict)
    n: tuple[int, int] = (0, 0)
    sample: str = ""
    data_version: str = ""
    selection: str = ""
    is_toy: bool = False

    @property
    def events(self) -> tuple[str, str]:
        """What runs have in common that are ranked together."""
        return self.data_version, self.selection


@dataclasses.dataclass(frozen=True, kw_only=True)
class Leaderboard:
    """Runs, the best first, and those that have no table."""

    entries: tuple[Entry, ...]
    scores: tuple[float, ...]
    """One for each entry; NaN where nothing can be ranked."""
    missing: tuple[str, ...]

    def records(self) -> list[dict[str, Any]]:
        """Return one dictionary per run, numbers as text with their uncertainty."""
        return [
            {
                "run": entry.run,
                "in use": "yes" if entry.in_use else "",
                "score": f"{score:.3f}" if math.isfinite(score) else "n/a",
                **{label: _cell(entry.resolutions.get(name)) for name, label in _labels()},
                "N": "-".join(str(n) for n in sorted(set(entry.n))),
                "selection": entry.selection or "not stated",
                "encoder": entry.encoder,
                "trained": entry.trained,
                "sample": f"{entry.sample} (toy detector)" if entry.is_toy else entry.sample,
                "data version": entry.data_version[:12],
            }
            for entry, score in zip(self.entries, self.scores, strict=True)
        ]

    def numbers(self) -> list[dict[str, Any]]:
        """Return one dictionary per run and quantity, for programs."""
        return [
            {
                "run": entry.run,
                "in_use": entry.in_use,
                "score": score,
                "quantity": name,
                "unit": _UNITS[name],
                "estimator": ESTIMATOR,
                "value": estimate.value,
                "error": estimate.error,
                "n": estimate.n,
                "encoder": entry.encoder,
                "trained": entry.trained,
                "sample": entry.sample,
                "data_version": entry.data_version,
                "selection": entry.selection,
            }
            for entry, score in zip(self.entries, self.scores, strict=True)
            for name, estimate in entry.resolutions.items()
        ]

    def notes(self) -> list[str]:
        """Return how to read the board, and which runs are not on it."""
        lacking = [f"Without a table of resolutions: {', '.join(self.missing)}."]
        toys = sorted({entry.sample for entry in self.entries if entry.is_toy})
        toy = [f"Toy detector: the events of {', '.join(toys)}."]
        return [
            _ESTIMATOR_NOTE,
            _SCORE_NOTE,
            *(toy if toys else []),
            *(lacking if self.missing else []),
        ]

    def markdown(self) -> str:
        """Return the board in Markdown."""
        return "\n".join([*markdown_lines(self._cells(), 2), "", "\n\n".join(self.notes()), ""])

    def text(self) -> str:
        """Return the board for a terminal."""
        return "\n".join([*aligned_lines(self._cells(), 2), *self.notes()]) + "\n"

    def _cells(self) -> list[list[str]]:
        found = self.records()
        header = list(found[0]) if found else ["run", "in use"]
        return [header, *(list(map(str, record.values())) for record in found)]


def read_entry(path: Path, entry: Entry, used_weights: str | None = None) -> Entry:
    """Return `entry` with what stands in the file `resolution_table_<run>.json`.

    Parameters
    ----------
    path
        The file.
    entry
        What is known without it.
    used_weights
        Version of the weights in use, if they are of this run.

    Raises
    ------
    CorruptFileError
        If the file is not such a table.
    """
    try:
        table = json.loads(path.read_text())
        found = {row["quantity"]: _estimate(row) for row in table["rows"] if _is_shown(row)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CorruptFileError(f"{path}: not a table of resolutions: {error!r}") from None
    counts = [estimate.n for estimate in found.values()]
    return dataclasses.replace(
        entry,
        in_use=used_weights is not None and table.get("model_digest") == used_weights,
        resolutions=found,
        n=(min(counts, default=0), max(counts, default=0)),
        sample=str(table.get("sample") or "not stated"),
        data_version=str(table.get("data_version") or ""),
        selection=str(table.get("selection") or ""),
        is_toy=bool(table.get("is_toy")),
    )


def ranked(entries: Sequence[Entry], missing: Sequence[str]) -> Leaderboard:
    """Return the board: by events, the best first, equal ones by name."""
    scored = [(entry, _score(entry, entries)) for entry in entries]
    scored.sort(
        key=lambda pair: (
            not pair[0].data_version,
            pair[0].events,
            not math.isfinite(pair[1]),
            pair[1] if math.isfinite(pair[1]) else 0.0,
            pair[0].run,
        )
    )
    return Leaderboard(
        entries=tuple(entry for entry, _ in scored),
        scores=tuple(score for _, score in scored),
        missing=tuple(missing),
    )


_UNITS: Final = {measure.name: measure.unit for measure in MEASURES}


def _labels() -> list[tuple[str, str]]:
    return [(name, f"{name} [{unit}]") for name, unit in _UNITS.items()]


def _score(entry: Entry, entries: Sequence[Entry]) -> float:
    """Return the mean of log ratios to the best of the same events, as a factor; or NaN."""
    if not entry.data_version:
        return math.nan
    same = [other for other in entries if other.events == entry.events]
    logs = [
        math.log(entry.resolutions[name].value / smallest)
        for name in _RANKED_BY
        if name in entry.resolutions and (smallest := _smallest(same, name)) > 0
    ]
    complete = len(logs) == sum(_smallest(same, name) > 0 for name in _RANKED_BY)
    return math.exp(sum(logs) / len(logs)) if logs and complete else math.nan


def _smallest(entries: Sequence[Entry], name: str) -> float:
    values = [entry.resolutions[name].value for entry in entries if name in entry.resolutions]
    return min((value for value in values if value > 0), default=0.0)


def _is_shown(row: Mapping[str, Any]) -> bool:
    known = row["value"] is not None and row["quantity"] in _UNITS
    return known and row["method"] == MODEL and row["estimator"] == ESTIMATOR


def _estimate(row: Mapping[str, Any]) -> Estimate:
    error = math.nan if row["error"] is None else float(row["error"])
    return Estimate(
        value=float(row["value"]), error=error, n=int(row["n"]), estimator=str(row["estimator"])
    )


def _cell(estimate: Estimate | None) -> str:
    return "-" if estimate is None else with_error(estimate.value, estimate.error)
