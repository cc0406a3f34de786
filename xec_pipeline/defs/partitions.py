"""Partitions: runs of the registry, datasets that they name; and which run needs what.

A regressor or inpainter run needs datasets, and the encoder of the masked-autoencoder run that its
file names; an inpainter may also name the regressor that is to profit from it.
"""

import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias, TypeVar

import dagster as dg

from xec_pipeline.config.datasets import dataset_key
from xec_pipeline.config.inpainter import InpainterRun
from xec_pipeline.config.mae import MaeRun
from xec_pipeline.config.origin import encoder_run
from xec_pipeline.config.registry import (
    RunKind,
    registered_inpainter,
    registered_mae,
    registered_regressor,
    run_names,
)
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.errors import ConfigError

_log = logging.getLogger(__name__)

AnyRun: TypeAlias = RegressorRun | InpainterRun | MaeRun
RunT = TypeVar("RunT", RegressorRun, InpainterRun, MaeRun)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """ROOT files that runs name.

    Attributes
    ----------
    path
        File, folder or pattern, as a run's configuration gives it.
    run_name, kind
        A run that names it: the first regressor by name, else the first inpainter, else the first
        masked autoencoder.
    """

    path: str
    run_name: str
    kind: RunKind


def _readable_runs(kind: RunKind, read: Callable[[str], RunT]) -> dict[str, RunT]:
    runs = {}
    for name in run_names(kind):
        try:
            runs[name] = read(name)
        except ConfigError as error:
            # One broken file must not hide the other runs; its own assets fail with this message.
            _log.warning("%s", error)
    return runs


def _datasets() -> dict[str, Dataset]:
    found: dict[str, Dataset] = {}
    for name, run in sorted(_RUNS.items()):
        for path in (*training_paths(run), *evaluation_paths(run)):
            found.setdefault(dataset_key(path), Dataset(path, name, "regressor"))
    for name, inpainter in sorted(_INPAINTERS.items()):
        for path in (*training_paths(inpainter), *evaluation_paths(inpainter)):
            found.setdefault(dataset_key(path), Dataset(path, name, "inpainter"))
    for name, mae in sorted(_MAES.items()):
        for path in training_paths(mae):
            found.setdefault(dataset_key(path), Dataset(path, name, "mae"))
    return found


def training_paths(run: AnyRun) -> list[str]:
    """Return the datasets that a training reads: training and validation events."""
    return _given(run.data.train_path, run.data.val_path)


def evaluation_paths(run: RegressorRun | InpainterRun) -> list[str]:
    """Return the datasets that predictions are made for: validation and test events."""
    return _given(run.data.val_path, run.data.test_path)


def recovery_paths(run: InpainterRun) -> list[str]:
    """Return the dataset whose sensors an inpainter recovers: test events, else validation ones."""
    return _given(run.data.test_path or run.data.val_path)


def samples_beside(key: str) -> list[str]:
    """Return the paths of samples that some run uses in another role than the dataset `key`."""
    beside = {
        dataset_key(path): path
        for roles in _roles().values()
        if key in map(dataset_key, roles.values())
        for path in roles.values()
    }
    return [path for name, path in sorted(beside.items()) if name != key]


def runs_that_mix(key: str) -> list[str]:
    """Return the runs that use the dataset `key` in several roles, as for training and testing."""
    return sorted(
        name
        for name, roles in _roles().items()
        if [dataset_key(path) for path in roles.values()].count(key) > 1
    )


def _roles() -> dict[str, dict[str, str]]:
    """Return the samples of each run by what it uses them for."""
    runs: dict[str, Mapping[str, AnyRun]] = {
        "regressor": _RUNS,
        "inpainter": _INPAINTERS,
        "mae": _MAES,
    }
    return {
        f"{kind} {name}": {
            role: path
            for role in ("train_path", "val_path", "test_path")
            if (path := getattr(run.data, role, ""))
        }
        for kind, of_kind in runs.items()
        for name, run in of_kind.items()
    }


def _given(*paths: str) -> list[str]:
    return [path for path in paths if path]


def _mapping(paths_by_run: dict[str, list[str]]) -> dg.StaticPartitionMapping:
    runs_by_dataset: dict[str, list[str]] = {key: [] for key in DATASETS}
    for name, paths in paths_by_run.items():
        for key in _keys(paths):
            runs_by_dataset[key].append(name)
    return dg.StaticPartitionMapping(runs_by_dataset)


def _keys(paths: Iterable[str]) -> list[str]:
    return sorted({dataset_key(path) for path in paths})


def _named(kind: RunKind, names: Mapping[str, str | None]) -> dg.StaticPartitionMapping:
    """Map each run of a kind to the runs that name it.

    Parameters
    ----------
    kind
        Of the named runs.
    names
        Naming run to named run, None where there is none.
    """
    naming: dict[str, list[str]] = {name: [] for name in run_names(kind)}
    for name, named in names.items():
        if named is not None:
            naming[named].append(name)
    return dg.StaticPartitionMapping(naming)


_RUNS = _readable_runs("regressor", registered_regressor)
_INPAINTERS = _readable_runs("inpainter", registered_inpainter)
_MAES = _readable_runs("mae", registered_mae)
DATASETS = _datasets()
"""Datasets by partition key."""

run_partitions = dg.StaticPartitionsDefinition(run_names("regressor"))
mae_partitions = dg.StaticPartitionsDefinition(run_names("mae"))
dataset_partitions = dg.StaticPartitionsDefinition(sorted(DATASETS))
datasets_of_mae = _mapping({name: training_paths(run) for name, run in _MAES.items()})
datasets_of_training = _mapping({name: training_paths(run) for name, run in _RUNS.items()})
datasets_of_evaluation = _mapping({name: evaluation_paths(run) for name, run in _RUNS.items()})
datasets_of_run = _mapping(
    {name: [*training_paths(run), *evaluation_paths(run)] for name, run in _RUNS.items()}
)
encoder_of_run = _named("mae", {name: encoder_run(run) for name, run in _RUNS.items()})

inpainter_partitions = dg.StaticPartitionsDefinition(run_names("inpainter"))
datasets_of_inpainter = _mapping({name: training_paths(run) for name, run in _INPAINTERS.items()})
datasets_of_recovery = _mapping({name: recovery_paths(run) for name, run in _INPAINTERS.items()})
encoder_of_inpainter = _named("mae", {name: encoder_run(run) for name, run in _INPAINTERS.items()})
regressor_of_inpainter = _named(
    "regressor", {name: run.validation.regressor for name, run in _INPAINTERS.items()}
)
