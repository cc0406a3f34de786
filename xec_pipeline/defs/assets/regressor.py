"""A regressor: its weights, what they predict, what simple estimators give, its ONNX model."""

import dagster as dg

from xec_pipeline.config.registry import registered_regressor, run_path
from xec_pipeline.defs import code, keys
from xec_pipeline.defs.acceptance import require_accepted
from xec_pipeline.defs.lineage import begun_with, named_encoder, resumed_metadata, with_origin
from xec_pipeline.defs.partitions import (
    datasets_of_evaluation,
    datasets_of_run,
    datasets_of_training,
    encoder_of_run,
    run_partitions,
    training_paths,
)
from xec_pipeline.defs.resources.mlflow_tracking import MlflowTracking
from xec_pipeline.defs.resources.torch_ddp import TorchDDP
from xec_pipeline.defs.retries import training_retries


@dg.asset(
    key=keys.WEIGHTS,
    deps=[
        keys.CONFIG,
        dg.AssetDep(keys.SHARDS, partition_mapping=datasets_of_training),
        dg.AssetDep(keys.ENCODER, partition_mapping=encoder_of_run),
    ],
    partitions_def=run_partitions,
    group_name="regressor",
    kinds={"pytorch", "mlflow"},
    owners=keys.OWNERS,
    tags={"xec/gpu": "yes"},
    code_version=code.WEIGHTS.version(),
    retry_policy=training_retries(),
    pool=keys.GPU_POOL,
)
def weights(
    context: dg.AssetExecutionContext, ddp: TorchDDP, mlflow: MlflowTracking
) -> dg.MaterializeResult[None]:
    """Trained network: checkpoint_best.pth and checkpoint_last.pth.

    Begins with the encoder of the masked autoencoder that the run names, or afresh. A retry, and a
    run after an interrupted one, goes on from the last checkpoint.
    """
    run = registered_regressor(context.partition_key)
    upstream = named_encoder(context.instance, run)
    require_accepted(context.instance, begun_with(training_paths(run), upstream))
    resumed = resumed_metadata(context.instance, run)
    arguments = [*_config(context), "--auto_resume", "--overwrite", "--skip_final"]
    with mlflow.run_for(context, run) as tracked:
        made = ddp.run(
            context,
            "xec_pipeline.workers.train",
            arguments,
            extras=upstream.extras() if upstream else None,
            env=tracked.env,
        )
        made = tracked.link(made)
    return with_origin(made, upstream, resumed)


@dg.asset(
    key=keys.PREDICTIONS,
    deps=[
        keys.WEIGHTS,
        keys.EVALUATION_CONFIG,
        dg.AssetDep(keys.SHARDS, partition_mapping=datasets_of_evaluation),
    ],
    partitions_def=run_partitions,
    group_name="regressor",
    kinds={"csv"},
    owners=keys.OWNERS,
    tags={"xec/gpu": "yes"},
    code_version=code.PREDICTIONS.version(),
    pool=keys.GPU_POOL,
)
def predictions_csv(
    context: dg.AssetExecutionContext, ddp: TorchDDP, mlflow: MlflowTracking
) -> dg.MaterializeResult[None]:
    """Truth and prediction of each validation and test event, in GeV, s, cm, deg."""
    made = ddp.run(context, "xec_pipeline.workers.evaluate", _config(context), profile="eval")
    run = registered_regressor(context.partition_key)
    return mlflow.refer(context, run, keys.WEIGHTS, made)


@dg.asset(
    key=keys.BASELINES,
    deps=[keys.EVALUATION_CONFIG, dg.AssetDep(keys.SHARDS, partition_mapping=datasets_of_run)],
    partitions_def=run_partitions,
    group_name="regressor",
    kinds={"csv"},
    owners=keys.OWNERS,
    code_version=code.BASELINES.version(),
)
def baselines_csv(context: dg.AssetExecutionContext, ddp: TorchDDP) -> dg.MaterializeResult[None]:
    """Predictions without a network: conventional, charge-weighted, training mean; GeV, s, cm."""
    return ddp.run(context, "xec_pipeline.workers.baselines", _config(context), profile="cpu")


@dg.asset(
    key=keys.ONNX,
    deps=[
        keys.WEIGHTS,
        keys.EXPORT_CONFIG,
        dg.AssetDep(keys.SHARDS, partition_mapping=datasets_of_evaluation),
    ],
    partitions_def=run_partitions,
    group_name="regressor",
    kinds={"onnx"},
    owners=keys.OWNERS,
    code_version=code.ONNX.version(),
)
def onnx(
    context: dg.AssetExecutionContext, ddp: TorchDDP, mlflow: MlflowTracking
) -> dg.MaterializeResult[None]:
    """ONNX model; its raw variant takes photons and seconds, gives MeV, ns, cm and deg."""
    made = ddp.run(context, "xec_pipeline.workers.export", _config(context), profile="cpu")
    run = registered_regressor(context.partition_key)
    return mlflow.refer(context, run, keys.WEIGHTS, made)


def _config(context: dg.AssetExecutionContext) -> list[str]:
    return ["--config", str(run_path("regressor", context.partition_key))]
