"""Whether what was made of a run is still what its inputs and its code would give.

The same question as in `xec_pipeline.defs.staleness`, which asks Dagster in another process. That
takes seconds, on a machine that trains a minute; a tick of a schedule has no more. Here the events
are read directly: a materialization tells how far the events of each input went when it was made.
"""

import datetime as dt
from collections.abc import Iterator, Mapping
from typing import Final

import dagster as dg

from xec_pipeline.config.datasets import dataset_key
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.defs import keys

# Modules: an asset among the names of this one would be defined twice.
from xec_pipeline.defs.assets import figures, regressor
from xec_pipeline.defs.assets import shards as of_datasets
from xec_pipeline.defs.lineage import last_event_seen
from xec_pipeline.defs.partitions import (
    dataset_partitions,
    evaluation_paths,
    mae_partitions,
    run_partitions,
    training_paths,
)
from xec_pipeline.defs.staleness import AssetPartition

_NEVER: Final = "was never made"
_OF_RUN: Final = (
    regressor.weights,
    regressor.predictions_csv,
    regressor.baselines_csv,
    figures.resolution_table,
    regressor.onnx,
)
_PARTITIONS: Final[Mapping[dg.AssetKey, dg.PartitionsDefinition]] = {
    keys.ROOT_FILES: dataset_partitions,
    keys.SHARDS: dataset_partitions,
    keys.ENCODER: mae_partitions,
}


def look_at(
    instance: dg.DagsterInstance, run: RegressorRun
) -> tuple[dict[AssetPartition, str], list[str]]:
    """Return the status of a run's shards and assets, FRESH, STALE or MISSING, and what changed."""
    datasets = {dataset_key(path) for path in (*training_paths(run), *evaluation_paths(run))}
    items = [(of_datasets.shards, name) for name in sorted(datasets)] + [
        (asset, run.name) for asset in _OF_RUN
    ]
    statuses, causes = {}, []
    for asset, partition in items:
        found = list(changes(instance, asset, partition))
        status = "MISSING" if _NEVER in found else "STALE" if found else "FRESH"
        statuses[asset.key, partition] = status
        causes += [f"{asset.key.to_user_string()} [{partition}] {change}" for change in found]
    return statuses, causes


def changes(
    instance: dg.DagsterInstance, asset: dg.AssetsDefinition, partition: str
) -> Iterator[str]:
    """Yield what changed since a partition of an asset was made."""
    spec = asset.get_asset_spec()
    wanted = dg.AssetRecordsFilter(asset_key=spec.key, asset_partitions=[partition])
    records = instance.fetch_materializations(wanted, limit=1).records
    made = records[0].event_log_entry.asset_materialization if records else None
    if made is None:
        yield _NEVER
        return
    tags = made.tags or {}
    if tags.get(keys.CODE_TAG) != spec.code_version:
        yield "has other code"
    for dep in spec.deps:
        name = "/".join(dep.asset_key.path)
        seen = last_event_seen(made, dep.asset_key)
        for upstream in _upstream(dep, partition):
            then = _version(instance, dep.asset_key, upstream, until=seen)
            if _version(instance, dep.asset_key, upstream) != then:
                yield f"has other input: {name} [{upstream}]"


def _upstream(dep: dg.AssetDep, partition: str) -> list[str]:
    """Return the partitions of an input that a partition is made from."""
    own = _PARTITIONS.get(dep.asset_key, run_partitions)
    if dep.partition_mapping is None:
        return [partition]
    found = dep.partition_mapping.get_upstream_mapped_partitions_result_for_partitions(
        downstream_partitions_subset=run_partitions.subset_with_partition_keys([partition]),
        downstream_partitions_def=run_partitions,
        upstream_partitions_def=own,
        current_time=dt.datetime.now(dt.timezone.utc),
    )
    return sorted(found.partitions_subset.get_partition_keys())


def _version(
    instance: dg.DagsterInstance, key: dg.AssetKey, partition: str, until: int | None = None
) -> str | None:
    """Return the version of a partition as its latest event tells it, or told it up to an event."""
    wanted = dg.AssetRecordsFilter(
        asset_key=key,
        asset_partitions=[partition],
        before_storage_id=None if until is None else until + 1,
    )
    for fetch in (instance.fetch_materializations, instance.fetch_observations):
        for record in fetch(wanted, limit=1).records:
            entry = record.event_log_entry
            event = entry.asset_materialization or entry.asset_observation
            version = (event.tags or {}).get(keys.VERSION_TAG) if event else None
            if version is not None:
                return version
    return None
