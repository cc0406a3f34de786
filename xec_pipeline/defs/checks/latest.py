"""What checks have in common: the partition they are about, and what was made of it last."""

import math
from typing import Final

import dagster as dg

from xec_pipeline.defs.acceptance import evaluations, passed
from xec_pipeline.defs.keys import VERSION_TAG
from xec_pipeline.defs.lineage import latest_of

_HISTORY: Final = 100
"""Materializations that are looked back on."""


def run_name(context: dg.AssetCheckExecutionContext) -> str:
    """Return the partition that is looked at.

    Raises
    ------
    dagster.Failure
        If the Dagster run has none.
    """
    if not context.has_partition_key:
        raise dg.Failure(
            "this check looks at one partition of its asset, and none was given: materialize that "
            "partition, which runs the check too",
            allow_retries=False,
        )
    return str(context.partition_key)


def latest(
    context: dg.AssetCheckExecutionContext, key: dg.AssetKey
) -> dg.AssetMaterialization | None:
    """Return the latest materialization of an asset for this run; None if there is none."""
    found = latest_of(context.instance, key, run_name(context))
    return None if found is None else found[0]


def number(made: dg.AssetMaterialization | None, name: str) -> float:
    """Return a number of a materialization's metadata; NaN if it is not there."""
    value = made.metadata[name].value if made and name in made.metadata else None
    return float(value) if isinstance(value, int | float) else math.nan


def accepted_before(
    context: dg.AssetCheckExecutionContext, key: dg.AssetKey, check: str, *, same: str
) -> tuple[dg.AssetMaterialization, str] | None:
    """Return the last earlier materialization that passed a check, and its Dagster run.

    None if there is none, or if the partition was never made.

    Parameters
    ----------
    context
        Of the check that runs now.
    key
        Asset of the check.
    check
        Name of the check.
    same
        Metadata that must be equal in both, such as the version of the events.
    """
    history = list(evaluations(context.instance, dg.AssetCheckKey(key, check)))
    wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[run_name(context)])
    records = context.instance.fetch_materializations(wanted, limit=_HISTORY).records
    present = records[0].event_log_entry.asset_materialization if records else None
    for record in records[1:]:
        made = record.event_log_entry.asset_materialization
        if made and present and _agree(made, present, same) and passed(record, history):
            return made, record.run_id
    return None


def _agree(first: dg.AssetMaterialization, second: dg.AssetMaterialization, name: str) -> bool:
    if name not in first.metadata or name not in second.metadata:
        return False
    return bool(first.metadata[name].value == second.metadata[name].value)


def reproduces_network(
    context: dg.AssetCheckExecutionContext, exported: dg.AssetKey
) -> dg.AssetCheckResult:
    """Look at the largest difference between exported model and network that was found."""
    made = latest(context, exported)
    numbers = {name: number(made, name) for name in ("parity_of_allowed", "parity_events")}
    passed = numbers["parity_of_allowed"] <= 1 and numbers["parity_events"] > 0
    return dg.AssetCheckResult(passed=passed, metadata={"run": run_name(context), **numbers})


def holds_present_weights(
    context: dg.AssetCheckExecutionContext, exported: dg.AssetKey, weights: dg.AssetKey
) -> dg.AssetCheckResult:
    """Compare the version of the weights in an exported model with that of the weights asset.

    A model that does not reproduce its weights is never written; the export fails instead.
    """
    model, trained = latest(context, exported), latest(context, weights)
    in_model = model.metadata["weights_version"].value if model else None
    present = (trained.tags or {}).get(VERSION_TAG) if trained else None
    parity = {
        name: value for name, value in (model.metadata if model else {}).items() if "parity" in name
    }
    return dg.AssetCheckResult(
        passed=in_model is not None and in_model == present,
        metadata={
            "run": run_name(context),
            "exported": str(in_model),
            "present": str(present),
            **parity,
        },
    )
