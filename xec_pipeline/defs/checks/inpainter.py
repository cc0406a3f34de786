"""What must hold for an inpainter's files; each check records the numbers it looked at."""

import math

import dagster as dg

from xec_pipeline.defs import keys
from xec_pipeline.defs.checks.latest import (
    holds_present_weights,
    latest,
    number,
    reproduces_network,
    run_name,
)
from xec_pipeline.defs.checks.partitioned import partition_check
from xec_pipeline.defs.partitions import inpainter_partitions

_BRIGHT_ERROR = "relative_rms_above_100_photons_"


@partition_check(
    asset=keys.RECOVERED,
    partitions_def=inpainter_partitions,
    blocking=True,
    description="Hidden sensors have rows, and every prediction is a number.",
)
def recovered_sensors_are_complete(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Look at the counts that the worker reported."""
    made = latest(context, keys.RECOVERED)
    counts = {name: number(made, name) for name in ("events", "sensors", "not_finite")}
    passed = counts["sensors"] > 0 and counts["not_finite"] == 0
    return dg.AssetCheckResult(passed=passed, metadata={"run": run_name(context), **counts})


@partition_check(
    asset=keys.RECOVERED,
    partitions_def=inpainter_partitions,
    description=(
        "Of sensors above 100 photons, the network recovers more precisely than the average of "
        "their neighbours and than solid-angle weights."
    ),
)
def network_beats_simple_methods(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Compare root mean squares of relative errors."""
    made = latest(context, keys.RECOVERED)
    errors = {
        name.removeprefix(_BRIGHT_ERROR): number(made, name)
        for name in (made.metadata if made else {})
        if name.startswith(_BRIGHT_ERROR)
    }
    simple = [errors[name] for name in ("avg", "sa") if name in errors]
    return dg.AssetCheckResult(
        passed=bool(simple) and all(errors.get("model", math.nan) < other for other in simple),
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"run": run_name(context), **errors},
    )


@partition_check(
    asset=keys.INPAINTER_EXPORT,
    partitions_def=inpainter_partitions,
    description=(
        "The exported models hold the present weights; differences to the network are recorded."
    ),
)
def exports_match_weights(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Compare the versions of the weights."""
    return holds_present_weights(context, keys.INPAINTER_EXPORT, keys.INPAINTER)


@partition_check(
    asset=keys.INPAINTER_EXPORT,
    partitions_def=inpainter_partitions,
    blocking=True,
    description=(
        "TorchScript and ONNX give what the network gives: the largest difference over all "
        "outputs, events and batch sizes is at most what is allowed."
    ),
)
def exports_reproduce_network(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Look at the differences that the export found."""
    return reproduces_network(context, keys.INPAINTER_EXPORT)
