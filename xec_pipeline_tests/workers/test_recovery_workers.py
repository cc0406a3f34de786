"""What follows an inpainter's training, as a person starts it: recovery, study, analysis."""

import json
from pathlib import Path

import numpy as np
import pytest
import uproot
import yaml

from xec_pipeline.__main__ import main as xec
from xec_pipeline.config.loader import load_inpainter_run
from xec_pipeline.data.shards import open_shards
from xec_pipeline.detector.geometry import ideal_geometry
from xec_pipeline.evaluation.masked_rows import ARTIFICIAL, DEAD
from xec_pipeline.evaluation.masked_table import read_masked_table
from xec_pipeline.evaluation.sensor_front import sensor_in_front
from xec_pipeline.workers import analyze, dead_study, recover
from xec_pipeline_tests.training.tiny import fit, tiny_run
from xec_pipeline_tests.training.tiny_inpainter import fit_inpainter, tiny_inpainter_run

N_EVENTS = 8
N_DEAD = 143
"""3 % of all sensors."""


@pytest.fixture(scope="module")
def config(tiny_shards, tmp_path_factory) -> str:
    """Return the YAML of a trained tiny inpainter, which names the regressor `tiny_regressor`."""
    folder = tmp_path_factory.mktemp("recovered")
    tree = tiny_inpainter_run(folder).model_dump(mode="json")
    samples = {f"{name}_path": str(tiny_shards.path) for name in ("train", "val", "test")}
    tree["data"] |= samples | {"batch_size": 8}
    tree["training"]["epochs"] = 1
    tree["validation"] = {"max_events": N_EVENTS, "regressor": "tiny_regressor"}
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(tree))
    fit_inpainter(load_inpainter_run(path), open_shards(tiny_shards.path))
    regressor = tiny_run(folder, mlflow={"run_name": "tiny_regressor", "tracking_uri": "none"})
    fit(
        regressor.model_copy(
            update={"training": regressor.training.model_copy(update={"epochs": 1})}
        ),
        open_shards(tiny_shards.path),
    )
    return str(path)


@pytest.fixture(scope="module")
def run_dir(config) -> Path:
    return load_inpainter_run(config).run_dir


def test_a_dead_pattern_is_recovered_by_all_methods(config, run_dir, tiny_shards):
    assert recover.main(["--config", config]) == 0
    table = read_masked_table(run_dir / "inpainter_mc_tiny.root")
    rows = table.rows
    assert len(rows) == N_EVENTS * N_DEAD
    assert np.unique(rows.event_idx).tolist() == list(range(N_EVENTS))
    assert np.isfinite(rows.pred_npho).all()
    assert set(rows.baselines) == {"avg", "sa", "localfit", "knn"}
    live = rows.mask_type == ARTIFICIAL
    for name in ("avg", "knn"):
        assert np.isfinite(rows.baselines[name][live]).mean() > 0.99
    assert (table.metadata.mode, table.metadata.n_events) == ("mc", N_EVENTS)
    assert table.metadata.dead_pattern == "0.03 of the sensors, drawn with seed 1"
    energy = 1e3 * tiny_shards.columns["energyTruth"][:N_EVENTS].astype("f8")
    found = table.metadata.energy_low_mev, table.metadata.energy_high_mev
    assert found == pytest.approx((energy.min(), energy.max()))


def test_the_same_sensors_are_hidden_every_time(config, run_dir, tmp_path):
    names = ("first.root", "second.root", "other.root")
    for name, seed in zip(names, ("42", "42", "43"), strict=True):
        words = ["--config", config, "--mode", "data", "--seed", seed]
        assert recover.main([*words, "--output", str(tmp_path / name)]) == 0
    first, second, other = (read_masked_table(tmp_path / name).rows for name in names)
    live = first.mask_type == ARTIFICIAL
    assert live.sum() == N_EVENTS * 15
    assert (first.mask_type == DEAD).sum() == N_EVENTS * 2  # so many the events have
    np.testing.assert_array_equal(first.sensor_id, second.sensor_id)
    np.testing.assert_array_equal(first.pred_npho, second.pred_npho)
    assert len(other) == len(first)
    assert not np.array_equal(other.sensor_id, first.sensor_id)


