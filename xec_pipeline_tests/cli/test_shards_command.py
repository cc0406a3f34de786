"""`xec shards` and the worker of the same name."""

import argparse
import shutil

import pytest

from xec_pipeline.cli import shards as command
from xec_pipeline.config.data import DataConfig
from xec_pipeline.config.loader import load_regressor_run
from xec_pipeline.data.shards import open_shards, shard_dir_for
from xec_pipeline.workers import shards as worker
from xec_pipeline.workers.pipes import Report


@pytest.fixture
def project(tmp_path, tiny_root_dir, monkeypatch):
    """A folder with events, and a run that trains on them."""
    shutil.copytree(tiny_root_dir, tmp_path / "events")
    text = "preset: demo\ndata: {train_path: events, val_path: events, test_path: ''}\n"
    (tmp_path / "run.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def parse(*words):
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    return parser.parse_args(["shards", *words])


def test_command_builds_the_datasets_of_a_run_once(project, capsys):
    assert command.run(parse("--config", "run.yaml", "--jobs", "1")) == 0
    out = capsys.readouterr().out
    assert out.startswith("events -> data/shards/events: 48 events, 0.04 % dead, data version")
    assert out.count("\n") == 1
    assert open_shards("data/shards/events").n_events == 48


def test_command_takes_paths_and_a_folder(project):
    assert command.run(parse("events/MCGamma_000001.root", "--shard_dir", "s", "--jobs", "1")) == 0
    where = shard_dir_for(DataConfig(shard_dir="s"), "events/MCGamma_000001.root")
    assert open_shards(where).n_events == 24


class Recorder(Report):
    """Stands in for the report of a worker."""

    def __init__(self):
        super().__init__(rank=0)
        self.lines, self.numbers, self.results = [], [], []

    def log(self, text):
        self.lines.append(text)

    def progress(self, **numbers):
        self.numbers.append(numbers)

    def result(self, metadata, data_version):
        self.results.append((metadata, data_version))


def test_worker_reports_what_it_made(project):
    config = load_regressor_run("run.yaml").data
    report = Recorder()
    shards = worker.run_worker(config, "events", 1, report)
    ((metadata, version),) = report.results
    assert version == shards.data_version
    assert metadata["events"] == 48
    assert metadata["files"] == 2
    assert metadata["toy"] is False
    assert report.numbers[-1] == {"events": 48}
    assert metadata["events_per_s"] == pytest.approx(48 / metadata["seconds"])
    again = Recorder()
    assert worker.run_worker(config, str(shards.path), 1, again).data_version == version
    assert again.results[0][1] == version
    assert "events_per_s" not in again.results[0][0], "nothing was converted"


def test_worker_tells_ranges_and_what_other_samples_share(project):
    config = load_regressor_run("run.yaml").data
    part = "events/MCGamma_000001.root"
    first, second = Recorder(), Recorder()
    worker.run_worker(config, part, 1, first, ["events", "nowhere"])
    ((metadata, _),) = first.results
    assert metadata["sensors"] == 4760
    assert 0 < metadata["true_energy_mev_min"] < metadata["true_energy_mev_max"] <= 60
    assert not any(name.startswith("events_shared") for name in metadata), "no shards to look at"
    worker.run_worker(config, "events", 1, second, [part])
    ((metadata, _),) = second.results
    (shared,) = [value for name, value in metadata.items() if name.startswith("events_shared_")]
    assert shared == 24


def test_worker_takes_runs_of_either_kind(project):
    (project / "mae.yaml").write_text("data: {train_path: events, val_path: events}\n")
    words = ["--path", "events", "--jobs", "1"]
    assert worker.main(["--config", "mae.yaml", "--kind", "mae", *words]) == 0
    assert worker.main(["--config", "mae.yaml", *words]) == 2, "no task is enabled"


def test_worker_ends_with_a_message(project, capsys):
    assert worker.main(["--config", "run.yaml", "--path", "event"]) == 2
    assert "did you mean 'events'?" in capsys.readouterr().err
