"""Scheduled retraining: what a tick finds, and what it asks for.

A training is deterministic: with the same data, configuration and code it ends at the same weights.
So a tick asks for what is not up to date, else for the judgement of weights that were never
compared with the model in use, and otherwise skips and says so.
"""

import dataclasses
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Final

import dagster as dg

from xec_pipeline.config.datasets import dataset_key
from xec_pipeline.config.origin import encoder_by_name
from xec_pipeline.config.registry import registered_regressor, run_names
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.defs import keys
from xec_pipeline.defs.acceptance import objections, used_by

# The module: a job among the names of this one would be defined twice.
from xec_pipeline.defs.automation import jobs
from xec_pipeline.defs.partitions import evaluation_paths, training_paths
from xec_pipeline.defs.staleness import AssetPartition
from xec_pipeline.errors import ConfigError

RUN_TAG: Final = "xec/retrain"
"""Tag with the name of the run that is to be trained again."""
_PARTITION_TAG: Final = "dagster/partition"
_FRESH: Final = "FRESH"
_SELECTIONS: Final = 1000
"""Choices of the model in use that are looked back on."""
_UNFINISHED: Final = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be made of a run.

    Attributes
    ----------
    is_due
        Whether anything is to be done at all. The run then challenges the model in use.
    assets
        Assets of the run that are to be made before; empty for none.
    reason
        Why, or why not.
    """

    is_due: bool = False
    assets: tuple[dg.AssetKey, ...] = ()
    reason: str = ""


def scheduled_runs() -> dict[str, RegressorRun]:
    """Return the registered regressors whose file has a schedule; broken files are left out."""
    found = {}
    for name in run_names("regressor"):
        try:
            run = registered_regressor(name)
        except ConfigError:  # its own assets fail with this message
            continue
        if run.schedule.cron is not None:
            found[name] = run
    return found


def schedule_names(runs: Iterable[str]) -> dict[str, str]:
    """Return `retrain_<run>` by run; Dagster's names have no hyphens and dots."""
    plain = {name: f"retrain_{re.sub(r'[^A-Za-z0-9_]', '_', name)}" for name in runs}
    often = {text for text, count in Counter(plain.values()).items() if count > 1}
    return {
        name: f"{text}_{hashlib.sha256(name.encode()).hexdigest()[:6]}" if text in often else text
        for name, text in plain.items()
    }


def plan(
    run: RegressorRun,
    statuses: Mapping[AssetPartition, str],
    against: Mapping[AssetPartition, Sequence[str]],
    *,
    force: bool = False,
    is_judged: bool = True,
) -> Plan:
    """Decide what is to be made, from Dagster's statuses and the checks that did not pass.

    Parameters
    ----------
    run
        The run.
    statuses
        FRESH, STALE or MISSING, by asset and partition.
    against
        What speaks against the use of an asset, in words.
    force
        Train even if everything is up to date.
    is_judged
        Whether what is there took part in a choice of the model in use.
    """
    if obstacle := _obstacle(run, statuses, against):
        return Plan(reason=obstacle)
    not_fresh = {
        key: status.lower()
        for key in keys.RETRAINED
        if (status := statuses.get((key, run.name), "MISSING")) != _FRESH
    }
    if force or keys.WEIGHTS in not_fresh:
        why = not_fresh.get(keys.WEIGHTS)
        reason = f"its weights are {why}" if why else "schedule.force is set"
        return Plan(is_due=True, assets=keys.RETRAINED, reason=reason)
    if unfit := _about(against, set(keys.RETRAINED) - set(not_fresh)):
        return Plan(reason=f"weights are fresh, but {unfit}: making them again would not help")
    if not_fresh:
        told = ", ".join(f"{key.path[-1]} {status}" for key, status in not_fresh.items())
        reason = f"weights are fresh, but {told}"
        return Plan(is_due=True, assets=_with_followers(not_fresh), reason=reason)
    return _plan_for_fresh(run.name, is_judged=is_judged)


def _plan_for_fresh(name: str, *, is_judged: bool) -> Plan:
    if not is_judged:
        return Plan(is_due=True, reason="all is fresh, but was not judged yet")
    return Plan(
        reason=f"data, configuration and code of {name} are those that its weights were "
        "trained with; training again would give the same weights (schedule.force: true "
        "trains all the same)"
    )


