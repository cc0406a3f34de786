"""Reading ROOT files: every kind of bad input is an error that says where and what."""

import logging
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import uproot

from xec_pipeline.config.data import DataConfig
from xec_pipeline.data.events import iterate_sensor_events
from xec_pipeline.data.root_io import (
    find_root_files,
    iterate_events,
    open_tree,
    read_provenance_tree,
    write_tree,
    write_trees,
)
from xec_pipeline.errors import (
    CorruptFileError,
    DataError,
    MissingBranchError,
    NonFiniteDataError,
    OutputError,
)


def read_all(path, config=None):
    return list(iterate_sensor_events([path], config or DataConfig()))


def test_folder_file_and_pattern_give_the_same_files(tiny_root_dir):
    files = find_root_files(tiny_root_dir)
    assert [path.name for path in files] == ["MCGamma_000001.root", "MCGamma_000002.root"]
    assert find_root_files(f"{tiny_root_dir}/MC*.root") == files
    assert find_root_files(files[0]) == files[:1]


def test_files_still_being_written_are_not_read(tmp_path, tiny_root_file):
    shutil.copy(tiny_root_file, tmp_path / "a.root")
    shutil.copy(tiny_root_file, tmp_path / ".b.123.part.root")
    assert [path.name for path in find_root_files(tmp_path)] == ["a.root"]


def test_empty_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"expected \*\.root files, but it is empty"):
        find_root_files(tmp_path)


def test_folder_without_root_files_says_what_it_holds(tmp_path, tiny_root_file):
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "runs").mkdir()
    shutil.copy(tiny_root_file, tmp_path / "runs")
    with pytest.raises(DataError, match=r"holds notes\.txt, runs; its folders .*runs hold some"):
        find_root_files(tmp_path)


def test_missing_path_names_the_nearest(tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError, match=r"no such file or folder \(did you mean 'train'\?\)"):
        find_root_files(tmp_path / "trian")
    with pytest.raises(DataError, match=r"'trian' is not in .* \(did you mean 'train'\?\)"):
        find_root_files(tmp_path / "trian" / "a.root")


def test_pattern_without_match(tmp_path):
    with pytest.raises(DataError, match="no file matches this pattern"):
        find_root_files(f"{tmp_path}/*.root")


def test_path_below_a_file(tiny_root_file):
    with pytest.raises(DataError, match="is not a folder"):
        find_root_files(tiny_root_file / "x")


def test_missing_branch_names_file_branch_and_nearest(tmp_path):
    path = write_tree(tmp_path / "a.root", "tree", {"nphoo": np.zeros((2, 4760), "f4")})
    with pytest.raises(MissingBranchError, match=r"a\.root: branch 'npho' is missing") as caught:
        list(iterate_events([path], ["npho"], 10))
    assert "did you mean 'nphoo'" in str(caught.value)


@pytest.mark.parametrize("kept", [100, 2000, -10])
def test_truncated_file(tmp_path, tiny_root_file, kept):
    content = tiny_root_file.read_bytes()
    path = tmp_path / "cut.root"
    path.write_bytes(content[:kept])
    message = f"truncated: {len(content[:kept])} bytes of the {len(content)} that its header"
    with pytest.raises(CorruptFileError, match=message):
        read_all(path)


