"""Building shards: restartable, content-addressed, whole or not at all."""

import errno
import os
import shutil

import numpy as np
import pytest

from xec_pipeline.code_versions import modules_reached
from xec_pipeline.config.data import DataConfig
from xec_pipeline.data import shard_format
from xec_pipeline.data.root_io import write_tree
from xec_pipeline.data.shard_format import ArrayWriter
from xec_pipeline.data.shards import (
    build_shards,
    ensure_shards,
    open_built_shards,
    open_shards,
    shard_dir_for,
)
from xec_pipeline.errors import (
    CorruptFileError,
    DataError,
    MissingBranchError,
    OutputError,
)


@pytest.fixture
def sources(tmp_path, event_factory):
    """Three small files of 5 events."""
    folder = tmp_path / "root"
    for number in (1, 2, 3):
        write_tree(folder / f"m{number}.root", "tree", event_factory(5, seed=number))
    return sorted(folder.glob("*.root"))


def build(files, out_dir, **options):
    jobs = options.pop("jobs", 1)
    return build_shards(files, out_dir, DataConfig(**options), jobs=jobs, progress=False)


def made_at(out_dir):
    return {
        path.parent.name: path.stat().st_mtime_ns for path in out_dir.glob("parts/*/sensors.npy")
    }


def test_values_and_columns_are_those_of_the_files(tiny_shards, event_factory):
    events = event_factory(24, seed=2)
    dead = events["npho"] > 9e9
    npho = tiny_shards.npho(slice(24, 48))
    assert (np.isnan(npho) == dead).all()
    np.testing.assert_allclose(npho[~dead], events["npho"][~dead], rtol=1e-3)
    times = tiny_shards.times_ns(slice(24, 48))
    np.testing.assert_allclose(times[~dead], 1e9 * events["relative_time"][~dead], atol=4.1e-3)
    for name in ("run", "event", "energyTruth", "uvwTruth", "time_min_used"):
        np.testing.assert_array_equal(tiny_shards.columns[name][24:], events[name])
    assert tiny_shards.columns["source"].tolist() == [0] * 24 + [1] * 24
    assert tiny_shards.columns["entry"].tolist() == [*range(24), *range(24)]


def test_manifest_describes_the_data(tiny_shards):
    manifest = tiny_shards.manifest
    assert manifest.n_events == 48
    assert manifest.dead_fraction == pytest.approx(2 / 4760)
    assert manifest.n_nonfinite == 0
    assert not manifest.toy
    assert manifest.quantization.npho_max_relative < 2**-9.9
    assert 0 < manifest.quantization.time_rms_ps < 4
    assert [part.size > 1000 for part in manifest.sources] == [True, True]


def test_columns_that_no_file_has_are_nan(tiny_shards):
    columns = tiny_shards.columns
    assert np.isnan(columns["xyzRecoLC"]).all()
    assert columns["xyzRecoLC"].shape == (48, 3)
    assert columns["gstatus"].tolist() == [-1] * 48
    assert set(columns) >= {"run", "event", "entry", "source", "emiAng"}
    assert len(columns) == len(list(columns))
    with pytest.raises(KeyError):
        columns["npho"]


def test_rows_are_views_inside_a_part_and_copies_across(tiny_shards):
    rows = tiny_shards.npho_sqrt
    whole = rows[0:48]
    np.testing.assert_array_equal(rows[20:30], whole[20:30])
    np.testing.assert_array_equal(rows[3:9:2], whole[3:9:2])
    np.testing.assert_array_equal(rows[-1], whole[47])
    np.testing.assert_array_equal(rows[np.array([47, 0, 30])], whole[[47, 0, 30]])
    np.testing.assert_array_equal(rows[np.arange(48) > 40], whole[41:])
    assert rows[9:2].shape == (0, 4760)
    assert rows.shape == (48, 4760)
    assert len(rows) == 48
    assert np.shares_memory(rows[2:5], tiny_shards.parts[0])
    with pytest.raises(IndexError, match="events -1 to 3 asked for, expected 0 to 47"):
        tiny_shards.sensors(np.array([3, -1]))


def test_memory_maps_cannot_be_written(tiny_shards):
    with pytest.raises(ValueError, match="read-only"):
        tiny_shards.npho_sqrt[0:2][0, 0] = 1


