"""Figures and numbers drawn from tables; cheap, so they follow every change by themselves."""

import dagster as dg

from xec_pipeline.config.registry import registered_regressor, run_path
from xec_pipeline.defs import code, keys
from xec_pipeline.defs.automation.conditions import on_changed_data_or_code
from xec_pipeline.defs.partitions import datasets_of_evaluation, run_partitions
from xec_pipeline.defs.resources.mlflow_tracking import MlflowTracking
from xec_pipeline.defs.resources.torch_ddp import TorchDDP
from xec_pipeline.defs.retries import figure_retries


@dg.asset(
    key=keys.FIGURES,
    deps=[keys.PREDICTIONS, keys.BASELINES],
    partitions_def=run_partitions,
    group_name="regressor",
    kinds={"pdf", "matplotlib"},
    owners=keys.OWNERS,
    code_version=code.FIGURES.version(),
    retry_policy=figure_retries(),
    automation_condition=on_changed_data_or_code(),
)
def resolution_pdf(
    context: dg.AssetExecutionContext, ddp: TorchDDP, mlflow: MlflowTracking
) -> dg.MaterializeResult[None]:
    """Resolution figures in MeV, ps, mm, deg, with the conventional reconstruction in the profiles.

    Beside each stands a JSON file with the numbers drawn.
    """
    made = ddp.run(context, "xec_pipeline.workers.figures", _run_folder(context), profile="cpu")
    run = registered_regressor(context.partition_key)
    return mlflow.refer(context, run, keys.WEIGHTS, made)


@dg.asset(
    key=keys.TABLE,
    deps=[keys.PREDICTIONS, keys.BASELINES],
    partitions_def=run_partitions,
    group_name="regressor",
    kinds={"csv", "markdown"},
    owners=keys.OWNERS,
    code_version=code.TABLE.version(),
    retry_policy=figure_retries(),
    automation_condition=on_changed_data_or_code(),
)
def resolution_table(
    context: dg.AssetExecutionContext, ddp: TorchDDP
) -> dg.MaterializeResult[None]:
    """68 % half widths at the signal energy: model, and three methods without a network."""
    arguments = [*_run_folder(context), "--table"]
    return ddp.run(context, "xec_pipeline.workers.figures", arguments, profile="cpu")


@dg.asset(
    key=keys.DISPLAYS,
    deps=[
        keys.WEIGHTS,
        keys.PREDICTIONS,
        keys.EVALUATION_CONFIG,
        dg.AssetDep(keys.SHARDS, partition_mapping=datasets_of_evaluation),
    ],
    partitions_def=run_partitions,
    group_name="regressor",
    kinds={"pdf", "matplotlib"},
    owners=keys.OWNERS,
    tags={"xec/gpu": "yes"},
    code_version=code.DISPLAYS.version(),
    pool=keys.GPU_POOL,
)
def event_displays(
    context: dg.AssetExecutionContext, ddp: TorchDDP, mlflow: MlflowTracking
) -> dg.MaterializeResult[None]:
    """Worst events on the unfolded detector, and what each face counts for."""
    made = ddp.run(context, "xec_pipeline.workers.displays", _config(context), profile="eval")
    run = registered_regressor(context.partition_key)
    return mlflow.refer(context, run, keys.WEIGHTS, made)


@dg.asset(
    key=keys.EFFICIENCY,
    deps=[
        keys.PREDICTIONS,
        keys.BASELINES,
        keys.EVALUATION_CONFIG,
        dg.AssetDep(keys.SHARDS, partition_mapping=datasets_of_evaluation),
    ],
    partitions_def=run_partitions,
    group_name="regressor",
    kinds={"pdf", "csv"},
    owners=keys.OWNERS,
    code_version=code.EFFICIENCY.version(),
)
def efficiency(context: dg.AssetExecutionContext, ddp: TorchDDP) -> dg.MaterializeResult[None]:
    """Resolution beside the physical limit of each event, which the toy detector alone has."""
    return ddp.run(context, "xec_pipeline.workers.efficiency", _config(context), profile="cpu")


def _config(context: dg.AssetExecutionContext) -> list[str]:
    return ["--config", str(run_path("regressor", context.partition_key))]


def _run_folder(context: dg.AssetExecutionContext) -> list[str]:
    run = registered_regressor(context.partition_key)
    return [str(run.run_dir), "--run_name", run.name]
