import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import uproot

from xec_pipeline.config.simulation import simulation_config
from xec_pipeline.data.root_io import read_provenance_tree
from xec_pipeline.errors import ConfigError, OutputError
from xec_pipeline.simulation.dataset import event_seed, simulate_dataset
from xec_pipeline.simulation.events import simulate_events
from xec_pipeline.simulation.provenance import read_provenance

SMALL = {"events": 20, "files": 2}


def _read(path):
    with uproot.open(path) as file:
        return file["tree"].arrays(library="np")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    out_dir = tmp_path_factory.mktemp("toy")
    config = simulation_config("meg2", SMALL | {"branches": "full", "dead_fraction": 0.01})
    return config, out_dir, simulate_dataset(config, out_dir, progress=False)


def test_files_hold_the_events_of_their_run(dataset):
    config, out_dir, paths = dataset
    assert [path.name for path in paths] == ["MCGamma_000001.root", "MCGamma_000002.root"]
    assert {path.name for path in out_dir.iterdir()} == {
        f"MCGamma_00000{run}.{kind}" for run in (1, 2) for kind in ("root", "json")
    }
    for run, path in enumerate(paths, start=1):
        events = _read(path)
        expected = simulate_events(config, event_seed(config.seed, run), 10, run=run)
        assert set(events) == set(expected)
        for name, values in expected.items():
            np.testing.assert_array_equal(events[name], values, err_msg=name)
            assert events[name].dtype == values.dtype, name


def test_provenance_round_trip(dataset):
    config, _, paths = dataset
    record = read_provenance(paths[1])
    assert record is not None
    assert record == read_provenance_tree(paths[1])
    assert record == json.loads(paths[1].with_suffix(".json").read_text())
    assert record["detector"] == "toy detector"
    assert (record["run"], record["n_events"], record["seed"]) == (2, 10, 1)
    assert len(record["dead_sensors"]) == 48
    written = config.model_dump(mode="json")
    assert set(written) - set(record["config"]) == {"events", "files", "first_run"}
    assert all(written[name] == value for name, value in record["config"].items())


def test_no_record_in_other_files(tmp_path):
    path = tmp_path / "other.root"
    path.write_bytes(b"no ROOT file")
    assert read_provenance(path) is None
    with uproot.recreate(path) as file:
        file.mktree("tree", {"run": np.int32}).extend({"run": np.arange(3, dtype=np.int32)})
    assert read_provenance(path) is None


