"""Two ranks learn what one rank with the doubled batch learns, and log the same numbers."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline_tests.training.tiny_mae import fit_mae, one_epoch

ROOT = Path(__file__).parents[2]


@pytest.mark.ddp
def test_two_ranks_are_like_one(tiny_shards: ShardSet, tmp_path: Path):
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    module = ["-m", "xec_pipeline_tests.training.mae_rank", str(tiny_shards.path), str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        launcher + module, env=environment, capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr
    ranks = [json.loads((tmp_path / f"rank{rank}.json").read_text()) for rank in (0, 1)]
    one = fit_mae(one_epoch(tmp_path / "one", batch_size=8), tiny_shards).curve.epochs
    for epoch, expected in one.items():
        numbers = {name: v for name, v in expected.items() if not name.startswith("system/")}
        for found in (rank[str(epoch)] for rank in ranks):
            assert {name: found[name] for name in numbers} == pytest.approx(numbers, rel=2e-5)