def test_damage_inside_a_file_names_branch_and_entries(tmp_path, tiny_root_file):
    content = bytearray(tiny_root_file.read_bytes())
    with uproot.open(tiny_root_file) as file:
        seek = int(file["tree"]["npho"].member("fBasketSeek")[0])
    content[seek + 20 : seek + 900] = bytes(880)
    path = tmp_path / "rot.root"
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match=r"decode branch 'npho', entries 0 to 23, the file"):
        read_all(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 something else entirely", b"root"])
def test_not_a_root_file(tmp_path, content):
    path = tmp_path / "a.root"
    path.write_bytes(content)
    with pytest.raises(CorruptFileError, match="not a ROOT file: it begins with"):
        read_all(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("branch", ["npho", "relative_time"])
def test_nonfinite_names_branch_entry_and_sensor(tmp_path, event_factory, value, branch):
    events = event_factory(6)
    events[branch][4, 17] = value
    path = write_tree(tmp_path / "a.root", "tree", events)
    message = rf"a\.root: branch '{branch}', entry 4, sensor 17: {value}; expected a finite"
    with pytest.raises(NonFiniteDataError, match=message):
        read_all(path, DataConfig(chunksize=3))
    chunks = read_all(path, DataConfig(chunksize=3, nonfinite="dead"))
    assert [chunk.n_nonfinite for chunk in chunks] == [0, 1]
    values = chunks[1].npho if branch == "npho" else chunks[1].time_s
    assert np.isnan(values[1, 17])


def test_wrong_number_of_sensors(tmp_path):
    columns = {"npho": np.zeros((3, 4092), "f4"), "relative_time": np.zeros((3, 4092), "f4")}
    path = write_tree(tmp_path / "a.root", "tree", columns)
    with pytest.raises(DataError, match=r"'npho' has \[4092\] values per event, expected \[4760\]"):
        read_all(path)


def test_array_of_varying_length(tmp_path):
    path = tmp_path / "a.root"
    with uproot.recreate(path) as file:
        file.mktree("tree", {"npho": "var * float32"}).extend({"npho": [[1.0], [1.0, 2.0]]})
    with pytest.raises(DataError, match=r"'npho' has type .* expected float32\[4760\]"):
        list(iterate_events([path], ["npho"], 10))


@pytest.mark.parametrize("name", ["Tree", "events", "Events", "xec"])
def test_other_tree_names_are_found(tmp_path, caplog, name):
    columns = {"run": np.arange(3, dtype="i4")}
    path = write_tree(tmp_path / "a.root", name, columns, provenance={"detector": "toy"})
    with caplog.at_level(logging.INFO), open_tree(path) as tree:
        assert tree.name == name
    assert f"no tree 'tree', reading '{name}'" in caplog.text


def test_file_without_a_tree_lists_what_it_holds(tmp_path):
    path = tmp_path / "a.root"
    with uproot.recreate(path) as file:
        file["trees"] = np.histogram([1.0, 2.0])
    with (
        pytest.raises(DataError, match=r"tree 'tree' not found.*holds trees \(TH1D\)"),
        open_tree(path),
    ):
        pass


def test_file_without_entries(tmp_path):
    columns = {name: np.zeros((0, 4760), "f4") for name in ("npho", "relative_time")}
    path = write_tree(tmp_path / "a.root", "tree", columns)
    with pytest.raises(DataError, match=r"a\.root: tree 'tree' has no entries"):
        read_all(path)


def test_written_tree_reads_back(tmp_path):
    columns: dict[str, Any] = {
        "run": np.arange(1200, dtype="i4"),
        "uvwTruth": np.arange(3600, dtype="f4").reshape(-1, 3),
        "face": [f"face{number % 6}" for number in range(1200)],
    }
    path = write_tree(tmp_path / "new" / "a.root", "tree", columns, provenance={"seed": 3})
    assert read_provenance_tree(path) == {"seed": 3}
    chunks = list(iterate_events([path], ["run", "uvwTruth", "face"], 500))
    assert [chunk.start for chunk in chunks] == [0, 500, 1000]
    assert [chunk.n_events for chunk in chunks] == [500, 500, 200]
    for name, values in columns.items():
        np.testing.assert_array_equal(np.concatenate([c.arrays[name] for c in chunks]), values)


def test_unequal_columns_are_refused_and_leave_nothing(tmp_path):
    with pytest.raises(ValueError, match="differ in length"):
        write_tree(tmp_path / "a.root", "tree", {"a": np.zeros(2), "b": np.zeros(3)})
    assert list(tmp_path.iterdir()) == []


def test_full_disk_is_an_output_error(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr("xec_pipeline.data.root_io._write_one", fail)
    with pytest.raises(OutputError, match=r"a\.root: no space left"):
        write_trees(tmp_path / "a.root", {"tree": {"run": np.zeros(2, "i4")}})
    assert list(tmp_path.iterdir()) == []


def test_file_without_provenance(tiny_root_file):
    assert read_provenance_tree(tiny_root_file) is None


def test_provenance_that_is_no_object(tmp_path):
    path = write_trees(tmp_path / "a.root", {"provenance": {"json": ["[1]"]}})
    with pytest.raises(CorruptFileError, match="provenance is list, expected an object"):
        read_provenance_tree(path)


def test_only_needed_branches_are_read(tiny_root_file):
    chunk = next(iterate_events([Path(tiny_root_file)], ["run"], 5, optional=["event", "nothing"]))
    assert sorted(chunk.arrays) == ["event", "run"]
