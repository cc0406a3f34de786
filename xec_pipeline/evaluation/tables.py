"""Prediction tables: what the network said beside the truth, one row per event.

In memory a table is a `pandas.DataFrame` in internal units (energy MeV, time ns, position cm, angle
degree) with the columns `run`, `event`, `true_<quantity>`, `pred_<quantity>` and, where the head
predicts its uncertainty, `pred_sigma_<quantity>`. The quantities are theta, phi, energy, timing, u,
v, w. A value that is not known is NaN.

On disk each task has one CSV with the units and columns of the contract (energy GeV, time s), then
`run,event`, further truth, and sigmas. Readers select columns by name, so files that hold the
contract's columns alone are read too.
"""

import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from xec_pipeline.atomic import replacing
from xec_pipeline.data.schema import is_valid
from xec_pipeline.data.targets import TARGETS
from xec_pipeline.errors import CorruptFileError, DataError, NonFiniteDataError, did_you_mean

PredictionTable: TypeAlias = pd.DataFrame

KEYS: Final = ("run", "event")
TEST_FOLDER: Final = "test"
"""Folder of the test sample below that of its run."""

_log = logging.getLogger(__name__)


TASK_QUANTITIES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {task: target.columns for task, target in TARGETS.items()}
)
"""Names of the predicted numbers of each task."""

_CSV_SCALE: Final = {
    column: target.csv_scale for target in TARGETS.values() for column in target.columns
}
# Nine digits keep a float32 exactly; an absolute time of microseconds must keep its femtoseconds.
_NUMBER_FORMAT: Final = {"timing": "%.12g"}
_DEFAULT_FORMAT: Final = "%.9g"
_FURTHER_TRUTH: Final = ("true_energy", "true_u", "true_v", "true_w")


def contract_columns(task: str) -> tuple[str, ...]:
    """Return the columns that the CSV of `task` begins with."""
    target = TARGETS[task]
    return target.csv_true + target.csv_pred


def prediction_path(
    run_dir: Path | str, task: str, run_name: str, *, suffix: str = "", method: str | None = None
) -> Path:
    """Return where the predictions of a run stand.

    Parameters
    ----------
    run_dir
        Folder of the run, or of the sample below it.
    task
        angle, energy, timing or uvwFI.
    run_name
        Name of the run.
    suffix
        `_ep{N}` for the predictions at a best epoch, else empty.
    method
        Name of a baseline method; None for the network.
    """
    kind = "predictions" if method is None else f"baseline_{method}"
    return Path(run_dir) / f"{kind}_{task}_{run_name}{suffix}.csv"


def predicted_tasks(folder: Path | str, run_name: str, suffix: str = "") -> list[str]:
    """Return the tasks whose predictions by the network stand in `folder`."""
    paths = {
        task: prediction_path(folder, task, run_name, suffix=suffix) for task in TASK_QUANTITIES
    }
    return [task for task, path in paths.items() if path.is_file()]


def find_run_name(run_dir: Path | str, suffix: str = "") -> str:
    """Return the run's name from the CSVs in a folder; the folder's own name wins if it fits.

    Raises
    ------
    DataError
        If there are no CSVs, or those of several runs.
    """
    pattern = re.compile(
        rf"predictions_(?:{'|'.join(TASK_QUANTITIES)})_(.+?){re.escape(suffix)}\.csv"
    )
    folder = Path(run_dir)
    found = {
        match[1]
        for path in folder.glob("predictions_*.csv")
        if (match := pattern.fullmatch(path.name))
    }
    own = folder.resolve().name
    if own in found:
        return own
    if not suffix:
        found = {name for name in found if not re.search(r"_ep\d+$", name)} or found
    if len(found) != 1:
        expected = prediction_path(folder, "<task>", "<run>", suffix=suffix)
        raise DataError(
            f"{folder}: CSVs of {len(found)} runs ({', '.join(sorted(found)) or 'none'}), expected "
            f"files {expected.name} of one run; give --run_name"
        )
    return found.pop()


def checked_table(columns: Mapping[str, ArrayLike] | PredictionTable) -> PredictionTable:
    """Return `columns` as a table; raise DataError if their lengths differ or a key is missing."""
    if isinstance(columns, pd.DataFrame):
        frame = columns
    else:
        arrays = {name: np.asarray(values) for name, values in columns.items()}
        lengths = {name: len(values) for name, values in arrays.items()}
        if len(set(lengths.values())) > 1:
            raise DataError(f"columns of a prediction table differ in length: {lengths}")
        frame = pd.DataFrame(arrays)
    missing = [name for name in KEYS if name not in frame]
    if missing:
        raise DataError(f"a prediction table needs the columns {', '.join(missing)}")
    return frame


def tasks_in(table: PredictionTable) -> tuple[str, ...]:
    """Return the tasks for which `table` holds truth and predictions."""
    return tuple(
        task
        for task in TASK_QUANTITIES
        if all(column in table for column in contract_columns(task))
    )


def write_prediction_csvs(
    table: Mapping[str, ArrayLike] | PredictionTable,
    run_dir: Path | str,
    run_name: str,
    suffix: str = "",
    *,
    tasks: Iterable[str] | None = None,
    method: str | None = None,
) -> dict[str, Path]:
    """Write one CSV per task and return their paths by task.

    Parameters
    ----------
    table
        Table in internal units, or its columns by name.
    run_dir, run_name, suffix, method
        See `prediction_path`.
    tasks
        Tasks to write; by default all that the table holds.

    Raises
    ------
    DataError
        If a column of a requested task is missing.

    Notes
    -----
    Events without truth for a task are left out of its file, and their number is logged. Equal
    tables give equal bytes.
    """
    frame = checked_table(table)
    paths = {}
    for task in tasks_in(frame) if tasks is None else tasks:
        path = prediction_path(run_dir, task, run_name, suffix=suffix, method=method)
        _write_task(_with_truth(frame, task, path), task, path)
        paths[task] = path
    return paths


