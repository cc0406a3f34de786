"""What must hold for the events before anything learns from them."""

from typing import Final

import dagster as dg

from xec_pipeline.defs import keys
from xec_pipeline.defs.checks.latest import latest, number, run_name
from xec_pipeline.defs.checks.partitioned import partition_check
from xec_pipeline.defs.partitions import dataset_partitions, runs_that_mix
from xec_pipeline.detector.sensors import N_SENSORS

_MOST_DEAD_PERCENT: Final = 50.0
_MOST_NOT_FINITE: Final = 1e-3
_MOST_DEAD_SENSORS: Final = 0.1
_RANGES: Final = {
    "true_energy_mev": (0.0, 200.0),
    "true_u_cm": (-40.0, 40.0),
    "true_v_cm": (-90.0, 90.0),
    "true_w_cm": (-1.0, 45.0),
    "true_time_ns": (-1000.0, 1000.0),
}
"""Somewhat wider than the xenon, and than the times of a trigger window."""
_SHARED: Final = "events_shared_with_"


@partition_check(
    asset=keys.SHARDS,
    partitions_def=dataset_partitions,
    blocking=True,
    description=(
        f"There are events of {N_SENSORS} sensors; less than {_MOST_DEAD_PERCENT:g} % of the "
        f"values are dead, less than {100 * _MOST_NOT_FINITE:g} % were NaN or infinite."
    ),
)
def shards_are_sound(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Look at the counts that the worker reported."""
    made = latest(context, keys.SHARDS)
    names = ("events", "sensors", "dead_percent", "nonfinite_values", "time_missing_percent")
    numbers = {name: number(made, name) for name in names}
    not_finite = numbers["nonfinite_values"] / max(numbers["events"] * N_SENSORS, 1)
    passed = (
        numbers["events"] > 0
        and numbers["sensors"] == N_SENSORS
        and numbers["dead_percent"] < _MOST_DEAD_PERCENT
        and not_finite < _MOST_NOT_FINITE
    )
    numbers["nonfinite_percent"] = 100 * not_finite
    return dg.AssetCheckResult(passed=passed, metadata={"dataset": run_name(context), **numbers})


@partition_check(
    asset=keys.SHARDS,
    partitions_def=dataset_partitions,
    description=(
        "At most a tenth of the sensors have no value in more than 90 % of the events (of a "
        "sample of events): more points to a wrong file, or a detector that was not ready."
    ),
)
def dead_sensors_are_few(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Look at the number of dead sensors that the worker reported."""
    made = latest(context, keys.SHARDS)
    numbers = {name: number(made, name) for name in ("dead_sensors", "sampled_events")}
    return dg.AssetCheckResult(
        passed=numbers["dead_sensors"] <= _MOST_DEAD_SENSORS * N_SENSORS,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"dataset": run_name(context), **numbers},
    )


@partition_check(
    asset=keys.SHARDS,
    partitions_def=dataset_partitions,
    description=(
        "True energies, positions and times, where the files have them, lie in "
        + ", ".join(
            f"{name.removeprefix('true_')} {low:g} to {high:g}"
            for name, (low, high) in _RANGES.items()
        )
        + ": else a unit is another, or the events are not of this detector."
    ),
)
def truth_is_in_range(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Look at the smallest and largest true values that the worker reported."""
    made = latest(context, keys.SHARDS)
    metadata: dict[str, float | str] = {"dataset": run_name(context)}
    outside = []
    for name, (low, high) in _RANGES.items():
        ends = {f"{name}_{which}": number(made, f"{name}_{which}") for which in ("min", "max")}
        known = {key: value for key, value in ends.items() if value == value}
        metadata |= known
        if any(not low <= value <= high for value in known.values()):
            outside.append(name)
    metadata["outside"] = ", ".join(outside) or "none"
    return dg.AssetCheckResult(
        passed=made is not None and not outside,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=metadata,
    )


@partition_check(
    asset=keys.SHARDS,
    partitions_def=dataset_partitions,
    blocking=True,
    description=(
        "No event stands in two of the samples for training, validation and testing of a run, by "
        "run and event number with the true energy, or because files have equal content."
    ),
)
def samples_do_not_overlap(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Look at the counts of shared events, and for runs that use a sample twice."""
    made = latest(context, keys.SHARDS)
    shared = {
        name: number(made, name)
        for name in (made.metadata if made else {})
        if name.startswith(_SHARED)
    }
    mixing = runs_that_mix(run_name(context))
    return dg.AssetCheckResult(
        passed=made is not None and not mixing and all(count == 0 for count in shared.values()),
        metadata={
            "dataset": run_name(context),
            "compared_with": len(shared),
            "runs_that_use_it_twice": ", ".join(mixing) or "none",
            **shared,
        },
    )
