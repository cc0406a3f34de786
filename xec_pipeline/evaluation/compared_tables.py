"""The prediction tables that a table of resolutions is made from: one choice of events for all."""

import dataclasses
import logging
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.beside import CONVENTIONAL
from xec_pipeline.evaluation.cross_truth import further_tables, with_cross_truth
from xec_pipeline.evaluation.metadata import earlier_tables
from xec_pipeline.evaluation.residuals import (
    SIGNAL_WINDOW_MEV,
    column,
    in_signal_window,
    usable,
)
from xec_pipeline.evaluation.same_events import is_of_events
from xec_pipeline.evaluation.tables import (
    TASK_QUANTITIES,
    TEST_FOLDER,
    PredictionTable,
    predicted_tasks,
    prediction_path,
    read_prediction_csv,
)
from xec_pipeline.units import SIGNAL_ENERGY_MEV

MODEL: Final = "model"
CHARGE: Final = "charge-weighted"
TRAINING_MEAN: Final = "training mean"
METHODS: Final[Mapping[str, str | None]] = MappingProxyType(
    {
        MODEL: None,
        CONVENTIONAL: CONVENTIONAL,
        CHARGE: "charge_weighted",
        TRAINING_MEAN: "trivial",
    }
)
"""Column of the table to the name of the method in the CSVs."""

Tables = Mapping[str, PredictionTable]
"""Predictions by task."""

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ComparedTables:
    """What is compared.

    Attributes
    ----------
    tables
        Predictions by method, then by task, of the chosen events that have truth and prediction;
        those of a method that has none are empty.
    selection
        Which events, in words; the same for all tables.
    n_left_out
        Chosen events without finite truth or prediction, by method, then by task; only where there
        are some.
    notes
        Tables that stand there and are not compared, and why.
    """

    tables: Mapping[str, Tables]
    selection: str
    n_left_out: Mapping[str, Mapping[str, int]]
    notes: tuple[str, ...] = ()


def sample_dir(run_dir: Path | str, run_name: str, csv_suffix: str = "") -> Path:
    """Return the folder of the test sample's CSVs if there are any, else that of the run."""
    test = Path(run_dir) / TEST_FOLDER
    return test if predicted_tasks(test, run_name, csv_suffix) else Path(run_dir)


def model_tables(folder: Path | str, run_name: str) -> dict[str, PredictionTable]:
    """Return the network's predictions by task, for the events that the table is about."""
    tables, _ = _of_network(folder, run_name, "", None)
    return {task: chosen for task, (chosen, _) in _chosen(tables, tables).items()}


def compared_tables(
    folder: Path | str,
    run_name: str,
    csv_suffix: str = "",
    tasks: Collection[str] | None = None,
) -> ComparedTables:
    """Read the predictions of the network, and those of other methods for the same events.

    Parameters
    ----------
    folder, run_name, csv_suffix
        See `tables.prediction_path`; the files of other methods have no suffix.
    tasks
        Tasks to compare; None for all that the network predicts.

    Raises
    ------
    DataError
        If there is no prediction of the network.
    """
    own, notes = _of_network(folder, run_name, csv_suffix, tasks)
    if not own:
        example = prediction_path(folder, "<task>", run_name, suffix=csv_suffix)
        raise DataError(f"no predictions for a table of resolutions: expected files {example}")
    tables: dict[str, dict[str, PredictionTable]] = {MODEL: own}
    for method, name in METHODS.items():
        if method != MODEL:
            tables[method], unlike = _of_method(folder, run_name, name, own)
            notes += unlike
    found = {method: _chosen(by_task, own) for method, by_task in tables.items()}
    return ComparedTables(
        tables={
            method: {task: table for task, (table, _) in by_task.items()}
            for method, by_task in found.items()
        },
        selection=selection_of(own),
        n_left_out={
            method: counts
            for method, by_task in found.items()
            if (counts := {task: n for task, (_, n) in by_task.items() if n})
        },
        notes=tuple(notes),
    )


