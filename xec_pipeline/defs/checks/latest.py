"""What checks have in common: the run they are about, and what was made of it last.

A check concerns the run whose asset was just made. (Checks with partitions of their own are a
preview in Dagster.)
"""

import math

import dagster as dg

from xec_pipeline.defs.keys import VERSION_TAG
from xec_pipeline.defs.lineage import latest_of


def run_name(context: dg.AssetCheckExecutionContext) -> str:
    """Return the partition that was just made."""
    return context.run.tags["dagster/partition"]


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
