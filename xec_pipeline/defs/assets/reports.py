"""Reports: all about a run in one HTML file; cheap, so they follow every change by themselves."""

from collections.abc import Iterable
from typing import Final

import dagster as dg

from xec_pipeline.config.origin import encoder_run
from xec_pipeline.config.registry import (
    registered_inpainter,
    registered_mae,
    registered_regressor,
)
from xec_pipeline.config.run_base import Run
from xec_pipeline.defs import code, keys
from xec_pipeline.defs.automation.conditions import on_changed_data_or_code
from xec_pipeline.defs.lineage import made_before
from xec_pipeline.defs.partitions import inpainter_partitions, mae_partitions, run_partitions
from xec_pipeline.defs.resources.torch_ddp import TorchDDP
from xec_pipeline.defs.retries import figure_retries

_SHOWN: Final = (
    *(keys.WEIGHTS, keys.PREDICTIONS, keys.FIGURES, keys.TABLE),
    *(keys.BASELINES, keys.DISPLAYS, keys.EFFICIENCY, keys.ONNX),
)
_WITHOUT: Final = dg.AssetSelection.assets(
    keys.BASELINES, keys.DISPLAYS, keys.EFFICIENCY, keys.ONNX
)
"""What not every run has: the limit is known of toy events only."""
_SHOWN_OF_INPAINTER: Final = (
    *(keys.INPAINTER, keys.RECOVERED, keys.ANALYSIS),
    *(keys.DEAD_STUDY, keys.INPAINTER_EXPORT),
)
_WITHOUT_OF_INPAINTER: Final = dg.AssetSelection.assets(keys.DEAD_STUDY, keys.INPAINTER_EXPORT)


@dg.asset(
    key=keys.REPORT,
    deps=_SHOWN,
    partitions_def=run_partitions,
    group_name="regressor",
    kinds={"html"},
    owners=keys.OWNERS,
    code_version=code.REPORT.version(),
    retry_policy=figure_retries(),
    automation_condition=on_changed_data_or_code(optional=_WITHOUT),
)
def report(context: dg.AssetExecutionContext, ddp: TorchDDP) -> dg.MaterializeResult[None]:
    """Report of a regressor: key numbers, tables, figures, configuration, origin, in one file."""
    run = registered_regressor(context.partition_key)
    encoder = encoder_run(run)
    named = [(keys.ENCODER, encoder)] if encoder is not None else []
    return _write(context, ddp, run, "regressor", [*named, *_of(_SHOWN, run)])


@dg.asset(
    key=keys.MAE_REPORT,
    deps=[keys.ENCODER],
    partitions_def=mae_partitions,
    group_name="mae",
    kinds={"html"},
    owners=keys.OWNERS,
    code_version=code.REPORT.version(),
    retry_policy=figure_retries(),
    automation_condition=on_changed_data_or_code(),
)
def mae_report(context: dg.AssetExecutionContext, ddp: TorchDDP) -> dg.MaterializeResult[None]:
    """Report of a masked autoencoder: learning curves, errors, configuration, origin, one file."""
    run = registered_mae(context.partition_key)
    return _write(context, ddp, run, "mae", _of([keys.ENCODER], run))


@dg.asset(
    key=keys.INPAINTER_REPORT,
    deps=_SHOWN_OF_INPAINTER,
    partitions_def=inpainter_partitions,
    group_name="inpainter",
    kinds={"html"},
    owners=keys.OWNERS,
    code_version=code.REPORT.version(),
    retry_policy=figure_retries(),
    automation_condition=on_changed_data_or_code(optional=_WITHOUT_OF_INPAINTER),
)
def inpainter_report(
    context: dg.AssetExecutionContext, ddp: TorchDDP
) -> dg.MaterializeResult[None]:
    """Report of an inpainter: recovered sensors, dead study, figures, configuration, one file."""
    run = registered_inpainter(context.partition_key)
    encoder = encoder_run(run)
    named = [(keys.ENCODER, encoder)] if encoder is not None else []
    return _write(context, ddp, run, "inpainter", [*named, *_of(_SHOWN_OF_INPAINTER, run)])


def _write(
    context: dg.AssetExecutionContext,
    ddp: TorchDDP,
    run: Run,
    kind: str,
    upstream: list[tuple[dg.AssetKey, str]],
) -> dg.MaterializeResult[None]:
    arguments = [str(run.run_dir), "--run_name", run.name, "--kind", kind]
    extras = {"made": made_before(context.instance, upstream)}
    return ddp.run(context, "xec_pipeline.workers.report", arguments, profile="cpu", extras=extras)


def _of(shown: Iterable[dg.AssetKey], run: Run) -> list[tuple[dg.AssetKey, str]]:
    return [(key, run.name) for key in shown]
