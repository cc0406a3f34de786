"""What must hold for trained weights; the same three checks for every kind of training."""

import math
from collections.abc import Mapping
from typing import Final

import dagster as dg

from xec_pipeline.defs import keys
from xec_pipeline.defs.checks.latest import latest, number, run_name
from xec_pipeline.defs.checks.partitioned import partition_check
from xec_pipeline.defs.partitions import inpainter_partitions, mae_partitions, run_partitions

MOST_OVER_TRAINING: Final = 1.5
"""Bound of validation loss / training loss at the best epoch."""
_CONSTANT: Final = "constant_"
_LOSSES: Final[Mapping[dg.AssetKey, tuple[str, str]]] = {
    keys.WEIGHTS: ("train/loss", "val/loss"),
    keys.ENCODER: ("train/total_loss", "val/total_loss"),
    keys.INPAINTER: ("train/total_loss", "val/total_loss"),
}
"""Names of the losses by asset; those of trainings that hide sensors are sums of features."""

_PARTITIONS: Final[Mapping[dg.AssetKey, dg.PartitionsDefinition]] = {
    keys.WEIGHTS: run_partitions,
    keys.ENCODER: mae_partitions,
    keys.INPAINTER: inpainter_partitions,
}


@dg.definitions
def training_checks() -> dg.Definitions:
    """Return the checks of all trainings."""
    return dg.Definitions(
        asset_checks=[
            check for key in _LOSSES for check in (_finite(key), _learned(key), _general(key))
        ]
    )


def _finite(key: dg.AssetKey) -> dg.AssetChecksDefinition:
    @partition_check(
        asset=key,
        partitions_def=_PARTITIONS[key],
        name="losses_are_finite",
        blocking=True,
        description="The losses of the best epoch, of training and validation events, are numbers.",
    )
    def check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        made = latest(context, key)
        losses = {name: number(made, name) for name in ("best_val_loss", *_LOSSES[key])}
        # A training that went on from a file without its sums does not know its training loss.
        told = {name: loss for name, loss in losses.items() if made and name in made.metadata}
        passed = "best_val_loss" in told and all(map(math.isfinite, told.values()))
        return dg.AssetCheckResult(passed=passed, metadata={"run": run_name(context), **told})

    return check


def _learned(key: dg.AssetKey) -> dg.AssetChecksDefinition:
    @partition_check(
        asset=key,
        partitions_def=_PARTITIONS[key],
        name="beats_a_constant",
        description=(
            "The validation loss is below that of an answer without learning: the mean of the "
            "training events, or, for hidden sensors, the mean of the visible ones of the event."
        ),
    )
    def check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        made = latest(context, key)
        names = [
            name.removeprefix(_CONSTANT)
            for name in (made.metadata if made else {})
            if name.startswith(_CONSTANT)
        ]
        own = {name: number(made, name) for name in names}
        constant = {f"{_CONSTANT}{name}": number(made, f"{_CONSTANT}{name}") for name in names}
        passed = bool(names) and all(own[name] < constant[f"{_CONSTANT}{name}"] for name in names)
        return dg.AssetCheckResult(
            passed=passed, metadata={"run": run_name(context), **own, **constant}
        )

    return check


def _general(key: dg.AssetKey) -> dg.AssetChecksDefinition:
    @partition_check(
        asset=key,
        partitions_def=_PARTITIONS[key],
        name="is_not_overfitted",
        description=(
            f"The validation loss is at most {MOST_OVER_TRAINING:g} times the training loss of the "
            "best epoch. Losses of both signs, as those of likelihoods, are recorded only; so are "
            "they if the training loss is not known."
        ),
    )
    def check(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        made = latest(context, key)
        train, val = (number(made, name) for name in _LOSSES[key])
        comparable = train > 0 and val > 0
        ratio = val / train if comparable else math.nan
        metadata: dict[str, float | str] = {"run": run_name(context), "train": train, "val": val}
        metadata["val_over_train"] = ratio if comparable else "not comparable"
        return dg.AssetCheckResult(
            passed=made is not None and not ratio > MOST_OVER_TRAINING,
            severity=dg.AssetCheckSeverity.WARN,
            metadata=metadata,
        )

    return check