def read_prediction_csv(path: Path | str, task: str, *, strict: bool = False) -> PredictionTable:
    """Read one CSV into internal units.

    Parameters
    ----------
    path
        File of `prediction_path`, or one with the contract's columns alone.
    task
        Task whose columns are required.
    strict
        Refuse a file without events or with a prediction that is not finite.

    Raises
    ------
    DataError
        If the file is missing, or lacks a column; the message names the near ones.
    CorruptFileError
        If it is not a table of numbers.
    NonFiniteDataError
        If `strict` and a prediction is NaN or infinite.
    """
    path = Path(path)
    frame = _load(path)
    _require_columns(frame, task, path)
    table = pd.DataFrame({name: _internal(frame, name, path) for name in frame.columns})
    if strict:
        _require_finite(table, task, path)
    return table


def read_prediction_csvs(
    run_dir: Path | str,
    run_name: str,
    suffix: str = "",
    *,
    tasks: Iterable[str] | None = None,
    method: str | None = None,
) -> dict[str, PredictionTable]:
    """Read the CSVs of a run by task; without `tasks`, those that are there.

    Raises
    ------
    DataError
        If a requested file is missing, or if none is there.
    """
    wanted = tuple(TASK_QUANTITIES) if tasks is None else tuple(tasks)
    paths = {
        task: prediction_path(run_dir, task, run_name, suffix=suffix, method=method)
        for task in wanted
    }
    if tasks is None:
        paths = {task: path for task, path in paths.items() if path.is_file()}
        if not paths:
            example = prediction_path(run_dir, "<task>", run_name, suffix=suffix, method=method)
            raise DataError(f"no predictions: expected files {example}")
    return {task: read_prediction_csv(path, task) for task, path in paths.items()}


def _with_truth(frame: PredictionTable, task: str, path: Path) -> PredictionTable:
    _require_columns(frame, task, path)
    truth = frame[list(TARGETS[task].csv_true)].to_numpy(dtype=np.float64)
    has_truth = np.isfinite(truth).all(axis=1)
    if not has_truth.all():
        _log.warning("%s: %d events without truth left out", path, int((~has_truth).sum()))
    kept: PredictionTable = frame[has_truth]
    return kept


def _write_task(frame: PredictionTable, task: str, path: Path) -> None:
    columns = _csv_columns(frame, task)
    text = pd.DataFrame({name: _formatted(frame, name) for name in columns})
    with replacing(path) as partial:
        text.to_csv(partial, index=False, lineterminator="\n")


def _csv_columns(frame: PredictionTable, task: str) -> list[str]:
    contract = contract_columns(task)
    further = [name for name in _FURTHER_TRUTH if name in frame and name not in contract]
    sigmas = [name for name in TARGETS[task].csv_sigma if name in frame]
    return [*contract, *KEYS, *further, *sigmas]


def _formatted(frame: PredictionTable, column: str) -> NDArray[Any]:
    if column in KEYS:
        return frame[column].to_numpy(dtype=np.int64)
    quantity = _quantity_of(column)
    pattern = _NUMBER_FORMAT.get(quantity, _DEFAULT_FORMAT)
    values = frame[column].to_numpy(dtype=np.float64) * _CSV_SCALE[quantity]
    return np.array([pattern % value for value in values], dtype=object)


def _quantity_of(column: str) -> str:
    """Return the quantity that a column's name ends with."""
    return column.removeprefix("true_").removeprefix("pred_").removeprefix("sigma_")


def _load(path: Path) -> pd.DataFrame:
    if not path.is_file():
        there = sorted(item.name for item in path.parent.glob("*.csv"))
        raise DataError(f"{path}: no such file{did_you_mean(path.name, there)}")
    try:
        return pd.read_csv(path, float_precision="round_trip")
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as error:
        raise CorruptFileError(f"{path}: not a table of comma-separated values: {error}") from None


def _require_columns(frame: pd.DataFrame, task: str, path: Path) -> None:
    for column in contract_columns(task):
        if column not in frame:
            present = [str(name) for name in frame.columns]
            raise DataError(
                f"{path}: column '{column}' of task {task} is missing"
                f"{did_you_mean(column, present)}; present: {', '.join(present)}"
            )


def _internal(frame: pd.DataFrame, column: str, path: Path) -> NDArray[Any]:
    series = frame[column]
    if len(series) and not pd.api.types.is_numeric_dtype(series.dtype):
        bad = pd.to_numeric(series, errors="coerce").isna() & series.notna()
        row = int(np.flatnonzero(bad.to_numpy())[0]) if bad.any() else 0
        raise CorruptFileError(
            f"{path}: column '{column}', line {row + 2}: {series.iloc[row]!r} is not a number"
        )
    if column in KEYS:
        return series.to_numpy()
    values = series.to_numpy(dtype=np.float64)
    if column.startswith("true_"):
        # Tables of other programs keep the marker 1e10 where there is no truth.
        values = np.where(is_valid(values), values, np.nan)
    return values / _CSV_SCALE.get(_quantity_of(column), 1.0)


def _require_finite(table: PredictionTable, task: str, path: Path) -> None:
    if not len(table):
        raise DataError(f"{path}: holds no event")
    for name in TARGETS[task].csv_pred:
        is_bad = ~np.isfinite(table[name].to_numpy(dtype=np.float64))
        if is_bad.any():
            first = int(np.argmax(is_bad))
            raise NonFiniteDataError(
                f"{path}: column '{name}' is not finite in {int(is_bad.sum())} of "
                f"{len(table)} events, first in line {first + 2}"
            )
