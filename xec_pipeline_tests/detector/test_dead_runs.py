"""The one door: each kind of source, and that an unknown run is always an error."""

import numpy as np
import pytest
import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from xec_pipeline.detector.dead_channels import dead_mask, read_dead_file
from xec_pipeline.detector.dead_runs import (
    dead_mask_for,
    open_dead_source,
    summarize_dead,
    write_run_file,
)
from xec_pipeline.detector.dead_table import DeadInterval
from xec_pipeline.errors import ConfigError, DataError
from xec_pipeline_tests.detector import made_up_database


def sensors(source, run):
    return np.flatnonzero(dead_mask_for(source, run)).tolist()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "dead_run100.txt").write_text("# run 100\n3\n")
    (tmp_path / "dead_channels_run000102.txt").write_text("")
    (tmp_path / "notes.txt").write_text("nothing to do with it")
    return tmp_path


def test_text_file_without_a_run_in_its_name_holds_for_every_run(tmp_path):
    path = tmp_path / "dead.txt"
    path.write_text("42")
    assert sensors(path, 1) == sensors(str(path), 430000) == sensors(path, None) == [42]


def test_text_file_of_one_run_is_refused_for_another(folder):
    path = folder / "dead_run100.txt"
    assert sensors(path, 100) == sensors(path, None) == [3]
    with pytest.raises(DataError, match="the name says run 100, asked for was run 101"):
        dead_mask_for(path, 101)


def test_folder_of_text_files(folder):
    assert sensors(folder, 100) == [3]
    assert sensors(str(folder), 102) == []
    assert [item.runs for item in open_dead_source(folder).all_intervals()] == ["100", "102"]


def test_missing_file_in_a_folder_is_an_error(folder):
    with pytest.raises(DataError, match=r"run 101 \(nearest: 100 before, 102 after\)"):
        dead_mask_for(folder, 101)


def test_two_files_of_a_run(folder):
    (folder / "dead_run102.txt").write_text("7\n")
    with pytest.raises(DataError, match=r"dead_run102\.txt and dead_channels_run000102\.txt"):
        open_dead_source(folder)


def test_folder_without_such_files(tmp_path):
    with pytest.raises(DataError, match=r"expected files dead_run<RUN>\.txt, there is none$"):
        open_dead_source(tmp_path)
    (tmp_path / "dead_channels.csv").touch()
    with pytest.raises(DataError, match=r"for the table, give .*dead_channels\.csv"):
        open_dead_source(tmp_path)


def test_table(tmp_path):
    path = tmp_path / "dead_channels.csv"
    path.write_text("run_first,run_last,channel\n100,199,5\n200,299,\n")
    assert sensors(path, 150) == [5]
    assert sensors(str(path), 200) == []
    with pytest.raises(DataError, match="nothing is known of run 300"):
        dead_mask_for(path, 300)


@pytest.mark.parametrize("kind", ["table", "folder"])
def test_only_a_text_file_can_do_without_a_run(folder, kind):
    table = folder / "dead_channels.csv"
    table.write_text("run_first,run_last,channel\n100,199,5\n")
    with pytest.raises(DataError, match="name the run"):
        dead_mask_for(table if kind == "table" else folder, None)


def test_database_of_the_environment(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'meg.db'}"
    made_up_database.create(sa.create_engine(url, poolclass=NullPool))
    monkeypatch.setenv("XEC_DEAD_DB", url)
    assert sensors("database", 100) == list(made_up_database.BAD)
    monkeypatch.delenv("XEC_DEAD_DB")
    with pytest.raises(ConfigError, match="variable XEC_DEAD_DB is not set"):
        dead_mask_for("database", 100)


def test_without_sqlalchemy_the_message_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "xec_pipeline.detector.dead_database", None)
    with pytest.raises(ConfigError, match=r"pip install 'xec_pipeline\[db\]'"):
        open_dead_source("sqlite:///meg.db")


def test_missing_source(tmp_path):
    with pytest.raises(DataError, match="no such file of dead sensors"):
        open_dead_source(tmp_path / "none.txt")


def test_run_file_keeps_run_status_and_source(tmp_path):
    dead = DeadInterval(
        run_first=100, run_last=100, channels=(3, 4092), status_id=21, source="logbook"
    )
    path = write_run_file(tmp_path, dead)
    assert path.name == "dead_run100.txt"
    assert path.read_text().splitlines() == [
        "# run 100, XECPMStatus_id 21, n 2",
        "# source: logbook",
        "3",
        "4092",
    ]
    assert open_dead_source(path).of_run(100) == dead
    assert np.array_equal(read_dead_file(path), dead.mask())


def test_summary_counts_the_whole_outer_face():
    everything = summarize_dead(np.ones(4760, dtype=bool))
    assert everything.by_face == {
        "inner": 4092, "us": 144, "ds": 144, "outer": 234, "top": 73, "bot": 73,
    }  # fmt: skip
    assert everything.fraction == 1
    some = summarize_dead(dead_mask([0, 4092, 4745, 4759]))
    assert (some.n_dead, some.by_face["outer"], some.by_face["bot"]) == (4, 3, 0)
    assert some.fraction == 4 / 4760


def test_digest_tells_masks_apart():
    first, other = dead_mask([1, 23]), dead_mask([12, 3])
    assert summarize_dead(first).digest == summarize_dead(first.copy()).digest
    assert summarize_dead(first).digest != summarize_dead(other).digest
