"""One of two ranks of a test: train a masked autoencoder that learns its variances, too.

Arguments: shard folder, output folder. Writes `rank{R}.json`.
"""

import json
import sys
import warnings
from pathlib import Path

import torch

from xec_pipeline.data.shards import open_shards
from xec_pipeline.training.distributed import start_from_env
from xec_pipeline_tests.training.tiny_mae import fit_mae, one_epoch


def main(shard_dir: Path, out_dir: Path) -> None:
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view")
    torch.set_num_threads(1)
    dist = start_from_env()
    run = one_epoch(out_dir / "two", batch_size=4)
    fitted = fit_mae(run, open_shards(shard_dir), dist)
    (out_dir / f"rank{dist.rank}.json").write_text(json.dumps(fitted.curve.epochs))
    dist.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
