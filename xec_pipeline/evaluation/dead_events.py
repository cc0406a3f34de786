"""Predictions of events with dead sensors as a ROOT tree: one branch per quantity and strategy."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import uproot
from numpy.typing import NDArray

from xec_pipeline.atomic import replacing
from xec_pipeline.data.targets import TARGETS
from xec_pipeline.evaluation.tables import KEYS, PredictionTable
from xec_pipeline.units import INVALID

TREE: Final = "tree"


def write_dead_study(
    path: Path, tables: Mapping[str, PredictionTable], tasks: Sequence[str]
) -> Path:
    """Write the tree `tree`, one entry per event; the file is whole or not there.

    Branches: `run`, `event`; the truth `true_<quantity>` where it is known; and for each quantity
    and strategy `<quantity>_<strategy>`, such as `u_inpainted`. Energies are MeV, times ns, lengths
    cm, angles degree; 1e10 is "not known".

    Parameters
    ----------
    path
        The file.
    tables
        Predictions of the same events in internal units by strategy.
    tasks
        Tasks that were predicted.

    Raises
    ------
    OutputError
        If the disk is full.
    """
    columns = _columns(tables, tasks)
    with (
        replacing(path) as partial,
        uproot.recreate(partial, compression=uproot.ZSTD(5)) as file,
    ):
        tree = file.mktree(TREE, {name: values.dtype for name, values in columns.items()})
        tree.extend(columns)
    return path


def _columns(
    tables: Mapping[str, PredictionTable], tasks: Sequence[str]
) -> dict[str, NDArray[Any]]:
    first = next(iter(tables.values()))
    columns: dict[str, NDArray[Any]] = {name: first[name].to_numpy(dtype=np.int32) for name in KEYS}
    names = [name for task in tasks for name in TARGETS[task].csv_true]
    columns |= {name: _known(first, name) for name in names}
    for strategy, table in tables.items():
        for task in tasks:
            for name in TARGETS[task].csv_pred:
                columns[f"{name.removeprefix('pred_')}_{strategy}"] = _known(table, name)
    return columns


def _known(table: PredictionTable, name: str) -> NDArray[np.float32]:
    values = table[name].to_numpy(dtype=np.float32)
    return np.where(np.isfinite(values), values, np.float32(INVALID))
