"""What may be used: only what passed its blocking checks, whichever Dagster run made it.

Within one run Dagster itself stops what comes after a failed blocking check. What another run, a
schedule or the choice of the model in use takes up later is asked for here.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import dagster as dg

from xec_pipeline.config.datasets import dataset_key
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.defs import keys
from xec_pipeline.defs.partitions import evaluation_paths, training_paths
from xec_pipeline.defs.staleness import AssetPartition

BLOCKING: Final[Mapping[dg.AssetKey, tuple[str, ...]]] = {
    keys.SHARDS: ("samples_do_not_overlap", "shards_are_sound"),
    keys.ENCODER: ("losses_are_finite",),
    keys.WEIGHTS: ("losses_are_finite",),
    keys.PREDICTIONS: ("predictions_are_complete",),
    keys.ONNX: ("onnx_matches_weights", "onnx_reproduces_network"),
}
"""Blocking checks of what other Dagster runs take up, by asset."""
BEATS_A_CONSTANT: Final = "beats_a_constant"
_PAGE: Final = 100


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What a check found.

    Attributes
    ----------
    passed
        Whether all was well.
    materialization
        Storage number of what it looked at; None if a person reported it.
    partition
        Partition of the asset.
    timestamp
        When it was finished [s].
    """

    passed: bool
    materialization: int | None
    partition: str | None
    timestamp: float

    def is_about(self, made: dg.EventLogRecord) -> bool:
        """Tell whether it is about that materialization; a report is about what it follows."""
        if self.materialization is not None:
            return self.materialization == made.storage_id
        return self.partition == made.partition_key and self.timestamp >= made.timestamp


def require_accepted(instance: dg.DagsterInstance, items: Iterable[AssetPartition]) -> None:
    """Refuse to go on if what is to be used did not pass its blocking checks.

    Raises
    ------
    dagster.Failure
        Naming assets, partitions and checks.
    """
    found = [text for item in items for text in objections(instance, *item)]
    if found:
        raise dg.Failure(
            f"{'; '.join(found)}: correct what the check tells of, and materialize it again",
            allow_retries=False,
        )


def objections(
    instance: dg.DagsterInstance,
    key: dg.AssetKey,
    partition: str,
    checks: Iterable[str] | None = None,
) -> Iterator[str]:
    """Yield, in words, each check that the latest materialization of a partition did not pass.

    Parameters
    ----------
    instance
        Holds what was made and judged.
    key, partition
        What is to be used; nothing is said of what was never made.
    checks
        Names of checks; the blocking ones of the asset if there are none.
    """
    wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition])
    for record in instance.fetch_materializations(wanted, limit=1).records:
        for name in BLOCKING[key] if checks is None else checks:
            verdict = passed(record, evaluations(instance, dg.AssetCheckKey(key, name)))
            if not verdict:
                fate = "was not finished for" if verdict is None else "failed for"
                yield f"check {name} {fate} {key.to_user_string()} [{partition}]"


def used_by(run: RegressorRun) -> list[AssetPartition]:
    """Return what makes up a regressor as others use it: its shards, weights, tables and model."""
    paths = (*training_paths(run), *evaluation_paths(run))
    shards = [(keys.SHARDS, name) for name in sorted(set(map(dataset_key, paths)))]
    return [*shards, *((key, run.name) for key in (keys.WEIGHTS, keys.PREDICTIONS, keys.ONNX))]


def evaluations(instance: dg.DagsterInstance, check: dg.AssetCheckKey) -> Iterator[Evaluation]:
    """Yield the evaluations of a check that were finished, the latest first."""
    cursor: int | None = None
    while True:
        records = instance.event_log_storage.get_asset_check_execution_history(
            check, limit=_PAGE, cursor=cursor
        )
        for record in records:
            entry = record.event
            event = entry.dagster_event if entry else None
            if entry and event and event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
                about = event.asset_check_evaluation_data.target_materialization_data
                yield Evaluation(
                    passed=record.status.value == "SUCCEEDED",
                    materialization=about.storage_id if about else None,
                    partition=record.partition,
                    timestamp=entry.timestamp,
                )
        if len(records) < _PAGE:
            return
        cursor = records[-1].id


def passed(made: dg.EventLogRecord, history: Iterable[Evaluation]) -> bool | None:
    """Return whether a materialization passed a check, by the latest word; None for none."""
    return next((one.passed for one in history if one.is_about(made)), None)
