"""Tasks a dataset cannot answer are refused up front."""

import numpy as np
import pytest

from xec_pipeline.config.data import DataConfig
from xec_pipeline.config.tasks import TASK_NAMES
from xec_pipeline.data.requirements import possible_tasks, require_targets
from xec_pipeline.data.root_io import write_tree
from xec_pipeline.data.shards import build_shards, open_shards
from xec_pipeline.errors import ConfigError, DataError

INPUTS = ("run", "event", "npho", "relative_time", "time_min_used")


def test_monte_carlo_answers_everything(tiny_shards, tiny_root_file):
    for source in (tiny_shards, tiny_root_file):
        require_targets(source, TASK_NAMES)
        assert set(possible_tasks(source)) == set(TASK_NAMES)


def test_missing_truth_names_file_task_branch_and_what_is_possible(tmp_path, event_factory):
    events = event_factory(3)
    kept = {name: events[name] for name in (*INPUTS, "energyTruth", "timeTruth")}
    path = write_tree(tmp_path / "real.root", "tree", kept)
    shards_dir = tmp_path / "shards"
    build_shards([path], shards_dir, DataConfig(), jobs=1, progress=False)
    for source in (path, open_shards(shards_dir)):
        with pytest.raises(DataError) as caught:
            require_targets(source, ["energy", "uvwFI"])
        assert str(caught.value) == (
            f"{path}: task 'uvwFI' needs branch 'uvwTruth' (true first interaction in "
            "u, v, w [cm]), which is missing; tasks possible with this file: energy"
        )
        require_targets(source, ["energy", "timing"], timing_reference="emission")


def test_truth_that_is_never_measured_counts_as_missing(tmp_path, event_factory):
    events = event_factory(3)
    events["uvwTruth"][:] = 1e10
    path = write_tree(tmp_path / "cex.root", "tree", events)
    build_shards([path], tmp_path / "shards", DataConfig(), jobs=1, progress=False)
    shards = open_shards(tmp_path / "shards")
    with pytest.raises(DataError, match=r"holds no measured value \(all 1e10\); tasks possible"):
        require_targets(shards, ["uvwFI"])
    assert np.isnan(shards.columns["uvwTruth"]).all()


def test_unknown_task(tiny_shards):
    with pytest.raises(ConfigError, match="unknown task 'energie'"):
        require_targets(tiny_shards, ["energie"])
