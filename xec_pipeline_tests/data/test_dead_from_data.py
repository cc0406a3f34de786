"""Dead sensors seen in events: all markers, each run by itself, shards as well as ROOT files."""

import numpy as np
import pytest

from xec_pipeline.config.data import DataConfig
from xec_pipeline.data.dead_from_data import count_missing
from xec_pipeline.data.root_io import write_tree
from xec_pipeline.data.shards import build_shards
from xec_pipeline.errors import DataError

NAN, INF, MARKER = np.float32("nan"), np.float32("inf"), np.float32(1e10)
ALWAYS, NEARLY, OFTEN = (10, 4092, 4745), 21, 31
"""Without value in all, 19 of 20 and 18 of 20 events of the first run."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory, event_factory):
    """Two runs of 20 events; in the second, only sensor 40 is dead."""
    path = tmp_path_factory.mktemp("dead_data")
    for run in (1, 2):
        events = event_factory(20, seed=run)
        if run == 1:
            events["npho"][:, ALWAYS] = (NAN, INF, MARKER)
            events["npho"][:19, NEARLY] = MARKER
            events["npho"][:18, OFTEN] = MARKER
            events["npho"][18:, OFTEN] = 5
        else:
            events["npho"][:, 40] = MARKER
        write_tree(path / f"run{run}.root", "tree", events)
    return path


@pytest.fixture(scope="module")
def shards(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("dead_shards")
    files = sorted(folder.glob("*.root"))
    build_shards(files, out, DataConfig(nonfinite="dead"), jobs=1, progress=False)
    return out


def sensors(mask):
    return np.flatnonzero(mask).tolist()


@pytest.mark.parametrize("kind", ["root", "shards"])
def test_each_run_has_its_own_dead_sensors(folder, shards, kind):
    seen = count_missing(folder if kind == "root" else shards)
    assert seen.n_events == {1001: 20, 1002: 20}
    assert sensors(seen.of_run(1001)) == [10, NEARLY, 4092, 4745]
    assert sensors(seen.of_run(1002)) == [40]
    assert [item.channels for item in seen.intervals()] == [(10, NEARLY, 4092, 4745), (40,)]
    assert seen.toy is False


def test_share_must_be_exceeded(folder):
    seen = count_missing(folder / "run1.root")
    assert OFTEN not in sensors(seen.of_run(1001, above=0.9))
    assert OFTEN in sensors(seen.of_run(1001, above=0.89))
    assert NEARLY not in sensors(seen.of_run(1001, above=0.95))


def test_all_events_together(folder):
    seen = count_missing(str(folder / "*.root"))
    assert sensors(seen.of_all()) == []
    assert sensors(seen.of_all(above=0.49)) == [10, 40, 4092, 4745]


def test_blocks_of_events_add_up(folder, monkeypatch):
    whole = count_missing(folder)
    monkeypatch.setattr("xec_pipeline.data.dead_from_data._EVENTS_AT_ONCE", 7)
    parts = count_missing(folder)
    for run in (1001, 1002):
        assert np.array_equal(parts.n_missing[run], whole.n_missing[run])


def test_dead_branch_and_other_names(tmp_path):
    npho = np.ones((10, 4760), dtype="f4")
    dead = np.zeros((10, 4760), dtype=bool)
    dead[:, 33] = True
    path = write_tree(tmp_path / "a.root", "events", {"light": npho, "dead": dead})
    seen = count_missing(path, DataConfig(npho_branch="light", tree_name="events"))
    assert seen.n_events == {-1: 10}
    assert sensors(seen.of_all()) == [33]


def test_toy_events_are_called_so(tmp_path, event_factory):
    path = write_tree(tmp_path / "a.root", "tree", event_factory(3), provenance={"detector": "toy"})
    seen = count_missing(path)
    assert seen.toy
    assert "toy detector" in seen.intervals()[0].source


def test_missing_path(tmp_path):
    with pytest.raises(DataError, match="no such file or folder"):
        count_missing(tmp_path / "none")
