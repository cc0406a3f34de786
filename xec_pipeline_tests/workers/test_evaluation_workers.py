import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from xec_pipeline.config.loader import load_regressor_run
from xec_pipeline.data.shards import open_shards
from xec_pipeline.evaluation.metadata import read_meta
from xec_pipeline.training.checkpoint import load_checkpoint
from xec_pipeline.workers import baselines, displays, evaluate, figures
from xec_pipeline.workers.pipes import Report
from xec_pipeline_tests.training.tiny import fit, tiny_tree

TASKS = ("angle", "energy", "timing", "uvwFI")


def n_rows(path):
    return len(pd.read_csv(path))


def previewed(metadata):
    """Return the names of the figures that are shown inside Dagster."""
    return {name.removeprefix("preview_") for name in metadata if name.startswith("preview_")}


def without_previews(metadata):
    return {name: value for name, value in metadata.items() if not name.startswith("preview_")}


@pytest.fixture(scope="module")
def run_file(tiny_shards, tmp_path_factory):
    """Return the YAML of a tiny run that was trained for three epochs; its samples are one."""
    folder = tmp_path_factory.mktemp("evaluated")
    tree = tiny_tree(folder / "artifacts")
    samples = {f"{name}_path": str(tiny_shards.path) for name in ("train", "val", "test")}
    tree["data"] |= samples
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(tree))
    fit(load_regressor_run(path), open_shards(tiny_shards.path))
    return path


@pytest.fixture(scope="module")
def run_dir(run_file):
    """Return the run's folder with predictions of the network and of both baselines."""
    assert evaluate.main(["--config", str(run_file)]) == 0
    assert baselines.main(["--config", str(run_file)]) == 0
    return load_regressor_run(run_file).run_dir


def test_tables_of_both_samples_hold_every_event(run_dir):
    for folder in (run_dir, run_dir / "test"):
        for task in TASKS:
            assert n_rows(folder / f"predictions_{task}_tiny.csv") == 48
            assert n_rows(folder / f"baseline_trivial_{task}_tiny.csv") == 48
        for task in ("energy", "uvwFI"):
            assert n_rows(folder / f"baseline_charge_weighted_{task}_tiny.csv") == 48


def test_methods_share_columns_truth_and_order(run_dir):
    network = pd.read_csv(run_dir / "predictions_uvwFI_tiny.csv")
    other = pd.read_csv(run_dir / "baseline_charge_weighted_uvwFI_tiny.csv")
    assert list(network.columns) == list(other.columns)
    truth = [name for name in network.columns if not name.startswith("pred_")]
    pd.testing.assert_frame_equal(network[truth], other[truth])


def test_trivial_prediction_is_the_mean_of_the_training_truth(run_dir):
    table = pd.read_csv(run_dir / "baseline_trivial_energy_tiny.csv")
    np.testing.assert_allclose(table["pred_energy"], table["true_energy"].mean(), rtol=1e-6)
    time = pd.read_csv(run_dir / "baseline_trivial_timing_tiny.csv")
    # Relative to the earliest sensor a mean predicts well; the absolute times differ.
    assert time["pred_timing"].std() > 0


def test_origin_is_written_beside_the_tables(run_dir, run_file, tiny_shards):
    meta = json.loads((run_dir / "predictions_meta_tiny.json").read_text())
    checkpoint = load_checkpoint(run_dir / "checkpoint_best.pth")
    assert meta["n_events"] == 48
    assert meta["is_toy"] is False
    assert meta["weights"] == "ema"
    assert meta["data_version"] == tiny_shards.data_version
    assert meta["git_revision"] == checkpoint.git_revision
    assert meta["normalization"]["npho_scheme"] == "sqrt"


def test_second_evaluation_writes_the_same_bytes(run_dir, run_file, tmp_path):
    arguments = ["--config", str(run_file), "--output_dir", str(tmp_path), "--batch-size", "48"]
    assert evaluate.main([*arguments, "--tasks", "energy"]) == 0
    written = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.csv"))
    assert written == [
        Path("predictions_energy_tiny.csv"),
        Path("test/predictions_energy_tiny.csv"),
    ]
    first = pd.read_csv(run_dir / written[0])
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / written[0]), first, rtol=1e-5)


def test_raw_weights_differ_and_earlier_tables_keep_their_origin(
    run_dir, run_file, tmp_path, caplog
):
    for name in ("predictions_uvwFI_tiny.csv", "predictions_meta_tiny.json"):
        shutil.copy(run_dir / name, tmp_path)
    arguments = ["--config", str(run_file), "--output_dir", str(tmp_path), "--weights", "raw"]
    assert evaluate.main([*arguments, "--tasks", "energy"]) == 0
    raw = pd.read_csv(tmp_path / "predictions_energy_tiny.csv")
    averaged = pd.read_csv(run_dir / "predictions_energy_tiny.csv")
    assert not np.allclose(raw["pred_energy"], averaged["pred_energy"])
    assert read_meta(tmp_path, "tiny", task="energy").weights == "raw"
    assert read_meta(tmp_path, "tiny", task="uvwFI").weights == "ema"
    assert f"{tmp_path / 'predictions_uvwFI_tiny.csv'}: not predicted now" in caplog.text


