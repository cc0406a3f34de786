"""What must hold for the resolutions of a run: little bias, no worse than what was accepted."""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import dagster as dg

from xec_pipeline.defs import keys
from xec_pipeline.defs.checks.latest import accepted_before, latest, run_name
from xec_pipeline.defs.checks.partitioned import partition_check
from xec_pipeline.defs.partitions import run_partitions

_BIAS: Final = "median bias"
_WIDTH: Final = "68 % half width"
_CONTAINMENT: Final = "68 % of |res| within"
MOST_BIAS: Final = 0.25
"""Bound of |median bias| in units of the half width."""
WORSE: Final = 1.05
"""Ratio to the accepted resolution from which a run is worse."""
MUCH_WORSE: Final = 1.2
"""Ratio from which that is an error and no warning."""
_SIGMAS: Final = 3.0

Numbers = Mapping[tuple[str, str], tuple[float, float]]
"""Value and error by quantity and estimator."""


@partition_check(
    asset=keys.TABLE,
    partitions_def=run_partitions,
    description=(
        f"|median bias| of every quantity is at most {MOST_BIAS:g} half widths, or within "
        f"{_SIGMAS:g} of its own standard deviations from that."
    ),
)
def biases_are_small(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Compare biases with half widths, of the network at the signal energy."""
    found = estimates(latest(context, keys.TABLE))
    metadata: dict[str, float | str] = {"run": run_name(context)}
    biased = []
    for (quantity, estimator), (bias, error) in found.items():
        width = found.get((quantity, _WIDTH), (math.nan, math.nan))[0]
        if estimator != _BIAS:
            continue
        metadata[f"{quantity} bias / half width"] = bias / width if width else math.nan
        metadata[f"{quantity} bias / its sigma"] = bias / error if error else math.nan
        if not abs(bias) <= MOST_BIAS * width + _SIGMAS * error:
            biased.append(quantity)
    metadata["biased"] = ", ".join(biased) or "none"
    return dg.AssetCheckResult(
        passed=bool(found) and not biased,
        severity=dg.AssetCheckSeverity.WARN,
        metadata=_told(metadata),
    )


@partition_check(
    asset=keys.TABLE,
    partitions_def=run_partitions,
    description=(
        f"No resolution is worse than {WORSE:g} times that of the last table of this run, on the "
        f"same events, that passed this check, by {_SIGMAS:g} standard deviations or more; beyond "
        f"{MUCH_WORSE:g} times it is an error. They are compared as if of different events, which "
        "makes the standard deviation too large rather than too small."
    ),
)
def resolution_is_no_worse(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Compare with the last accepted table, if there is one."""
    made = latest(context, keys.TABLE)
    before = accepted_before(context, keys.TABLE, "resolution_is_no_worse", same="events_version")
    metadata: dict[str, float | str] = {"run": run_name(context)}
    if before is None:
        metadata["compared_with"] = "nothing: no earlier table of these events was accepted"
        return dg.AssetCheckResult(passed=bool(estimates(made)), metadata=metadata)
    accepted, dagster_run_id = before
    metadata["compared_with"] = f"Dagster run {dagster_run_id}"
    ratios = dict(_ratios(estimates(made), estimates(accepted)))
    for quantity, (ratio, sigmas) in ratios.items():
        metadata[f"{quantity} ratio"] = ratio
        metadata[f"{quantity} sigmas"] = sigmas
    worse = {name: r for name, (r, sigmas) in ratios.items() if r > WORSE and sigmas > _SIGMAS}
    metadata["worse"] = ", ".join(worse) or "none"
    much = any(ratio > MUCH_WORSE for ratio in worse.values()) or not ratios
    return dg.AssetCheckResult(
        passed=bool(ratios) and not worse,
        severity=dg.AssetCheckSeverity.ERROR if much else dg.AssetCheckSeverity.WARN,
        metadata=_told(metadata),
    )


def estimates(made: dg.AssetMaterialization | None) -> Numbers:
    """Return what a table holds of the network; nothing if it is from before they were told."""
    value: Any = made.metadata["estimates"].value if made and "estimates" in made.metadata else ()
    return {
        (record["quantity"], record["estimator"]): (float(record["value"]), float(record["error"]))
        for record in value
    }


def _ratios(now: Numbers, before: Numbers) -> Iterable[tuple[str, tuple[float, float]]]:
    """Yield ratio and standard deviations apart of each quantity that both have."""
    for (quantity, estimator), (value, error) in now.items():
        if estimator != _CONTAINMENT or (quantity, estimator) not in before:
            continue
        known, known_error = before[quantity, estimator]
        apart = math.hypot(error, known_error)
        yield (
            quantity,
            (
                value / known if known else math.nan,
                (value - known) / apart if apart else 0.0,
            ),
        )


def _told(metadata: Mapping[str, float | str]) -> dict[str, float | str]:
    """Return metadata with text where a number is none."""
    return {
        name: "not known" if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in metadata.items()
    }
