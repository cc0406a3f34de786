"""Sensors: they look at the outside world and at what should follow by itself."""

import os
from collections.abc import Iterator
from typing import Final

import dagster as dg

from xec_pipeline.defs import code, keys
from xec_pipeline.defs.automation.intervals import sensor_seconds
from xec_pipeline.defs.automation.jobs import build_shards
from xec_pipeline.defs.automation.observation import (
    changed_configs,
    changed_datasets,
    unfinished_datasets,
)
from xec_pipeline.defs.lineage import last_event_seen, latest_of
from xec_pipeline.defs.partitions import DATASETS
from xec_pipeline.defs.retries import INTERRUPTED_BUILD
from xec_pipeline.errors import ConfigError

# A tick must answer within a minute; larger files than fit are read over several ticks.
_READING_SECONDS: Final = 20.0
_MIN_AGE_VARIABLE: Final = "XEC_FILE_AGE"
_MIN_AGE_SECONDS: Final = "60"


@dg.sensor(
    minimum_interval_seconds=sensor_seconds(30),
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Reports changed run configurations of the registry.",
)
def run_registry(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Report the versions of run configurations that changed."""
    return _result(list(changed_configs(context.instance)), "no run configuration changed")


@dg.sensor(
    minimum_interval_seconds=sensor_seconds(60),
    default_status=dg.DefaultSensorStatus.RUNNING,
    description=(
        "Reports new and changed ROOT files of the datasets that runs name, once no file of a "
        f"dataset was modified for {_MIN_AGE_VARIABLE} seconds ({_MIN_AGE_SECONDS})."
    ),
)
def datasets(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Report the versions of datasets that changed."""
    age = min_age_seconds()
    found = changed_datasets(
        context.instance, reading_seconds=_READING_SECONDS, min_age_seconds=age
    )
    events = list(found)
    waiting = [
        f"{key}: {len(files)} files, such as {files[0].name}"
        for key, files in unfinished_datasets(age).items()
    ]
    if waiting:
        context.log.info("modified less than %g s ago, waiting: %s", age, "; ".join(waiting))
        return _result(events, f"modified less than {age:g} s ago, waiting: {'; '.join(waiting)}")
    return _result(events, "no dataset changed")


@dg.sensor(
    job=build_shards,
    minimum_interval_seconds=sensor_seconds(60),
    default_status=dg.DefaultSensorStatus.STOPPED,
    description=(
        "Builds the shards of a dataset when its ROOT files changed, or the code that makes "
        "shards. Switch on if wanted."
    ),
)
def shards_follow(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
    """Ask for shards that were made from other ROOT files than are there now, or by other code."""
    requests = list(shard_requests(context.instance))
    if not requests:
        return dg.SkipReason(
            "the shards of all datasets seen were made from their present files by the present code"
        )
    return dg.SensorResult(run_requests=requests)


def shard_requests(instance: dg.DagsterInstance) -> Iterator[dg.RunRequest]:
    """Yield a run for each dataset whose shards are missing, or of other files or other code.

    Its key is the dataset, the version of its files and the observation that told of it, the
    versions of the code that is to make the shards and that made the present ones. So no restart
    launches it twice, and files or code that come back to an earlier state are built again.
    """
    present_code = code.SHARDS.version()
    for dataset in DATASETS:
        seen = _files_seen(instance, dataset)
        if seen is None:
            continue
        version, observation = seen
        latest = latest_of(instance, keys.SHARDS, dataset)
        made = latest[0] if latest else None
        known = last_event_seen(made, keys.ROOT_FILES) if made else -1
        made_by = ((made.tags if made else None) or {}).get(keys.CODE_TAG, "none")
        if observation > known or made_by != present_code:
            run_key = f"{dataset} {version} {observation} {present_code} after {made_by}"
            yield dg.RunRequest(run_key=run_key, partition_key=dataset, tags=INTERRUPTED_BUILD)


def _files_seen(instance: dg.DagsterInstance, dataset: str) -> tuple[str, int] | None:
    """Return the version of a dataset's files as last seen, and the observation's number."""
    wanted = dg.AssetRecordsFilter(asset_key=keys.ROOT_FILES, asset_partitions=[dataset])
    for record in instance.fetch_observations(wanted, limit=1).records:
        seen = record.event_log_entry.asset_observation
        version = (seen.tags if seen else {}).get(keys.VERSION_TAG)
        if version is not None:
            return version, record.storage_id
    return None


def min_age_seconds() -> float:
    """Return how long a ROOT file must not have been modified before it counts.

    Raises
    ------
    ConfigError
        If XEC_FILE_AGE is not a number from 0.
    """
    text = os.environ.get(_MIN_AGE_VARIABLE, _MIN_AGE_SECONDS)
    if not (text.isascii() and text.isdecimal()):
        raise ConfigError(
            f"environment variable {_MIN_AGE_VARIABLE} is {text!r}: expected whole seconds from 0"
        )
    return float(text)


def _result(events: list[dg.AssetObservation], otherwise: str) -> dg.SensorResult | dg.SkipReason:
    return dg.SensorResult(asset_events=events) if events else dg.SkipReason(otherwise)


figures_follow = dg.AutomationConditionSensorDefinition(
    "figures_follow",
    target=dg.AssetSelection.assets(
        *(keys.FIGURES, keys.TABLE, keys.ANALYSIS),
        *(keys.REPORT, keys.MAE_REPORT, keys.INPAINTER_REPORT),
        *(keys.PRODUCTION_ONNX, keys.LEADERBOARD),
    ),
    default_status=dg.DefaultSensorStatus.RUNNING,
    minimum_interval_seconds=sensor_seconds(30),
    description="Makes figures, tables and reports again when their content or their code changed.",
)
