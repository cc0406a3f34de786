"""One of two ranks of a test: train an inpainter that hides sensors of one face only.

Arguments: shard folder, output folder. Writes `rank{R}.json`.
"""

import json
import sys
import warnings
from pathlib import Path

import torch

from xec_pipeline.data.shards import open_shards
from xec_pipeline.training.distributed import start_from_env
from xec_pipeline_tests.training.tiny_inpainter import fit_inpainter, one_epoch


def main(shard_dir: Path, out_dir: Path) -> None:
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view")
    torch.set_num_threads(1)
    dist = start_from_env()
    shards = open_shards(shard_dir)
    for name in ("one head", "attention"):
        run = one_epoch(out_dir / f"two {name}", name, batch_size=4)
        fitted = fit_inpainter(run, shards, dist)
        path = out_dir / f"{name} rank{dist.rank}.json"
        path.write_text(json.dumps(fitted.curve.epochs))
    dist.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
