"""Versions of what comes from outside, and whether Dagster knows them already."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

import dagster as dg

from xec_pipeline.config.registry import (
    production_config,
    registered_inpainter,
    registered_mae,
    registered_regressor,
)
from xec_pipeline.config.run_base import Run, short_hash
from xec_pipeline.data.root_files import find_root_files
from xec_pipeline.defs import keys
from xec_pipeline.defs.partitions import (
    DATASETS,
    inpainter_partitions,
    mae_partitions,
    run_partitions,
)
from xec_pipeline.detector.dead_runs import dead_mask_for, is_database
from xec_pipeline.errors import ConfigError, DataError
from xec_pipeline.versioning import ContentHashes

HASH_CACHE: Final = Path(".dagster/content_hashes.json")

_log = logging.getLogger(__name__)


def changed_configs(instance: dg.DagsterInstance) -> Iterator[dg.AssetObservation]:
    """Yield an observation of each registered run, and of the rule, if its options changed."""
    yield from _changed_config(instance, keys.PRODUCTION_CONFIG, None, _rule)
    for name in run_partitions.get_partition_keys():
        yield from _changed_config(instance, keys.CONFIG, name, _of(registered_regressor))
        yield from _changed_config(instance, keys.EVALUATION_CONFIG, name, _evaluation)
        yield from _changed_config(instance, keys.EXPORT_CONFIG, name, _export)
    for name in mae_partitions.get_partition_keys():
        yield from _changed_config(instance, keys.MAE_CONFIG, name, _of(registered_mae))
    for name in inpainter_partitions.get_partition_keys():
        training = _of(registered_inpainter)
        yield from _changed_config(instance, keys.INPAINTER_CONFIG, name, training)
        yield from _changed_config(instance, keys.MEASUREMENT_CONFIG, name, _measurement)
        yield from _changed_config(instance, keys.INPAINTER_EXPORT_CONFIG, name, _inpainter_export)


def changed_datasets(
    instance: dg.DagsterInstance,
    *,
    reading_seconds: float = float("inf"),
    min_age_seconds: float = 0.0,
) -> Iterator[dg.AssetObservation]:
    """Yield an observation for each dataset whose files differ from those last seen.

    A dataset of which a file is still being copied is left for a later call as a whole.

    Parameters
    ----------
    instance
        Holds what was seen.
    reading_seconds
        Time after which no further unknown file is read; what is missing comes with the next call.
    min_age_seconds
        A file that was modified less than this long ago may be unfinished.
    """
    hashes = ContentHashes(HASH_CACHE)
    end = time.monotonic() + reading_seconds
    for key, dataset in DATASETS.items():
        files = _files(dataset.path)
        if unfinished(files, min_age_seconds):
            continue
        for path in files:
            if time.monotonic() < end:
                hashes.of(path)
        if files and all(map(hashes.remembers, files)):
            yield from _if_new(instance, keys.ROOT_FILES, key, hashes.of_all(files))


def unfinished_datasets(min_age_seconds: float) -> dict[str, list[Path]]:
    """Return the files that `changed_datasets` waits for, by dataset."""
    waited_for = {
        key: unfinished(_files(dataset.path), min_age_seconds) for key, dataset in DATASETS.items()
    }
    return {key: files for key, files in waited_for.items() if files}


def unfinished(files: Iterable[Path], min_age_seconds: float) -> list[Path]:
    """Return the files that were modified less than so long ago, or vanished meanwhile."""
    now = time.time()
    return [
        path for path in files if min_age_seconds > 0 and now - _modified(path) < min_age_seconds
    ]


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _changed_config(
    instance: dg.DagsterInstance,
    asset: dg.AssetKey,
    name: str | None,
    version_of: Callable[[str], str],
) -> Iterator[dg.AssetObservation]:
    try:
        version = version_of(name or "")
    except (ConfigError, DataError) as error:
        _log.warning("%s", error)
        return
    yield from _if_new(instance, asset, name, version)


def _of(read: Callable[[str], Run]) -> Callable[[str], str]:
    """Return what gives the version of a training's options by the name of the run."""
    return lambda name: read(name).digest()


def _evaluation(name: str) -> str:
    return registered_regressor(name).evaluation_digest()


def _export(name: str) -> str:
    return short_hash(registered_regressor(name).export.model_dump())


def _rule(_name: str) -> str:
    return production_config().digest()


def _measurement(name: str) -> str:
    """Return the version of what an inpainter is measured with, a run's dead sensors included.

    Raises
    ------
    XecError
        If the database does not answer.
    """
    run = registered_inpainter(name)
    source, dead_run = run.validation.dead_file, run.validation.dead_run
    digest = run.measurement_digest()
    if source is None or dead_run is None or not is_database(source):
        return digest
    return short_hash({"options": digest}, dead_mask_for(source, dead_run).tobytes())


def _inpainter_export(name: str) -> str:
    return short_hash(registered_inpainter(name).export.model_dump())


def _files(path: str) -> list[Path]:
    try:
        return find_root_files(path)
    except DataError:
        return []  # not made or not mounted yet


def _if_new(
    instance: dg.DagsterInstance, asset: dg.AssetKey, partition: str | None, version: str
) -> Iterator[dg.AssetObservation]:
    partitions = None if partition is None else [partition]
    wanted = dg.AssetRecordsFilter(asset_key=asset, asset_partitions=partitions)
    latest = instance.fetch_observations(wanted, limit=1).records
    known = latest[0].event_log_entry.asset_observation if latest else None
    if known is None or known.tags.get(keys.VERSION_TAG) != version:
        tags = {keys.VERSION_TAG: version}
        yield dg.AssetObservation(asset_key=asset, partition=partition, tags=tags)
