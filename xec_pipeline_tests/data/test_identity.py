import logging

import numpy as np

from xec_pipeline.config.data import DataConfig
from xec_pipeline.data.identity import event_identity
from xec_pipeline.data.root_io import write_tree
from xec_pipeline.data.shards import build_shards, open_shards


def test_events_are_called_by_their_run_and_number(tiny_shards):
    found = event_identity(tiny_shards)
    for name in ("run", "event"):
        np.testing.assert_array_equal(found[name], tiny_shards.columns[name])


def test_without_numbers_no_two_events_are_the_same(tmp_path, event_factory, caplog):
    for number in (1, 2):
        events = event_factory(6, seed=number)
        kept = {name: events[name] for name in ("npho", "relative_time", "uvwTruth")}
        write_tree(tmp_path / f"f{number}.root", "tree", kept)
    files = sorted(tmp_path.glob("*.root"))
    build_shards(files, tmp_path / "shards", DataConfig(), jobs=1, progress=False)
    with caplog.at_level(logging.WARNING):
        found = event_identity(open_shards(tmp_path / "shards"))
    pairs = set(zip(found["run"].tolist(), found["event"].tolist(), strict=True))
    assert pairs == {(source, entry) for source in (0, 1) for entry in range(6)}
    assert "12 of 12 events have no run and event number" in caplog.text
