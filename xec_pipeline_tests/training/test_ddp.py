"""Two ranks see every event once and learn exactly what one rank with the doubled batch learns."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from xec_pipeline.config.data import DataConfig
from xec_pipeline.data.root_io import write_tree
from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline.data.shards import build_shards, open_shards
from xec_pipeline_tests.training.ranks import run_two_ranks
from xec_pipeline_tests.training.tiny import Fitted, fit, tiny_run

pytestmark = pytest.mark.ddp

COUNTS = (19, 4, 14)
"""Events per file; 37 in all, so that batches of the ranks differ in size."""


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory, event_factory: Callable[..., Any]) -> ShardSet:
    folder = tmp_path_factory.mktemp("uneven")
    paths = [folder / f"MC_{number}.root" for number in range(len(COUNTS))]
    for number, (path, count) in enumerate(zip(paths, COUNTS, strict=True)):
        write_tree(path, "tree", event_factory(count, seed=number))
    build_shards(paths, folder / "shards", DataConfig(), jobs=1, progress=False)
    return open_shards(folder / "shards")


@pytest.fixture(scope="module")
def one_rank(uneven: ShardSet, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    out_dir = tmp_path_factory.mktemp("one")
    return fit(tiny_run(out_dir, training={"grad_accum_steps": 2}), uneven)


@pytest.fixture(scope="module")
def two_ranks(uneven: ShardSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with what both ranks wrote."""
    out_dir = tmp_path_factory.mktemp("ranks")
    run_two_ranks("ddp_rank", uneven.path, out_dir)
    return out_dir


def read(folder: Path, rank: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / f"rank{rank}.json").read_text())
    return found


def test_every_event_is_trained_on_once_over_the_ranks(two_ranks: Path):
    seen = [read(two_ranks, rank)["seen"] for rank in (0, 1)]
    assert sorted(seen[0] + seen[1]) == list(range(sum(COUNTS)))


def test_loss_curves_are_those_of_one_rank_with_the_doubled_batch(
    two_ranks: Path, one_rank: Fitted
):
    curve = read(two_ranks, 0)["curve"]
    for epoch, expected in one_rank.curve.epochs.items():
        found = curve[str(epoch)]
        for name in ("train/loss", "val/loss", "val/loss_timing", "lr"):
            assert found[name] == pytest.approx(expected[name], rel=2e-5), (epoch, name)
        assert found["train/grad_norm_max"] == pytest.approx(
            expected["train/grad_norm_max"], rel=1e-3
        )


def test_validation_covers_every_event_once_in_the_order_of_the_files(
    two_ranks: Path, one_rank: Fitted
):
    tables = read(two_ranks, 0)["table"]
    assert sorted(tables) == ["1", "2", "3"]
    for epoch, table in one_rank.tables.items():
        for name, values in table.items():
            np.testing.assert_allclose(
                tables[str(epoch)][name], values, rtol=1e-3, atol=1e-3, err_msg=name
            )
    assert read(two_ranks, 1)["table"] == {}


def test_ranks_add_and_gather(two_ranks: Path):
    for rank in (0, 1):
        found = read(two_ranks, rank)
        assert found["sums"] == {"a": 3, "b": 20}
        assert found["gathered"] == [0, 1]


def test_a_loss_that_is_not_finite_on_one_rank_stops_both_and_names_the_event(two_ranks: Path):
    messages = [read(two_ranks, rank)["diverged"] for rank in (0, 1)]
    assert messages[0] == messages[1]
    assert "epoch 1, step" in messages[0]
    assert "run 1000 event 5 (entry 5 of " in messages[0]
    assert "MC_0.root" in messages[0]
