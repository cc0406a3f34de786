"""Two ranks learn what one rank with the doubled batch learns, and log the same numbers."""

import json
from pathlib import Path

import pytest

from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline_tests.training.ranks import run_two_ranks
from xec_pipeline_tests.training.tiny_inpainter import fit_inpainter, one_epoch


@pytest.mark.ddp
def test_two_ranks_are_like_one_though_faces_hide_nothing(tiny_shards: ShardSet, tmp_path: Path):
    run_two_ranks("inpainter_rank", tiny_shards.path, tmp_path)
    for name in ("one head", "attention"):
        ranks = [
            json.loads((tmp_path / f"{name} rank{rank}.json").read_text())["1"] for rank in (0, 1)
        ]
        run = one_epoch(tmp_path / f"one {name}", name, batch_size=8)
        expected = fit_inpainter(run, tiny_shards).curve.epochs[1]
        numbers = {key: v for key, v in expected.items() if not key.startswith("system/")}
        assert numbers["n_masked_total"] == 17 * 3
        for found in ranks:
            # Where a gradient is zero but for rounding, Adam steps as far either way.
            assert {key: found[key] for key in numbers} == pytest.approx(numbers, rel=2e-4)