def _obstacle(
    run: RegressorRun,
    statuses: Mapping[AssetPartition, str],
    against: Mapping[AssetPartition, Sequence[str]],
) -> str:
    """Return why nothing may be trained now; empty if all may."""
    used = sorted({dataset_key(path) for path in (*training_paths(run), *evaluation_paths(run))})
    old = tuple(name for name in used if statuses.get((keys.SHARDS, name)) != _FRESH)
    if old:
        return (
            f"data/shards of {', '.join(old)} are not up to date with the ROOT files or the code: "
            "materialize them, or switch on the sensor shards_follow, which does it as these change"
        )
    unfit = _about(against, {keys.SHARDS, keys.ENCODER})
    return f"{unfit}: nothing may learn from it" if unfit else ""


def _about(against: Mapping[AssetPartition, Sequence[str]], wanted: Set[dg.AssetKey]) -> str:
    """Return what speaks against some assets; empty for nothing."""
    return "; ".join(text for (key, _), texts in against.items() if key in wanted for text in texts)


def what_speaks_against(
    instance: dg.DagsterInstance, run: RegressorRun
) -> dict[AssetPartition, list[str]]:
    """Return the blocking checks that a run, its shards and its encoder did not pass, in words."""
    mae = encoder_by_name(run)
    items = [*used_by(run), *([(keys.ENCODER, mae)] if mae else [])]
    return {item: found for item in items if (found := list(objections(instance, *item)))}


def was_judged(instance: dg.DagsterInstance, name: str) -> bool:
    """Tell whether a run took part in a choice of the model in use since it was completed.

    Parameters
    ----------
    instance
        Knows what was made and chosen.
    name
        The run; its predictions and its exported model were made.
    """
    completed = max(_latest_number(instance, key, name) for key in (keys.PREDICTIONS, keys.ONNX))
    wanted = dg.AssetRecordsFilter(asset_key=keys.SELECTION, after_storage_id=completed)
    for record in instance.fetch_materializations(wanted, limit=_SELECTIONS).records:
        made = record.event_log_entry.asset_materialization
        told = made.metadata.get("challengers") if made else None
        if told is not None and name in str(told.value).split(", "):
            return True
    return False


def _latest_number(instance: dg.DagsterInstance, key: dg.AssetKey, partition: str) -> int:
    """Return the storage number of the latest materialization; -1 if there is none."""
    wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition])
    records = instance.fetch_materializations(wanted, limit=1).records
    return records[0].storage_id if records else -1


def _with_followers(not_fresh: Iterable[dg.AssetKey]) -> tuple[dg.AssetKey, ...]:
    """Return assets and the table, which is made from predictions and baselines."""
    wanted = set(not_fresh)
    if wanted & {keys.PREDICTIONS, keys.BASELINES}:
        wanted.add(keys.TABLE)
    return tuple(key for key in keys.RETRAINED if key in wanted)


def training_now(instance: dg.DagsterInstance, run: str) -> str | None:
    """Return the Dagster run that is to train a run and is not finished yet; None if there is none.

    That is one of a schedule, or any other that makes the weights of the run.
    """
    for tag in (RUN_TAG, _PARTITION_TAG):
        wanted = dg.RunsFilter(statuses=_UNFINISHED, tags={tag: run})
        for found in instance.get_runs(wanted):
            if tag == RUN_TAG or _makes_weights(found):
                return found.run_id
    return None


def _makes_weights(run: dg.DagsterRun) -> bool:
    if run.asset_selection is None:
        return run.job_name in {jobs.train_regressor.name, jobs.retrain_regressor.name}
    return keys.WEIGHTS in run.asset_selection


def training_run(plan: Plan, run: str, tick: str) -> dg.RunRequest:
    """Return the run that makes what is planned and lets the result challenge the champion."""
    step = keys.SELECTION.to_python_identifier()
    return dg.RunRequest(
        run_key=f"{run} {tick}",
        partition_key=run,
        asset_selection=[*plan.assets, keys.SELECTION, keys.PRODUCTION_ONNX],
        run_config={"ops": {step: {"config": {"challenger": run}}}},
        tags={RUN_TAG: run},
    )
