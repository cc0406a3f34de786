"""Ranks resume what they or another number of ranks have begun; learned and event weights agree."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xec_pipeline.config.data import DataConfig
from xec_pipeline.data.root_io import write_tree
from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline.data.shards import build_shards, open_shards
from xec_pipeline.training.checkpoint import load_checkpoint
from xec_pipeline_tests.training.ranks import run_two_ranks
from xec_pipeline_tests.training.resume_rank import run_of
from xec_pipeline_tests.training.stopped_line import last as end_of
from xec_pipeline_tests.training.stopped_line import linear
from xec_pipeline_tests.training.tiny import Fitted, fit, largest_difference

_COMPARED = ("task/", "train/loss", "val/", "lr")

pytestmark = pytest.mark.ddp

N_EVENTS = 37
"""Odd, so that batches of the ranks differ in size."""


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory, event_factory: Callable[..., Any]) -> ShardSet:
    folder = tmp_path_factory.mktemp("events")
    write_tree(folder / "MC_0.root", "tree", event_factory(N_EVENTS, seed=4))
    build_shards([folder / "MC_0.root"], folder / "s", DataConfig(), jobs=1, progress=False)
    return open_shards(folder / "s")


@pytest.fixture(scope="module")
def one_rank(shards: ShardSet, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    """Return two epochs on one rank with batches as large as those of two."""
    return fit(run_of(tmp_path_factory.mktemp("one"), 2, 8, None), shards)


def last(fitted: Fitted) -> Path:
    return fitted.trainer._run.run_dir / "checkpoint_last.pth"


@pytest.fixture(scope="module")
def two_ranks(
    shards: ShardSet, one_rank: Fitted, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    out_dir = tmp_path_factory.mktemp("two")
    run_two_ranks("resume_rank", shards.path, out_dir, last(one_rank))
    return out_dir, json.loads((out_dir / "curves.json").read_text())


def test_learned_weights_of_tasks_and_weights_of_events_are_those_of_one_rank(
    two_ranks: tuple[Path, dict[str, Any]], one_rank: Fitted
):
    _, curves = two_ranks
    for epoch, expected in one_rank.curve.epochs.items():
        found = curves["whole"][str(epoch)]
        names = [name for name in expected if name.startswith(_COMPARED)]
        assert len(names) > 10
        for name in names:
            assert found[name] == pytest.approx(expected[name], rel=1e-4, abs=1e-6), (epoch, name)


def test_two_ranks_resume_as_if_they_had_never_stopped(
    two_ranks: tuple[Path, dict[str, Any]],
):
    out_dir, curves = two_ranks
    paths = [out_dir / name / "tiny" / "checkpoint_last.pth" for name in ("whole", "broken")]
    first, second = (load_checkpoint(path) for path in paths)
    assert first.global_step == second.global_step == 10
    assert largest_difference(first, second) < 1e-6
    for name in ("train/loss", "val/loss", "lr", "train/grad_norm_max"):
        assert curves["resumed"]["2"][name] == pytest.approx(curves["whole"]["2"][name], rel=1e-6)


def test_two_ranks_may_stop_after_any_step(two_ranks: tuple[Path, dict[str, Any]], tmp_path: Path):
    folder = two_ranks[0] / "lines"
    whole = load_checkpoint(end_of(folder / "whole"))
    assert (
        largest_difference(whole, linear(tmp_path, "cosine")) < 1e-6
    )  # and one rank learns it too
    for step in range(1, 11):
        resumed = load_checkpoint(end_of(folder / str(step)))
        assert resumed.global_step == whole.global_step == 12
        assert largest_difference(whole, resumed) < 1e-6, step
        assert resumed.scheduler_state_dict == whole.scheduler_state_dict


def test_one_and_two_ranks_go_on_from_each_other(
    shards: ShardSet,
    two_ranks: tuple[Path, dict[str, Any]],
    one_rank: Fitted,
    tmp_path: Path,
):
    out_dir, curves = two_ranks
    of_two = out_dir / "whole" / "tiny" / "checkpoint_last.pth"
    assert len(load_checkpoint(of_two).rng_state) == 2
    from_two = fit(run_of(tmp_path / "from_two", 3, 8, of_two), shards)
    from_one = fit(run_of(tmp_path / "from_one", 3, 8, last(one_rank)), shards)
    expected = from_one.curve.epochs[3]
    for found in (from_two.curve.epochs[3], curves["from one"]["3"]):
        assert found["lr"] == expected["lr"]
        # Adam turns a rounding difference of 1e-7 into 1e-4 within three epochs.
        for name in ("train/loss", "val/loss"):
            assert found[name] == pytest.approx(expected[name], rel=1e-3), name