def test_toy_flag_and_provenance_come_from_the_file(tmp_path, event_factory):
    provenance = {"detector": "toy", "seed": 4}
    path = tmp_path / "a.root"
    write_tree(path, "tree", event_factory(2), provenance=provenance)
    manifest = build([path], tmp_path / "shards")
    assert manifest.toy
    assert manifest.provenance == provenance


def test_unchanged_files_are_kept(sources, tmp_path):
    out_dir = tmp_path / "shards"
    first = build(sources, out_dir)
    before = made_at(out_dir)
    os.utime(sources[0])
    assert build(sources, out_dir).data_version == first.data_version
    assert made_at(out_dir) == before


def test_changed_added_and_removed_files(sources, tmp_path, event_factory):
    out_dir = tmp_path / "shards"
    first = build(sources, out_dir)
    before = made_at(out_dir)
    write_tree(sources[0], "tree", event_factory(5, seed=9))
    second = build(sources[:2], out_dir)
    after = made_at(out_dir)
    kept = before.keys() & after.keys()
    assert {name.split("-")[0] for name in kept} == {"m2"}
    assert all(before[name] == after[name] for name in kept)
    assert len(after) == 2
    assert second.n_events == 10
    assert second.data_version != first.data_version


def test_other_code_converts_again(sources, tmp_path, monkeypatch):
    out_dir = tmp_path / "shards"
    first = build(sources, out_dir)
    before = made_at(out_dir)
    monkeypatch.setattr(shard_format, "converting_code", lambda: "another")
    second = build(sources, out_dir)
    assert not before.keys() & made_at(out_dir).keys()
    assert second.settings.code_version == "another"
    assert second.data_version == first.data_version, "the content is the same"


def test_a_version_of_the_code_belongs_to_what_converts():
    reached = modules_reached(shard_format._CONVERTING, without=shard_format._NOT_CONVERTING)
    assert {"xec_pipeline.data.codec", "xec_pipeline.data.root_io"} < set(reached)
    asset = modules_reached("xec_pipeline.workers.shards")
    assert set(reached) < set(asset), "what is converted again is stale for Dagster too"


def test_version_depends_on_content_only(sources, tmp_path):
    first = build(sources, tmp_path / "a")
    moved = tmp_path / "elsewhere"
    shutil.copytree(sources[0].parent, moved)
    second = build(sorted(moved.glob("*.root")), tmp_path / "b", chunksize=2)
    assert second.data_version == first.data_version


def test_interrupted_build_goes_on(sources, tmp_path, event_factory):
    out_dir = tmp_path / "shards"
    good = sources[2].read_bytes()
    sources[2].write_bytes(good[:-100])
    with pytest.raises(CorruptFileError, match=r"m3\.root: truncated"):
        build(sources, out_dir)
    broken = event_factory(5, seed=3)
    broken["npho"][4, 4] = np.nan
    write_tree(sources[2], "tree", broken)
    with pytest.raises(DataError, match="entry 4, sensor 4"):
        build(sources, out_dir, chunksize=2)
    before = made_at(out_dir)
    assert len(before) == 2
    assert not list(out_dir.glob("parts/.*"))
    assert not (out_dir / "manifest.json").exists()
    leftover = out_dir / "parts" / ".m3-abc.77.part"
    leftover.mkdir()
    sources[2].write_bytes(good)
    build(sources, out_dir)
    assert before.items() <= made_at(out_dir).items()
    assert len(made_at(out_dir)) == 3
    assert not leftover.exists()


def test_processes_give_the_same_as_one(sources, tmp_path):
    seen: list[int] = []
    config = DataConfig(chunksize=2)
    manifest = build_shards(
        sources, tmp_path / "two", config, jobs=2, progress=False, on_progress=seen.append
    )
    assert manifest.data_version == build(sources, tmp_path / "one").data_version
    assert seen[-1] == 15
    assert seen == sorted(seen)


def test_error_in_a_process_reaches_the_caller(sources, tmp_path):
    write_tree(sources[1], "tree", {"run": np.zeros(3, "i4")})
    with pytest.raises(MissingBranchError, match=r"m2\.root: branch 'relative_time' is missing"):
        build(sources, tmp_path / "shards", jobs=2)


def test_settings_that_change_the_values_make_new_parts(sources, tmp_path):
    out_dir = tmp_path / "shards"
    build(sources, out_dir)
    before = made_at(out_dir)
    build(sources, out_dir, nonfinite="dead")
    assert not before.keys() & made_at(out_dir).keys()


