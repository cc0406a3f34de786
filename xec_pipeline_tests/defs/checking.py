"""One asset check, on an asset that stands for the real one."""

import uuid
from typing import Any

import dagster as dg

from xec_pipeline.defs import keys
from xec_pipeline.defs.acceptance import BLOCKING

DATASET = "data.toy.val"
CheckDefinition = Any


def check(
    definition: CheckDefinition,
    key: dg.AssetKey,
    instance: dg.DagsterInstance | None = None,
    partition: str | None = None,
    /,
    **metadata: Any,
) -> dg.AssetCheckEvaluation:
    """Materialize a partition of an asset with this metadata, together with the check."""
    (spec,) = definition.check_specs
    partition = partition or (DATASET if key == keys.SHARDS else "demo")

    @dg.asset(key=key, partitions_def=spec.partitions_def)
    def asset() -> dg.MaterializeResult[None]:
        return dg.MaterializeResult(metadata=metadata)

    result = dg.materialize(
        [asset, definition], partition_key=partition, instance=instance, raise_on_error=False
    )
    (evaluation,) = result.get_asset_check_evaluations()
    return evaluation


def numbers(evaluation: dg.AssetCheckEvaluation) -> dict[str, Any]:
    """Return the metadata of an evaluation as plain values."""
    return {name: value.value for name, value in evaluation.metadata.items()}


def report_checks(
    instance: dg.DagsterInstance, key: dg.AssetKey, partition: str = "demo", **verdicts: bool
) -> None:
    """Report that what was made last passed all its blocking checks but those said otherwise."""
    run_id = str(uuid.uuid4())  # Dagster keeps one evaluation of a check for each run
    for name, passed in {**dict.fromkeys(BLOCKING.get(key, ()), True), **verdicts}.items():
        evaluation = dg.AssetCheckEvaluation(
            asset_key=key, check_name=name, passed=passed, metadata={}, partition=partition
        )
        event = dg.DagsterEvent(
            event_type_value=dg.DagsterEventType.ASSET_CHECK_EVALUATION.value,
            job_name="reported",
            event_specific_data=evaluation,
        )
        instance.report_dagster_event(event, run_id=run_id)
