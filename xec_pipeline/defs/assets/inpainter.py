"""An inpainter: its weights, what it recovers, what that is worth, its models for elsewhere."""

import dagster as dg

from xec_pipeline.config.file_names import ANALYSIS_FOLDER, recovered_file
from xec_pipeline.config.registry import registered_inpainter, run_path
from xec_pipeline.defs import code, keys
from xec_pipeline.defs.acceptance import require_accepted
from xec_pipeline.defs.automation.conditions import on_changed_data_or_code
from xec_pipeline.defs.lineage import begun_with, named_encoder, resumed_metadata, with_origin
from xec_pipeline.defs.partitions import (
    datasets_of_inpainter,
    datasets_of_recovery,
    encoder_of_inpainter,
    inpainter_partitions,
    regressor_of_inpainter,
    training_paths,
)
from xec_pipeline.defs.resources.mlflow_tracking import MlflowTracking
from xec_pipeline.defs.resources.torch_ddp import TorchDDP
from xec_pipeline.defs.retries import figure_retries, training_retries


@dg.asset(
    key=keys.INPAINTER,
    deps=[
        keys.INPAINTER_CONFIG,
        dg.AssetDep(keys.SHARDS, partition_mapping=datasets_of_inpainter),
        dg.AssetDep(keys.ENCODER, partition_mapping=encoder_of_inpainter),
    ],
    partitions_def=inpainter_partitions,
    group_name="inpainter",
    kinds={"pytorch", "mlflow"},
    owners=keys.OWNERS,
    tags={"xec/gpu": "yes"},
    code_version=code.INPAINTER.version(),
    retry_policy=training_retries(),
    pool=keys.GPU_POOL,
)
def inpainter_weights(
    context: dg.AssetExecutionContext, ddp: TorchDDP, mlflow: MlflowTracking
) -> dg.MaterializeResult[None]:
    """Network that recovers dead sensors from the others; beside it, ROOT files of hidden sensors.

    Begins with the encoder of the masked autoencoder that the run names, or afresh. A retry, and a
    run after an interrupted one, goes on from the last checkpoint.
    """
    run = registered_inpainter(context.partition_key)
    upstream = named_encoder(context.instance, run)
    require_accepted(context.instance, begun_with(training_paths(run), upstream))
    resumed = resumed_metadata(context.instance, run)
    arguments = [*_config(context), "--auto_resume", "--overwrite"]
    with mlflow.run_for(context, run) as tracked:
        made = ddp.run(
            context,
            "xec_pipeline.workers.train_inpainter",
            arguments,
            extras=upstream.extras() if upstream else None,
            env=tracked.env,
        )
        made = tracked.link(made)
    return with_origin(made, upstream, resumed)


@dg.asset(
    key=keys.RECOVERED,
    deps=[
        keys.INPAINTER,
        keys.MEASUREMENT_CONFIG,
        dg.AssetDep(keys.SHARDS, partition_mapping=datasets_of_recovery),
        # The mean light of simulated events is in the ROOT files alone.
        dg.AssetDep(keys.ROOT_FILES, partition_mapping=datasets_of_recovery),
    ],
    partitions_def=inpainter_partitions,
    group_name="inpainter",
    kinds={"root"},
    owners=keys.OWNERS,
    tags={"xec/gpu": "yes"},
    code_version=code.RECOVERED.version(),
    pool=keys.GPU_POOL,
)
def predictions_root(
    context: dg.AssetExecutionContext, ddp: TorchDDP, mlflow: MlflowTracking
) -> dg.MaterializeResult[None]:
    """Hidden sensors of the test events: truth, network, and estimates without a network."""
    made = ddp.run(context, "xec_pipeline.workers.recover", _config(context), profile="eval")
    run = registered_inpainter(context.partition_key)
    return mlflow.refer(context, run, keys.INPAINTER, made)


@dg.asset(
    key=keys.ANALYSIS,
    deps=[keys.RECOVERED],
    partitions_def=inpainter_partitions,
    group_name="inpainter",
    kinds={"csv", "pdf", "matplotlib"},
    owners=keys.OWNERS,
    code_version=code.ANALYSIS.version(),
    retry_policy=figure_retries(),
    automation_condition=on_changed_data_or_code(),
)
def analysis(
    context: dg.AssetExecutionContext, ddp: TorchDDP, mlflow: MlflowTracking
) -> dg.MaterializeResult[None]:
    """Errors of recovered sensors in photons: tables and figures, beside the counting floor."""
    run = registered_inpainter(context.partition_key)
    table = run.run_dir / recovered_file("mc", run.name)
    arguments = [str(table), "--output", str(run.run_dir / ANALYSIS_FOLDER)]
    made = ddp.run(context, "xec_pipeline.workers.analyze", arguments, profile="cpu")
    return mlflow.refer(context, run, keys.INPAINTER, made)


@dg.asset(
    key=keys.DEAD_STUDY,
    deps=[
        keys.INPAINTER,
        keys.MEASUREMENT_CONFIG,
        dg.AssetDep(keys.WEIGHTS, partition_mapping=regressor_of_inpainter),
        dg.AssetDep(keys.SHARDS, partition_mapping=datasets_of_recovery),
    ],
    partitions_def=inpainter_partitions,
    group_name="inpainter",
    kinds={"root", "csv"},
    owners=keys.OWNERS,
    tags={"xec/gpu": "yes"},
    code_version=code.DEAD_STUDY.version(),
    pool=keys.GPU_POOL,
)
def dead_study(
    context: dg.AssetExecutionContext, ddp: TorchDDP, mlflow: MlflowTracking
) -> dg.MaterializeResult[None]:
    """Resolutions of a regressor with dead sensors: left dead, neighbour average, inpainted."""
    made = ddp.run(context, "xec_pipeline.workers.dead_study", _config(context), profile="eval")
    run = registered_inpainter(context.partition_key)
    return mlflow.refer(context, run, keys.INPAINTER, made)


@dg.asset(
    key=keys.INPAINTER_EXPORT,
    deps=[
        keys.INPAINTER,
        keys.INPAINTER_EXPORT_CONFIG,
        dg.AssetDep(keys.SHARDS, partition_mapping=datasets_of_recovery),
    ],
    partitions_def=inpainter_partitions,
    group_name="inpainter",
    kinds={"onnx", "pytorch"},
    owners=keys.OWNERS,
    code_version=code.INPAINTER_EXPORT.version(),
)
def inpainter_export(
    context: dg.AssetExecutionContext, ddp: TorchDDP, mlflow: MlflowTracking
) -> dg.MaterializeResult[None]:
    """TorchScript and ONNX: photons, seconds and a mask in, photons of all sensors out."""
    made = ddp.run(
        context, "xec_pipeline.workers.export_inpainter", _config(context), profile="cpu"
    )
    run = registered_inpainter(context.partition_key)
    return mlflow.refer(context, run, keys.INPAINTER, made)


def _config(context: dg.AssetExecutionContext) -> list[str]:
    return ["--config", str(run_path("inpainter", context.partition_key))]