def test_damaged_files_have_no_record(dataset, tmp_path):
    content = dataset[2][0].read_bytes()
    path = tmp_path / "damaged.root"
    for length in (0, 3, 50, 300, 600, 1500, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        assert read_provenance(path) is None
    rng = np.random.default_rng(1)
    for _ in range(40):
        damaged = np.frombuffer(content, dtype=np.uint8).copy()
        damaged[rng.integers(300, 2500, 40)] = rng.integers(0, 256, 40)
        path.write_bytes(damaged.tobytes())
        assert read_provenance(path) is None or isinstance(read_provenance(path), dict)


def test_number_of_processes_does_not_matter(dataset, tmp_path):
    config, _, paths = dataset
    again = simulate_dataset(config, tmp_path, jobs=2, progress=False)
    for first, second in zip(paths, again, strict=True):
        expected, events = _read(first), _read(second)
        for name in expected:
            np.testing.assert_array_equal(expected[name], events[name], err_msg=name)


def test_restart_keeps_complete_files(tmp_path):
    config = simulation_config("meg2", SMALL)
    first, second = simulate_dataset(config, tmp_path, progress=False)
    before = first.stat().st_mtime_ns
    second.unlink()
    first.with_suffix(".json").unlink()
    more = simulation_config("meg2", {"events": 30, "files": 3})
    assert len(simulate_dataset(more, tmp_path, progress=False)) == 3
    assert first.stat().st_mtime_ns == before
    assert first.with_suffix(".json").exists()


def test_files_made_in_another_way_are_refused(tmp_path):
    simulate_dataset(simulation_config("meg2", SMALL), tmp_path, progress=False)
    other = simulation_config("meg2", SMALL | {"shower": {"length_cm": 3.0}})
    with pytest.raises(ConfigError, match=r"000001.root .* config.shower.length_cm was 2.0, now 3"):
        simulate_dataset(other, tmp_path, progress=False)
    later = simulation_config("meg2", SMALL | {"seed": 2, "first_run": 3})
    with pytest.raises(ConfigError, match=r"000001.root would belong .* seed was 1, now 2"):
        simulate_dataset(later, tmp_path, progress=False)
    simulate_dataset(other, tmp_path, progress=False, overwrite=True)
    record = read_provenance(tmp_path / "MCGamma_000002.root")
    assert record is not None
    assert record["config"]["shower"]["length_cm"] == 3


class Doubled:
    """A stand-in for a reconstruction: twice the largest photons as the energy."""

    record = {"method": "doubled"}  # noqa: RUF012

    def __call__(self, branches):
        return {"energyReco": 2 * branches["npho_max_used"]}


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_reconstruction_fills_its_branches_and_is_recorded(tmp_path, monkeypatch, jobs):
    # Where it is not started as `python -m pytest`, other processes would not find this module.
    monkeypatch.syspath_prepend(Path(__file__).parents[2])
    config = simulation_config("meg2", SMALL)
    paths = simulate_dataset(config, tmp_path, jobs=jobs, progress=False, reconstruction=Doubled())
    for path in paths:
        events = _read(path)
        np.testing.assert_array_equal(events["energyReco"], 2 * events["npho_max_used"])
        record = read_provenance(path)
        assert record is not None
        assert record["reconstruction"] == {"method": "doubled"}
    with pytest.raises(ConfigError, match=r"reconstruction was \{'method': 'doubled'\}, now None"):
        simulate_dataset(config, tmp_path, progress=False)


def test_foreign_files_are_refused(tmp_path):
    (tmp_path / "MCGamma_000009.root").write_bytes(b"precious")
    config = simulation_config("meg2", SMALL)
    with pytest.raises(ConfigError, match="no record of a toy simulation"):
        simulate_dataset(config, tmp_path, progress=False, overwrite=True)
    assert (tmp_path / "MCGamma_000009.root").read_bytes() == b"precious"


def test_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def fail(*_args, **_kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("xec_pipeline.simulation.writer._fill", fail)
    with pytest.raises(OutputError, match=r"MCGamma_000001\.root: no space left"):
        simulate_dataset(simulation_config("meg2", SMALL), tmp_path, progress=False)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("codec", ["none", "lz4:4", "zlib:1", "lzma:1"])
def test_codecs(tmp_path, codec):
    config = simulation_config("meg2", {"events": 2, "codec": codec})
    (path,) = simulate_dataset(config, tmp_path, progress=False)
    expected = simulate_events(config, event_seed(1, 1), 2)
    np.testing.assert_array_equal(_read(path)["npho"], expected["npho"])


def test_jobs_must_be_positive(tmp_path):
    with pytest.raises(ConfigError, match="jobs"):
        simulate_dataset(simulation_config(), tmp_path, jobs=0)


_MEMORY = """
import pathlib, sys
from xec_pipeline.config.simulation import simulation_config
from xec_pipeline.simulation.dataset import simulate_dataset
options = {"events": 1100, "branches": "full", "truth_light": True, "pileup": {"probability": 1.0}}
simulate_dataset(simulation_config("meg2", options), pathlib.Path(sys.argv[1]), progress=False)
# Not getrusage: its maximum includes the parent's memory from before exec.
status = pathlib.Path("/proc/self/status").read_text().splitlines()
print(next(line.split()[1] for line in status if line.startswith("VmHWM")))
"""


def test_peak_memory_stays_below_one_gib(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", _MEMORY, str(tmp_path)], check=True, capture_output=True, text=True
    )
    assert int(done.stdout) < 1024**2
