"""A masked autoencoder: what is kept of it is its encoder, with which regressors begin."""

import dagster as dg

from xec_pipeline.config.registry import registered_mae, run_path
from xec_pipeline.defs import code, keys
from xec_pipeline.defs.acceptance import require_accepted
from xec_pipeline.defs.lineage import begun_with, resumed_metadata, with_origin
from xec_pipeline.defs.partitions import datasets_of_mae, mae_partitions, training_paths
from xec_pipeline.defs.resources.mlflow_tracking import MlflowTracking
from xec_pipeline.defs.resources.torch_ddp import TorchDDP
from xec_pipeline.defs.retries import training_retries


@dg.asset(
    key=keys.ENCODER,
    deps=[keys.MAE_CONFIG, dg.AssetDep(keys.SHARDS, partition_mapping=datasets_of_mae)],
    partitions_def=mae_partitions,
    group_name="mae",
    kinds={"pytorch", "mlflow"},
    owners=keys.OWNERS,
    tags={"xec/gpu": "yes"},
    code_version=code.ENCODER.version(),
    retry_policy=training_retries(),
    pool=keys.GPU_POOL,
)
def encoder(
    context: dg.AssetExecutionContext, ddp: TorchDDP, mlflow: MlflowTracking
) -> dg.MaterializeResult[None]:
    """Pre-trained encoder: learned without truth to fill hidden sensors; beside it, ROOT files.

    The version is the hash of the encoder's weights: an equal result changes no regressor. A retry,
    and a run after an interrupted one, goes on from the last checkpoint.
    """
    run = registered_mae(context.partition_key)
    require_accepted(context.instance, begun_with(training_paths(run)))
    resumed = resumed_metadata(context.instance, run)
    config = str(run_path("mae", run.name))
    arguments = ["--config", config, "--auto_resume", "--overwrite"]
    with mlflow.run_for(context, run) as tracked:
        made = ddp.run(context, "xec_pipeline.workers.train_mae", arguments, env=tracked.env)
        made = tracked.link(made)
    return with_origin(made, None, resumed)
