import argparse
import json
import re

import numpy as np
import pytest
import yaml

from xec_pipeline.cli import export as command
from xec_pipeline.config.loader import load_regressor_run
from xec_pipeline.export.samples import sample_events
from xec_pipeline.workers import export as worker

ENTRY = {"output", "unit", "largest_absolute", "of_allowed"}


@pytest.fixture
def run_file(checkpoint_of, tmp_path):
    checkpoint_of()
    path = tmp_path / "run.yaml"
    tree = {
        "preset": "demo",
        "data": {"val_path": "", "test_path": ""},
        "checkpoint": {"save_dir": str(tmp_path)},
    }
    path.write_text(yaml.safe_dump(tree))
    return path


def test_worker_writes_beside_the_checkpoint(run_file, tmp_path):
    assert worker.main(["--config", str(run_file)]) == 0
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == [
        "checkpoint_best.pth",
        "export_parity_run.json",
        "model.onnx",
        "model_raw.onnx",
    ]


def test_parity_is_told_beside_the_files(run_file, tmp_path):
    assert worker.main(["--config", str(run_file)]) == 0
    told = json.loads((tmp_path / "run" / "export_parity_run.json").read_text())
    assert [file["file"] for file in told["files"]] == ["model.onnx", "model_raw.onnx"]
    outputs = [entry for file in told["files"] for entry in file["outputs"]]
    assert {entry["unit"] for entry in outputs} <= {"MeV", "ns", "cm", "deg"}
    assert all(0 <= entry["of_allowed"] <= 1 for entry in outputs)
    assert all(set(entry) == ENTRY for entry in outputs)
    assert told["tolerance"] == "0.0003 of the target's spread"


def test_command_writes_elsewhere(run_file, tmp_path, capsys):
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    flags = ["export", "--config", str(run_file), "--output-dir", str(tmp_path / "o")]
    assert command.run(parser.parse_args(flags)) == 0
    assert (tmp_path / "o" / "model_raw.onnx").is_file()
    told = capsys.readouterr().out
    assert re.search(r"model_raw\.onnx: energy_mev agrees .* MeV, .* of what is allowed", told)


def test_disabled_export_is_an_error(run_file, capsys):
    run_file.write_text(run_file.read_text() + "export: {onnx: null}\n")
    assert worker.main(["--config", str(run_file)]) == 2
    assert "export.onnx is null" in capsys.readouterr().err


def test_samples_hold_every_way_of_being_invalid():
    run = load_regressor_run("demo", {"data.val_path": "", "data.test_path": ""})
    npho, time_s = sample_events(run.data, 12)
    assert npho.shape == time_s.shape == (12, 4760)
    assert npho.dtype == time_s.dtype == np.float32
    assert np.isnan(npho).any()
    assert (npho > 9e9).all(axis=1).any()
    assert (npho == 0).all(axis=1).any()
    assert np.isneginf(time_s).any()
    again = sample_events(run.data, 12)
    np.testing.assert_array_equal(again.npho, npho)


def test_samples_come_from_shards_when_there_are_any(tiny_shards):
    run = load_regressor_run("demo", {"data.test_path": str(tiny_shards.path)})
    npho, time_s = sample_events(run.data, 20)
    np.testing.assert_array_equal(npho[:15], tiny_shards.npho(slice(0, 15)))
    np.testing.assert_allclose(1e9 * time_s[:15], tiny_shards.times_ns(slice(0, 15)), rtol=1e-6)
