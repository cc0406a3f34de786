"""One of two ranks of a test: train, validate, and meet a NaN that only one rank sees.

Arguments: shard folder, output folder. Writes `rank{R}.json`.
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import torch

from xec_pipeline.data.shards import open_shards
from xec_pipeline.errors import TrainingDivergedError
from xec_pipeline.training.distributed import start_from_env
from xec_pipeline_tests.training.tiny import fit, tiny_run


def main(shard_dir: Path, out_dir: Path) -> None:
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view")
    torch.set_num_threads(1)
    dist = start_from_env()
    shards = open_shards(shard_dir)
    run = tiny_run(out_dir / "two", data={"batch_size": 4}, training={"grad_accum_steps": 2})
    fitted = fit(run, shards, dist)
    seen = np.concatenate([batch.index_B.numpy() for batch in fitted.stage.batches(1, 0)])
    report = {
        "curve": fitted.curve.epochs,
        "seen": seen.tolist(),
        "table": {
            epoch: {name: values.tolist() for name, values in table.items()}
            for epoch, table in fitted.tables.items()
        },
        "sums": dist.sum_over_ranks({"a": dist.rank + 1.0, "b": 10.0}),
        "gathered": dist.gather(dist.rank),
        "diverged": _diverge(run, shards, dist),
    }
    (out_dir / f"rank{dist.rank}.json").write_text(json.dumps(report))
    dist.stop()


def _diverge(run, shards, dist) -> str:
    def poison(stage) -> None:
        original = stage.event_losses

        def poisoned(network, batch):
            losses = original(network, batch)
            return losses * torch.where(batch.index_B == 5, float("nan"), 1.0)

        stage.event_losses = poisoned

    try:
        fit(run, shards, dist, on_stage=poison)
    except TrainingDivergedError as error:
        return str(error)
    return "did not stop"


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
