"""The few numbers at the head of a report, from the tables of the run and its metrics."""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from xec_pipeline.config.file_names import ANALYSIS_FOLDER
from xec_pipeline.errors import CorruptFileError
from xec_pipeline.evaluation.plots.methods import looks
from xec_pipeline.evaluation.run_report.record import Training
from xec_pipeline.evaluation.text import with_error

_ERROR: Final = "± is one standard deviation"
_MODEL: Final = "model"
_WIDTH: Final = "68 % half width"
_WITHIN: Final = "68 % of |res| within"
_CONVENTIONAL: Final = "conventional"
_SENSOR_ERRORS: Final = {
    "val/loss": "validation loss",
    "val/mae_npho": "mean absolute error of light",
    "val/rmse_npho": "RMS error of light",
    "val/mae_time": "mean absolute error of time",
    "val/rmse_time": "RMS error of time",
}

Record = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class KeyNumber:
    """One number, ready to read.

    Attributes
    ----------
    label
        What it is of.
    text, unit
        Value with uncertainty.
    beside
        What it is to be compared with.
    """

    label: str
    text: str
    unit: str
    beside: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class KeyNumbers:
    """Numbers of one kind.

    Attributes
    ----------
    title
        What all of them are: estimator, events, their number.
    numbers
        The numbers; empty if their table is not there.
    """

    title: str
    numbers: tuple[KeyNumber, ...]


def key_numbers(run_dir: Path, run_name: str, kind: str, training: Training) -> KeyNumbers:
    """Return the numbers at the head of a report.

    Raises
    ------
    CorruptFileError
        If a table is there but not as this program writes it.
    """
    if kind == "regressor":
        return _resolutions(run_dir, run_name)
    if kind == "inpainter":
        return _recovery(run_dir, run_name)
    numbers = tuple(
        KeyNumber(label=label, text=f"{training.at_best()[name]:.4g}", unit="normalized")
        for name, label in _SENSOR_ERRORS.items()
        if name in training.at_best()
    )
    return KeyNumbers(
        title="Hidden sensors of the validation events, best epoch; in the network's normalized "
        "units, without uncertainties",
        numbers=numbers,
    )


def _resolutions(run_dir: Path, run_name: str) -> KeyNumbers:
    path = run_dir / f"resolution_table_{run_name}.json"
    content = _read(path)
    limits = _limits(run_dir / f"efficiency_table_{run_name}.json")
    try:
        by_name = {
            (row["quantity"], row["estimator"], row["method"]): row
            for row in content.get("rows", ())
        }
        quantities = dict.fromkeys(quantity for quantity, _, _ in by_name)
        numbers = [
            _resolution(quantity, by_name, limits)
            for quantity in quantities
            if _first(by_name, quantity, _MODEL) is not None
        ]
        n_events = {row["n"] for row in by_name.values() if row["method"] == _MODEL}
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFileError(f"{path}: not a table of resolutions: {error!r}") from None
    counts = "/".join(str(count) for count in sorted(n_events))
    title = f"{_WIDTH} of predicted - true (opening angle: {_WITHIN}), N = {counts}, "
    title += f"{content.get('selection', '')}, sample {content.get('sample') or 'not stated'}; "
    title += _ERROR
    return KeyNumbers(title=title if numbers else "", numbers=tuple(numbers))


def _resolution(
    quantity: str,
    rows: Mapping[tuple[str, str, str], Record],
    limits: Mapping[str, tuple[str, ...]],
) -> KeyNumber:
    own = _first(rows, quantity, _MODEL) or {}
    beside = []
    other = rows.get((quantity, own["estimator"], _CONVENTIONAL))
    if other is not None:
        beside.append(f"conventional {_value(other)}")
    if own["estimator"] == _WIDTH:
        beside += limits.get(quantity, ())
    return KeyNumber(label=quantity, text=_value(own), unit=own["unit"], beside=tuple(beside))


def _first(
    rows: Mapping[tuple[str, str, str], Record], quantity: str, method: str
) -> Record | None:
    """Return the half width, or what a quantity without a sign has."""
    return rows.get((quantity, _WIDTH, method)) or rows.get((quantity, _WITHIN, method))


def _limits(path: Path) -> dict[str, tuple[str, ...]]:
    """Return limit and efficiency of the network over all depths in words, by quantity."""
    try:
        return {
            row["quantity"]: _limit_texts(row)
            for row in _read(path).get("rows", ())
            if row["method"] == _MODEL and row["estimator"] == _WIDTH and row["w_low_cm"] is None
        }
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFileError(f"{path}: not a table of efficiencies: {error!r}") from None


def _limit_texts(row: Record) -> tuple[str, ...]:
    limit = with_error(_number(row["limit"]), math.nan)
    efficiency = with_error(_number(row["efficiency"]), _number(row["efficiency_error"]))
    return f"limit {limit}", f"efficiency {efficiency}"


def _recovery(run_dir: Path, run_name: str) -> KeyNumbers:
    path = run_dir / ANALYSIS_FOLDER / f"recovery_table_{run_name}.json"
    content = _read(path)
    try:
        rows = list(content.get("rows", ()))
        references = {row["reference"] for row in rows}
        reference = "mean" if "mean" in references else "count"
        numbers = tuple(_bins([row for row in rows if row["reference"] == reference]))
    except (KeyError, TypeError, ValueError) as error:
        raise CorruptFileError(f"{path}: not a table of recovered sensors: {error!r}") from None
    what = {"mean": "the mean light, without counting noise", "count": "the count"}[reference]
    title = f"Relative RMS error of recovered sensors of the inner face against {what}; {_ERROR}"
    return KeyNumbers(title=title if numbers else "", numbers=numbers)


def _bins(rows: list[Record]) -> Iterator[KeyNumber]:
    for row in rows:
        if row["method"] != _MODEL:
            continue
        same_bin = [other for other in rows if other["low_photons"] == row["low_photons"]]
        high = row["high_photons"]
        low = f"{row['low_photons']:g}"
        label = f"{low} - {high:g} photons" if high else f"> {low} photons"
        beside = (*_best_conventional(same_bin, row["n"]), f"N = {row['n']}")
        yield KeyNumber(label=label, text=_percent(row), unit="%", beside=beside)


def _best_conventional(rows: list[Record], n: int) -> tuple[str, ...]:
    """Return the best method that is no network, by name; nothing if none has an error."""
    known = looks([row["method"] for row in rows])
    errors = {
        _number(row["relative_rms_percent"]): row
        for row in rows
        if known[row["method"]].is_conventional and row["relative_rms_percent"] is not None
    }
    if not errors:
        return ()
    best = errors[min(errors)]
    # A method may leave out sensors that it cannot predict.
    count = "" if best["n"] == n else f" (N = {best['n']})"
    return (f"best conventional: {known[best['method']].label} {_percent(best)}{count}",)


def _value(row: Record) -> str:
    return with_error(_number(row["value"]), _number(row["error"]))


def _percent(row: Record) -> str:
    return with_error(_number(row["relative_rms_percent"]), _number(row["error_percent"]))


def _number(value: Any) -> float:
    """Return a number of JSON, which has null for NaN."""
    return math.nan if value is None else float(value)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise CorruptFileError(f"{path}: not JSON: {error}") from None
    return content if isinstance(content, dict) else {}