def test_user_errors_are_one_line(run_file, capsys, tmp_path):
    missing = str(tmp_path / "checkpoint_best.pth")
    assert evaluate.main(["--config", str(run_file), "--checkpoint", missing]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"{missing}: no such checkpoint")
    assert evaluate.main(["--config", str(run_file), "--val_path", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err
    assert baselines.main(["--config", "demmo"]) == 2
    assert "did you mean 'demo'" in capsys.readouterr().err
    assert figures.main([str(tmp_path), "--run_name", "x"]) == 2
    assert "no predictions" in capsys.readouterr().err


def test_figures_and_table_come_from_the_tables_alone(run_dir, tmp_path, capsys):
    arguments = [str(run_dir), "--run_name", "tiny", "--output_dir", str(tmp_path)]
    assert figures.main([*arguments, "--tasks", "energy", "--suffix", "_v2"]) == 0
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "resolution_energy_tiny_v2.json",
        "resolution_energy_tiny_v2.pdf",
    ]
    assert figures.main([*arguments, "--table"]) == 0
    assert "charge-weighted" in capsys.readouterr().out
    for ending in ("csv", "json", "md"):
        assert (tmp_path / f"resolution_table_tiny.{ending}").is_file()


def test_figures_of_both_samples_are_drawn_and_do_not_change(run_dir, monkeypatch):
    arguments = [str(run_dir), "--run_name", "tiny", "--tasks", "energy"]
    told: list[tuple[dict[str, Path], str]] = []
    monkeypatch.setattr(Report, "result", lambda _, *result: told.append(result))
    drawn = []
    for _ in range(2):
        assert figures.main(arguments) == 0
        drawn.append((run_dir / "test" / "resolution_energy_tiny.pdf").read_bytes())
    assert drawn[0] == drawn[1]
    assert told[0] == told[1]
    assert without_previews(told[0][0]) == {
        "pdf_energy": run_dir / "resolution_energy_tiny.pdf",
        "test_pdf_energy": run_dir / "test" / "resolution_energy_tiny.pdf",
    }
    assert previewed(told[0][0]) == {"pdf_energy", "test_pdf_energy"}


def test_figures_worker_never_imports_torch(run_dir, tmp_path):
    code = (
        "import sys; from xec_pipeline.workers import figures; "
        f"assert figures.main([{str(run_dir)!r}, '--run_name', 'tiny', '--tasks', 'timing', "
        f"'--output_dir', {str(tmp_path)!r}]) == 0; "
        "print([name for name in ('torch', 'onnxruntime', 'dagster') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_displays_of_both_samples_and_face_weights(run_dir, run_file, monkeypatch):
    told: list[tuple[dict[str, Path], str]] = []
    monkeypatch.setattr(Report, "result", lambda _, *result: told.append(result))
    arguments = ["--config", str(run_file), "--n_worst", "1", "--events", "30", "--seed", "2"]
    for _ in range(2):
        assert displays.main(arguments) == 0
    assert told[0] == told[1]
    assert previewed(told[0][0]) == {"worst_01", "test_worst_01", "face_weights"}
    assert without_previews(told[0][0]) == {
        "worst_01": run_dir / "worst_events" / "worst_01_tiny.pdf",
        "test_worst_01": run_dir / "test" / "worst_events" / "worst_01_tiny.pdf",
        "face_weights": run_dir / "face_weights_tiny.pdf",
    }
    content = json.loads((run_dir / "face_weights_tiny.json").read_text())
    checkpoint = load_checkpoint(run_dir / "checkpoint_best.pth")
    assert content["git_revision"] == checkpoint.git_revision
    assert content["permutation"]["n_events"] == 30
    assert set(content["mean_abs_weight_of_first_layer"]) == set(TASKS)
    # Normalized over its single channel, the image of a rectangular face is lost in so small a net.
    assert content["permutation"]["increase"]["top"]["u"]["error"] > 0


def test_displays_need_predictions_and_leave(run_file, tmp_path, monkeypatch, capsys):
    tree = yaml.safe_load(run_file.read_text())
    tree["mlflow"]["run_name"] = "other"
    other = tmp_path / "other.yaml"
    other.write_text(yaml.safe_dump(tree))
    best = load_regressor_run(run_file).run_dir / "checkpoint_best.pth"
    assert displays.main(["--config", str(other), "--checkpoint", str(best)]) == 2
    assert "no predictions" in capsys.readouterr().err
    tree["checkpoint"]["save_artifacts"] = False
    other.write_text(yaml.safe_dump(tree))
    told: list[tuple[dict[str, str], str]] = []
    monkeypatch.setattr(Report, "result", lambda _, *result: told.append(result))
    assert displays.main(["--config", str(other)]) == 0
    assert told[0][0] == {"drawn": "nothing"}


@pytest.mark.ddp
def test_two_ranks_write_the_tables_of_one(run_dir, run_file, tmp_path):
    command = [
        *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"),
        *("-m", "xec_pipeline.workers.evaluate", "--config", str(run_file)),
        *("--output_dir", str(tmp_path)),
    ]
    subprocess.run(command, check=True, capture_output=True, timeout=120)
    for task in TASKS:
        one = pd.read_csv(run_dir / "test" / f"predictions_{task}_tiny.csv")
        two = pd.read_csv(tmp_path / "test" / f"predictions_{task}_tiny.csv")
        pd.testing.assert_frame_equal(one, two, rtol=1e-5, atol=1e-12)
