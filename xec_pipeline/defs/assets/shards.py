"""ROOT files turned into what a training can read fast."""

import dagster as dg

from xec_pipeline.config.registry import run_path
from xec_pipeline.defs import code, keys
from xec_pipeline.defs.partitions import DATASETS, dataset_partitions, samples_beside
from xec_pipeline.defs.resources.torch_ddp import TorchDDP
from xec_pipeline.defs.retries import shard_retries


@dg.asset(
    key=keys.SHARDS,
    deps=[keys.ROOT_FILES],
    partitions_def=dataset_partitions,
    group_name="data",
    kinds={"numpy"},
    owners=keys.OWNERS,
    code_version=code.SHARDS.version(),
    retry_policy=shard_retries(),
)
def shards(context: dg.AssetExecutionContext, ddp: TorchDDP) -> dg.MaterializeResult[None]:
    """Memory-mapped events: signed square root of npho and time [ns] in 16 bit, truth in 32 bit."""
    dataset = DATASETS[context.partition_key]
    config = run_path(dataset.kind, dataset.run_name)
    arguments = ["--config", str(config), "--kind", dataset.kind, "--path", dataset.path]
    for path in samples_beside(context.partition_key):
        arguments += ["--apart-from", path]
    return ddp.run(context, "xec_pipeline.workers.shards", arguments, profile="cpu")