def test_known_dead_sensors_have_no_truth_and_are_not_looked_at(config, tmp_path):
    (tmp_path / "dead.txt").write_text("# run 7\n2046\n4195\n")
    words = ["--config", config, "--mode", "data", "--dead_file", str(tmp_path / "dead.txt")]
    assert recover.main([*words, "--output", str(tmp_path / "out.root")]) == 0
    rows = read_masked_table(tmp_path / "out.root").rows
    for sensor in (2046, 4195):
        found = rows.taken(rows.sensor_id == sensor)
        assert len(found) == N_EVENTS
        assert (found.mask_type == DEAD).all()
        assert np.isnan(found.truth_npho).all()
        assert np.isfinite(found.pred_npho).all()


def test_analysis_of_a_recovery_writes_its_table(config, run_dir, tmp_path):
    assert recover.main(["--config", config]) == 0
    path = run_dir / "inpainter_mc_tiny.root"
    assert analyze.main([str(path), "--output", str(tmp_path), "--no_plots"]) == 0
    assert (tmp_path / "recovery_table_tiny.txt").is_file()


def test_the_sensor_in_front_is_recovered_where_there_is_one(config, run_dir, capsys, tiny_shards):
    front = sensor_in_front(tiny_shards.columns["uvwTruth"], ideal_geometry())
    status = recover.main(["--config", config, "--mode", "sensorfront"])
    if (front >= 0).any():
        rows = read_masked_table(run_dir / "inpainter_sensorfront_tiny.root").rows
        np.testing.assert_array_equal(rows.sensor_id, front[front >= 0][: len(rows)])
        assert status == 0
    else:
        assert status == 2
        assert "no event has a sensor in front of its first" in capsys.readouterr().err


def test_without_events_the_option_is_named(config, tmp_path, capsys):
    tree = yaml.safe_load(Path(config).read_text())
    tree["data"] |= {"val_path": "", "test_path": ""}
    other = tmp_path / "none.yaml"
    other.write_text(yaml.safe_dump(tree))
    assert recover.main(["--config", str(other)]) == 2
    assert "data.test_path and data.val_path are empty; give --input" in capsys.readouterr().err


def test_a_regressor_is_tried_with_dead_and_filled_sensors(config, run_dir, capsys):
    assert dead_study.main(["--config", config]) == 0
    assert "left dead" in capsys.readouterr().out
    stem = run_dir / "inpainter_dead_study_tiny"
    rows = json.loads(stem.with_suffix(".json").read_text())["rows"]
    assert {row["strategy"] for row in rows} == {"complete", "raw", "neighavg", "inpainted"}
    with uproot.open(stem.with_suffix(".root")) as file:
        arrays = file["tree"].arrays(library="np")
    assert len(arrays["event"]) == N_EVENTS
    for name in ("energy", "u", "v", "w", "timing", "theta"):
        for strategy in ("complete", "raw", "neighavg", "inpainted"):
            assert np.isfinite(arrays[f"{name}_{strategy}"]).all()
        assert not np.array_equal(arrays[f"{name}_raw"], arrays[f"{name}_complete"])
    assert arrays["true_u"].shape == (N_EVENTS,)


def test_a_study_without_a_regressor_names_the_option(config, tmp_path, capsys):
    tree = yaml.safe_load(Path(config).read_text())
    tree["validation"]["regressor"] = None
    path = tmp_path / "none.yaml"
    path.write_text(yaml.safe_dump(tree))
    assert dead_study.main(["--config", str(path)]) == 2
    assert "validation.regressor is null" in capsys.readouterr().err


def test_commands_do_the_same(config, run_dir, tmp_path, capsys):
    words = ["recover", "--config", config, "--max-events", "3"]
    assert xec([*words, "--output", str(tmp_path / "x.root")]) == 0
    assert len(read_masked_table(tmp_path / "x.root").rows) == 3 * N_DEAD