def selection_of(tables: Tables) -> str:
    """Say which events are compared; the choice is that of `chosen_events`."""
    unknown = [task for task, table in tables.items() if not _has_energy(table)]
    if unknown:
        of_some = "" if len(unknown) == len(tables) else f" for {', '.join(unknown)}"
        return f"all events (true energy not known{of_some})"
    energies = np.concatenate([column(table, "true_energy") for table in tables.values()])
    if np.nanmax(np.abs(energies - SIGNAL_ENERGY_MEV)) < 0.05:
        return f"{SIGNAL_ENERGY_MEV} MeV"
    low, high = SIGNAL_WINDOW_MEV
    if not _is_windowed(tables):
        return f"all energies (none from {low:g} to {high:g} MeV)"
    return f"true energy {low:g} to {high:g} MeV"


def chosen_events(tables: Tables, reference: Tables | None = None) -> dict[str, PredictionTable]:
    """Return the events near the signal energy, or all, that have truth and prediction.

    Parameters
    ----------
    tables
        Predictions by task.
    reference
        Tables that decide which; by default `tables` themselves.
    """
    chosen = _chosen(tables, tables if reference is None else reference)
    return {task: table for task, (table, _) in chosen.items()}


def _chosen(tables: Tables, reference: Tables) -> dict[str, tuple[PredictionTable, int]]:
    """Return the chosen usable events of each task, and how many were not usable."""
    is_windowed, found = _is_windowed(reference), {}
    for task, table in tables.items():
        inside = in_signal_window(table) if is_windowed else table
        kept = usable(inside, task)
        found[task] = kept, len(inside) - len(kept)
    return found


def _is_windowed(tables: Tables) -> bool:
    """Tell whether events are chosen by energy: all tables know it, and some are near it."""
    return all(map(_has_energy, tables.values())) and any(
        len(in_signal_window(table)) for table in tables.values()
    )


def _has_energy(table: PredictionTable) -> bool:
    return "true_energy" in table and bool(table["true_energy"].notna().any())


def _of_network(
    folder: Path | str, run_name: str, csv_suffix: str, tasks: Collection[str] | None
) -> tuple[dict[str, PredictionTable], list[str]]:
    """Return the network's tables of one origin, and what was left out."""
    earlier, notes = earlier_tables(folder, run_name, csv_suffix), []
    wanted = predicted_tasks(folder, run_name, csv_suffix) if tasks is None else tasks
    for task in [task for task in wanted if task in earlier]:
        name = prediction_path(folder, task, run_name, suffix=csv_suffix).name
        notes.append(f"Left out: {name}, which is of {earlier[task].in_words()}.")
    tables = {
        task: read_prediction_csv(prediction_path(folder, task, run_name, suffix=csv_suffix), task)
        for task in TASK_QUANTITIES
        if task in wanted and task not in earlier
    }
    others = further_tables(tables, folder, run_name, csv_suffix)
    return with_cross_truth(tables, [others[task] for task in others if task not in earlier]), notes


def _of_method(
    folder: Path | str, run_name: str, method: str | None, own: Tables
) -> tuple[dict[str, PredictionTable], list[str]]:
    """Return the tables of a method that are of the network's events, and what was left out."""
    paths = {task: prediction_path(folder, task, run_name, method=method) for task in own}
    found = {
        task: read_prediction_csv(path, task) for task, path in paths.items() if path.is_file()
    }
    kept = {task: table for task, table in found.items() if is_of_events(table, own[task], task)}
    completed = with_cross_truth(kept, own.values())
    needs_energy = _is_windowed(own)
    tables = {
        task: table
        for task, table in completed.items()
        if _has_energy(table) or not needs_energy or not len(table)
    }
    notes = [
        f"Left out: {paths[task].name}, whose truth is that of other events than the network's."
        for task in found
        if task not in tables
    ]
    return tables, list(_logged(notes))


def _logged(notes: Iterable[str]) -> Iterable[str]:
    for note in notes:
        _log.warning("%s", note)
        yield note
