"""`python pool_run.py NAME POOL SECONDS`: a Dagster run of one asset, in the pool or in none."""

import sys
from pathlib import Path

import dagster as dg

from xec_pipeline.defs.resources.torch_ddp import TorchDDP


def main(name: str, pool: str, seconds: str) -> bool:
    @dg.asset(name=name, pool=pool or None)
    def asset(context: dg.AssetExecutionContext) -> dg.MaterializeResult[None]:
        folder = str(Path(__file__).parent)
        ddp = TorchDDP(log_dir="ranks", poll_seconds=0.05, extra_env={"PYTHONPATH": folder})
        return ddp.run(context, "slow_worker", [name, seconds], profile="cpu")

    with dg.DagsterInstance.get() as instance:
        return dg.materialize([asset], instance=instance).success


if __name__ == "__main__":
    sys.exit(0 if main(*sys.argv[1:]) else 1)
