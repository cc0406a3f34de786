"""One event in the words and crosses of a regressor: what it predicted beside the truth."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.display.draw import PREDICTED, TRUTH, Mark
from xec_pipeline.evaluation.display.event import (
    UNKNOWN,
    DisplayEvent,
    Vector,
    vector_text,
)
from xec_pipeline.evaluation.display.sources import Keys, find_row
from xec_pipeline.evaluation.metadata import read_meta
from xec_pipeline.evaluation.tables import KEYS, find_run_name, read_prediction_csvs

Row = Mapping[str, Any]
"""One row of prediction tables, with the columns of all tasks."""


def predicted_row(run_dir: Path, event: DisplayEvent) -> dict[str, Any]:
    """Return what the tables in a folder say of an event.

    Raises
    ------
    DataError
        If there are no tables, one of them does not hold this event, naming the nearest, or has
        another event of these numbers.
    """
    found: dict[str, Any] = {}
    run_name = find_run_name(run_dir)
    tables = read_prediction_csvs(run_dir, run_name)
    for task, table in tables.items():
        if not all(key in table for key in KEYS):
            raise DataError(f"{run_dir}: predictions of {task} have no columns run and event")
        keys = Keys(*(table[key].to_numpy() for key in KEYS))
        row = find_row(f"{run_dir}: predictions of {task}", keys, event.run, event.event)
        values = {str(name): value for name, value in table.iloc[row].items()}
        difference = _difference(values, event)
        if difference:
            sample = read_meta(run_dir, run_name, task=task).sample
            raise DataError(
                f"{run_dir}: predictions of {task} are of other events: {difference}; they were "
                f"made from {sample or 'a sample that is not stated'}"
            )
        found |= values
    return found


def _difference(values: Row, event: DisplayEvent) -> str:
    """Return in words what the truth of a row has other than the event; empty if nothing."""
    shown, name = true_values(values), f"run {event.run} event {event.event}"
    energy, uvw_cm = shown.get("energy_mev", np.nan), shown.get("uvw_cm", UNKNOWN)
    if _differ((energy,), (event.energy_mev,)):
        return (
            f"{name} has the true energy {energy:.5g} MeV there and {event.energy_mev:.5g} MeV in "
            f"{event.source}"
        )
    if _differ(uvw_cm, event.uvw_cm):
        return (
            f"{name} has the true first interaction {vector_text(uvw_cm)} cm there and "
            f"{vector_text(event.uvw_cm)} cm in {event.source}"
        )
    return ""


def _differ(one: Sequence[float], other: Sequence[float]) -> bool:
    """Tell whether two lists of numbers that are known in both are not the same."""
    known = np.isfinite(one) & np.isfinite(other)
    return not np.isclose(one, other)[known].all()


def task_lines(values: Row) -> list[str]:
    """Return prediction and truth of each task as lines of two."""
    texts = _task_texts(values)
    return ["      ".join(texts[i : i + 2]) for i in range(0, len(texts), 2)]


def true_values(values: Row) -> dict[str, Any]:
    """Return energy and first interaction of the tables, where they are there."""
    found: dict[str, Any] = {}
    if pd.notna(values.get("true_energy")):
        found["energy_mev"] = float(values["true_energy"])
    if pd.notna(values.get("true_u")):
        found["uvw_cm"] = _vector(values, "true")
    return found


def _vector(values: Row, side: str) -> Vector:
    u, v, w = (float(values.get(f"{side}_{name}", np.nan)) for name in ("u", "v", "w"))
    return u, v, w


def crosses(values: Row) -> tuple[Mark, ...]:
    """Return the true and the predicted first interaction, as far as known."""
    truth, predicted = _vector(values, "true"), _vector(values, "pred")
    marks = (
        Mark(label="true first interaction", uvw_cm=truth, colour=TRUTH, marker="+"),
        Mark(label="predicted", uvw_cm=predicted, colour=PREDICTED, marker="x"),
    )
    return tuple(mark for mark in marks if mark.is_known)


def _task_texts(values: Row) -> list[str]:
    """Return prediction and truth of each task, as far as it was predicted."""
    pairs = (
        ("Energy", ("energy",), ".2f", "MeV"),
        ("Time", ("timing",), ".3f", "ns"),
        ("Position", ("u", "v", "w"), ".2f", "cm"),
        ("Angle", ("theta", "phi"), ".2f", "deg"),
    )
    texts = []
    for name, quantities, form, unit in pairs:
        if any(f"pred_{quantity}" in values for quantity in quantities):
            pred, true = (
                ", ".join(f"{values.get(f'{side}_{q}', math.nan):{form}}" for q in quantities)
                for side in ("pred", "true")
            )
            if len(quantities) > 1:
                pred, true = f"({pred})", f"({true})"
            texts.append(f"{name}: pred {pred}, true {true} {unit}")
    return texts