def test_same_file_twice_counts_twice(sources, tmp_path):
    manifest = build([sources[0], sources[0]], tmp_path / "shards")
    assert manifest.n_events == 10
    assert len(open_shards(tmp_path / "shards").columns["run"]) == 10


def test_full_disk_names_the_file_and_leaves_nothing(sources, tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(ArrayWriter, "append", fail)
    with pytest.raises(OutputError, match=r"m1-\w+/sensors\.npy: no space left"):
        build(sources, tmp_path / "shards")
    assert list((tmp_path / "shards" / "parts").iterdir()) == []


def test_ensure_builds_once_and_accepts_a_shard_folder(sources, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = DataConfig(num_workers=0, shard_dir="shards")
    shards = ensure_shards(config, "root", progress=False)
    assert shards.path == shard_dir_for(config, "root")
    assert str(shards.path) == "shards/root"
    before = made_at(shards.path)
    again = ensure_shards(config, "root/", progress=False)
    assert made_at(again.path) == before
    assert ensure_shards(config, str(shards.path)).data_version == shards.data_version


def test_built_shards_are_opened_only_as_they_are(sources, tmp_path, monkeypatch, event_factory):
    monkeypatch.chdir(tmp_path)
    config = DataConfig(num_workers=0, shard_dir="shards")
    with pytest.raises(DataError, match=r"no shards of root .* materialize data/shards \[root\]"):
        open_built_shards(config, "root")
    built = ensure_shards(config, "root", progress=False)
    before = made_at(built.path)
    os.utime(sources[0])
    assert open_built_shards(config, "root/").data_version == built.data_version
    assert open_built_shards(config, str(built.path)).data_version == built.data_version
    other = config.model_copy(update={"nonfinite": "dead"})
    with pytest.raises(DataError, match=r"built with nonfinite 'error' instead of 'dead'; mat"):
        open_built_shards(other, "root")
    with monkeypatch.context() as changed:
        changed.setattr(shard_format, "converting_code", lambda: "another")
        with pytest.raises(DataError, match=r"built with code_version .* 'another'; materialize"):
            open_built_shards(config, "root")
    write_tree(sources[0], "tree", event_factory(5, seed=9))
    with pytest.raises(DataError, match=r"not of the ROOT files that are now in root; mat"):
        open_built_shards(config, "root")
    assert made_at(built.path) == before


def test_no_files_and_no_manifest(tmp_path):
    with pytest.raises(DataError, match="no ROOT files to build shards from"):
        build([], tmp_path)
    with pytest.raises(DataError, match=r"not a shard folder, it has no manifest\.json"):
        open_shards(tmp_path)


def test_damaged_manifest_and_arrays_are_named(sources, tmp_path):
    out_dir = tmp_path / "shards"
    build(sources[:1], out_dir)
    (sensors,) = out_dir.glob("parts/*/sensors.npy")
    content = sensors.read_bytes()
    sensors.write_bytes(content[:-50])
    with pytest.raises(CorruptFileError, match=r"sensors\.npy: not a whole array"):
        open_shards(out_dir)
    sensors.unlink()
    np.save(sensors, np.zeros((4, 2, 4760), np.float16))
    with pytest.raises(CorruptFileError, match="4 rows, the manifest says 5"):
        open_shards(out_dir)
    np.save(sensors, np.zeros((5, 2, 4092), np.float16))
    with pytest.raises(CorruptFileError, match=r"expected float16 \(5, 2, 4760\)"):
        open_shards(out_dir)
    (out_dir / "manifest.json").write_text('{"n_events": 3}')
    with pytest.raises(CorruptFileError, match="not a ShardManifest of version 1: data_version"):
        open_shards(out_dir)


def test_damaged_part_record_is_built_again(sources, tmp_path):
    out_dir = tmp_path / "shards"
    first = build(sources[:1], out_dir)
    (record,) = out_dir.glob("parts/*/part.json")
    record.write_text("{}")
    (out_dir / "manifest.json").write_text("{}")
    assert build(sources[:1], out_dir).data_version == first.data_version


def test_array_writer_refuses_missing_rows(tmp_path):
    writer = ArrayWriter(tmp_path / "a.npy", (3, 2), np.dtype("f4"))
    writer.append(np.zeros((2, 2)))
    with pytest.raises(DataError, match=r"a\.npy: 1 rows missing"):
        writer.close()
