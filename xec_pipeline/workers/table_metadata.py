"""What Dagster shows of prediction tables: number of rows, columns with units, the first rows."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import pandas as pd

from xec_pipeline.data.targets import TARGETS

_PREVIEW_ROWS: Final = 5
_PREVIEW_DIGITS: Final = 5
_SIGMAS: Final = frozenset(name for target in TARGETS.values() for name in target.csv_sigma)
_UNITS: Final = {
    column: target.csv_unit for target in TARGETS.values() for column in target.columns
}
_KINDS: Final = {
    "true_": "truth",
    "pred_sigma_": "uncertainty that the network gives",
    "pred_": "prediction",
}
_KEYS: Final = {"run": "run number", "event": "event number within the run"}


def describe_tables(paths: Iterable[Path]) -> dict[str, Any]:
    """Return metadata about CSV files that were made together.

    Parameters
    ----------
    paths
        Prediction tables; the rows of the first one are shown.

    Returns
    -------
    dict
        `dagster/row_count` over all tables, `dagster/column_schema` with each column once, and
        `first_rows`, rounded; empty without a table.
    """
    begins = {path: pd.read_csv(path, nrows=_PREVIEW_ROWS) for path in paths}
    if not begins:
        return {}
    columns = dict.fromkeys(name for begin in begins.values() for name in begin.columns)
    first, shown = next(iter(begins.items()))
    return {
        "dagster/row_count": sum(map(_n_rows, begins)),
        "dagster/column_schema": {
            "raw_value": {"columns": [_column(name) for name in columns]},
            "type": "table_schema",
        },
        "first_rows_of": first.name,
        "first_rows": {"raw_value": _preview(shown), "type": "table"},
    }


def describe_column(name: str) -> str:
    """Return what a column of a prediction table holds, with its unit."""
    for prefix, kind in _KINDS.items():
        quantity = name.removeprefix(prefix)
        if name.startswith(prefix) and quantity in _UNITS:
            return f"{kind}, {_UNITS[quantity]}"
    return _KEYS.get(name, "")


def _n_rows(path: Path) -> int:
    with path.open("rb") as lines:
        return sum(1 for _ in lines) - 1


def _preview(begin: pd.DataFrame) -> Mapping[str, Any]:
    """Return rows with keys, truth and prediction; more columns would not fit into the page."""
    names = [str(name) for name in begin.columns]
    predicted = {name for name in names if name.startswith("pred_")} - _SIGMAS
    true = {f"true_{name.removeprefix('pred_')}" for name in predicted}
    shown = [name for name in names if name in predicted | true | set(_KEYS)]
    return {
        "records": [
            {str(name): _rounded(value) for name, value in row.items()}
            for row in begin[shown].to_dict("records")
        ],
        "schema": [_column(name) for name in shown],
    }


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.{_PREVIEW_DIGITS}g}")


def _column(name: str) -> dict[str, str]:
    kind = "int" if name in _KEYS else "float"
    return {"name": name, "type": kind, "description": describe_column(name)}
