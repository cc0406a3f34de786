"""Partitions: runs of the registry, datasets that they name; and which run needs which dataset."""

import dataclasses
import logging
from collections.abc import Iterable

import dagster as dg

from xec_pipeline.config.datasets import dataset_key
from xec_pipeline.config.registry import registered_regressor, run_names
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.errors import ConfigError

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """ROOT files that runs name.

    Attributes
    ----------
    path
        File, folder or pattern, as a run's configuration gives it.
    run_name
        A run that names it; the first by name, if there are more.
    """

    path: str
    run_name: str


def _readable_runs() -> dict[str, RegressorRun]:
    runs = {}
    for name in run_names("regressor"):
        try:
            runs[name] = registered_regressor(name)
        except ConfigError as error:
            # One broken file must not hide the other runs; its own assets fail with this message.
            _log.warning("%s", error)
    return runs


def _datasets(runs: dict[str, RegressorRun]) -> dict[str, Dataset]:
    found: dict[str, Dataset] = {}
    for name, run in sorted(runs.items()):
        for path in (*training_paths(run), *evaluation_paths(run)):
            found.setdefault(dataset_key(path), Dataset(path, name))
    return found


def training_paths(run: RegressorRun) -> list[str]:
    """Return the datasets that a training reads: training and validation events."""
    return _given(run.data.train_path, run.data.val_path)


def evaluation_paths(run: RegressorRun) -> list[str]:
    """Return the datasets that predictions are made for: validation and test events."""
    return _given(run.data.val_path, run.data.test_path)


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


_RUNS = _readable_runs()
DATASETS = _datasets(_RUNS)
"""Datasets by partition key."""

run_partitions = dg.StaticPartitionsDefinition(run_names("regressor"))
dataset_partitions = dg.StaticPartitionsDefinition(sorted(DATASETS))
datasets_of_training = _mapping({name: training_paths(run) for name, run in _RUNS.items()})
datasets_of_evaluation = _mapping({name: evaluation_paths(run) for name, run in _RUNS.items()})
datasets_of_run = _mapping(
    {name: [*training_paths(run), *evaluation_paths(run)] for name, run in _RUNS.items()}
)
