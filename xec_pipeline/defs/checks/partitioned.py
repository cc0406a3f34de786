"""Checks of one partition of an asset: what is wrong with one run holds back no other one."""

import warnings
from collections.abc import Callable
from typing import Final, TypeAlias

import dagster as dg

_UNSETTLED: Final = "Specifying a partitions_def on an AssetCheckSpec is currently in preview"

CheckFunction: TypeAlias = Callable[[dg.AssetCheckExecutionContext], dg.AssetCheckResult]


def partition_check(
    *,
    asset: dg.AssetKey,
    partitions_def: dg.PartitionsDefinition,
    description: str,
    name: str | None = None,
    blocking: bool = False,
) -> Callable[[CheckFunction], dg.AssetChecksDefinition]:
    """Return a decorator like `dagster.asset_check`, for a check with the partitions of its asset.

    Parameters
    ----------
    asset
        What is checked.
    partitions_def
        The partitions of that asset.
    description
        What must hold.
    name
        Name of the check; that of the function if there is none.
    blocking
        Whether what comes after the asset waits for it.
    """

    def decorated(function: CheckFunction) -> dg.AssetChecksDefinition:
        with warnings.catch_warnings():
            # Whoever loads the definitions can do nothing about what Dagster has not settled yet.
            warnings.filterwarnings("ignore", _UNSETTLED, dg.PreviewWarning)
            return dg.asset_check(
                asset=asset,
                name=name,
                partitions_def=partitions_def,
                description=description,
                blocking=blocking,
            )(function)

    return decorated
