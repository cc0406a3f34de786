"""The MAE worker as a person starts it: all files of the contract, and what begins with them."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import uproot
import yaml

from xec_pipeline.evaluation.sensor_predictions import read_prediction_metadata
from xec_pipeline.training.checkpoint import load_checkpoint, tensor_digest
from xec_pipeline.training.transfer import read_encoder
from xec_pipeline.workers import train
from xec_pipeline.workers.train_mae import main
from xec_pipeline_tests.training.tiny import tiny_tree
from xec_pipeline_tests.training.tiny_mae import tiny_mae_run

ROOT = Path(__file__).parents[2]
CONTRACT_KEYS = (
    "epoch model_state_dict optimizer_state_dict scaler_state_dict ema_state_dict "
    "scheduler_state_dict best_val_loss mlflow_run_id config"
)


def write_config(tmp_path: Path, name: str, tree: dict[str, Any], events: Path) -> list[str]:
    data = {"train_path": str(events), "val_path": str(events), "num_workers": 1}
    tree["data"] |= data | {"shard_dir": str(tmp_path / "shards")}
    config = tmp_path / name
    config.write_text(yaml.safe_dump(tree))
    return ["--config", str(config)]


@pytest.fixture
def words(tmp_path: Path, tiny_root_dir: Path) -> list[str]:
    """Return the command line of a tiny MAE of two epochs in `tmp_path`."""
    run = tiny_mae_run(tmp_path / "artifacts")
    tree = {
        name: run.model_dump(mode="json")[name]
        for name in ("data", "normalization", "model", "training", "checkpoint", "mlflow")
    }
    return [*write_config(tmp_path, "mae.yaml", tree, tiny_root_dir), "--epochs", "2"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "artifacts" / "tiny"


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def test_a_training_leaves_the_files_of_the_contract(words: list[str], folder: Path):
    assert main([*words, "--save_interval", "1", "--root_save_interval", "1"]) == 0
    assert names_in(folder) == {
        "mae_checkpoint_best.pth",
        "mae_checkpoint_last.pth",
        "mae_encoder_best.pth",
        "mae_training_record.json",
        *(f"mae_checkpoint_epoch_{epoch}.pth" for epoch in (1, 2)),
        *(f"mae_encoder_epoch_{epoch}.{ending}" for epoch in (1, 2) for ending in ("pth", "json")),
        *(f"mae_predictions_epoch_{epoch}.root" for epoch in (1, 2)),
    }
    for which in ("best", "last"):
        content = torch.load(folder / f"mae_checkpoint_{which}.pth", weights_only=True)
        assert set(CONTRACT_KEYS.split()) <= content.keys()


def test_encoders_hold_the_averaged_weights_and_their_origin(words: list[str], folder: Path):
    assert main(words) == 0
    whole = load_checkpoint(folder / "mae_checkpoint_last.pth", "mae")
    encoder = load_checkpoint(folder / "mae_encoder_epoch_2.pth", "encoder")
    averaged = {
        name.removeprefix("encoder."): weight
        for name, weight in (whole.ema_state_dict or {}).items()
        if name.startswith("encoder.")
    }
    assert averaged
    assert tensor_digest(encoder.model_state_dict) == tensor_digest(averaged)
    assert (encoder.config_digest, encoder.data, encoder.epoch) == (
        whole.config_digest,
        whole.data,
        2,
    )
    assert encoder.optimizer_state_dict is None
    # For any program: names and tensors, nothing else.
    bare = torch.load(folder / "mae_encoder_epoch_2.pth", weights_only=True)
    assert tensor_digest(bare) == tensor_digest(averaged)
    best = load_checkpoint(folder / "mae_encoder_best.pth", "encoder")
    same = folder / f"mae_encoder_epoch_{best.epoch}.pth"
    sources = [read_encoder(path).source for path in (folder / "mae_encoder_best.pth", same)]
    differing = {name for name in sources[0] if sources[0][name] != sources[1][name]}
    assert differing == {"file", "file_sha256"}


def test_predictions_are_a_root_file_that_another_reader_opens(words: list[str], folder: Path):
    few = ["--set", "checkpoint.max_predicted_events=20"]
    assert main([*words, "--predict_channels", "npho", *few]) == 0
    path = folder / "mae_predictions_epoch_2.root"
    with uproot.open(path) as file:
        tree = file["predictions"]
        assert tree.num_entries == 20
        assert not {"pred_time", "err_time", "truth_time"} & set(tree.keys())
        arrays = tree.arrays(library="np")
    masked = arrays["mask"] == 1
    assert np.isfinite(arrays["err_npho"][masked]).all()
    assert np.array_equal(arrays["event_id"], np.arange(20))
    metadata = read_prediction_metadata(path)
    assert (metadata.predict_channels, metadata.epoch, metadata.run_name) == (("npho",), 2, "tiny")


@pytest.mark.parametrize("option", ["--save_predictions", "--save_artifacts"])
def test_no_predictions_if_none_are_wanted(words: list[str], folder: Path, option: str):
    assert main([*words, "--epochs", "1", option, "false"]) == 0
    assert names_in(folder) == {
        *(f"mae_checkpoint_{which}.pth" for which in ("best", "last")),
        *("mae_encoder_best.pth", "mae_encoder_epoch_1.pth", "mae_encoder_epoch_1.json"),
        "mae_training_record.json",
    }


def test_resuming_ends_where_a_whole_training_ends(words: list[str], folder: Path):
    schedule = ["--lr_scheduler", "none", "--save_predictions", "false"]
    assert main([*words, *schedule, "--run_name", "whole"]) == 0
    assert main([*words, *schedule, "--epochs", "1"]) == 0
    last = folder / "mae_checkpoint_last.pth"
    assert main([*words, *schedule, "--resume_from", str(last)]) == 0
    whole = folder.parent / "whole" / "mae_encoder_epoch_2.pth"
    digests = [
        tensor_digest(load_checkpoint(path, "encoder").model_state_dict)
        for path in (whole, folder / "mae_encoder_epoch_2.pth")
    ]
    assert digests[0] == digests[1]


def test_beginning_again_in_the_same_folder_leaves_nothing_of_before(
    words: list[str], folder: Path
):
    assert main(words) == 0
    weights = load_checkpoint(folder / "mae_checkpoint_last.pth", "mae")
    options = ["--resume_from", str(folder / "mae_checkpoint_last.pth"), "--reset_epoch"]
    assert main([*words, *options, "--epochs", "1"]) == 0
    assert not list(folder.glob("*_epoch_2.*"))
    assert load_checkpoint(folder / "mae_checkpoint_start.pth", "mae").epoch == 2
    again = load_checkpoint(folder / "mae_checkpoint_last.pth", "mae")
    assert (again.epoch, again.best_epoch) == (1, 1)
    assert again.resumed_from is not None
    assert again.resumed_from["epoch"] == 2
    assert again.resumed_from["tensor_digest"] == tensor_digest(weights.model_state_dict)


def test_files_lost_by_a_sudden_end_are_made_again(words: list[str], folder: Path):
    assert main(words) == 0
    whole = names_in(folder)
    for name in ("encoder_best.pth", "encoder_epoch_2.pth", "predictions_epoch_2.root"):
        (folder / f"mae_{name}").unlink()
    assert main([*words, "--auto_resume"]) == 0
    assert names_in(folder) == whole
    # The process died between weights and what stands beside them.
    beside = folder / "mae_encoder_epoch_2.json"
    beside.write_text(beside.read_text().replace('"tensor_digest": "', '"tensor_digest": "x'))
    assert main([*words, "--auto_resume"]) == 0
    assert load_checkpoint(folder / "mae_encoder_epoch_2.pth", "encoder").epoch == 2


def test_kinds_share_a_folder_and_clear_only_their_own(
    tmp_path: Path, tiny_root_dir: Path, words: list[str], folder: Path
):
    tree = tiny_tree(tmp_path / "artifacts") | {"mae": "tiny"}
    tree["normalization"] = tiny_mae_run(tmp_path).normalization.model_dump(mode="json")
    regressor = write_config(tmp_path, "regressor.yaml", tree, tiny_root_dir)
    regressor += ["--epochs", "1", "--save_artifacts", "false"]
    assert train.main(regressor) == 2  # there is no encoder yet
    assert main(words) == 0
    assert train.main(regressor) == 0
    began_with = load_checkpoint(folder / "checkpoint_best.pth").encoder_source
    encoder = load_checkpoint(folder / "mae_encoder_best.pth", "encoder")
    assert began_with is not None
    assert began_with["file"] == str(folder / "mae_encoder_best.pth")
    assert began_with["tensor_digest"] == tensor_digest(encoder.model_state_dict)
    assert (began_with["run_name"], began_with["weights"]) == ("tiny", "ema")
    assert began_with["data"] == dict(encoder.data)
    both = names_in(folder)
    assert main([*words, "--overwrite"]) == 0
    assert train.main([*regressor, "--overwrite"]) == 0
    assert names_in(folder) == both


def test_a_missing_encoder_says_which_run_to_train(
    tmp_path: Path, tiny_root_dir: Path, capsys: pytest.CaptureFixture[str]
):
    tree = tiny_tree(tmp_path / "artifacts") | {"mae": "absent"}
    assert train.main(write_config(tmp_path, "regressor.yaml", tree, tiny_root_dir)) == 2
    error = capsys.readouterr().err
    assert "absent/mae_encoder_best.pth: no such encoder" in error
    assert "train the MAE run 'absent' first" in error


def test_only_some_events_are_trained_on_if_so_wanted(words: list[str], folder: Path):
    assert main([*words, "--max_events", "16", "--epochs", "1"]) == 0
    assert load_checkpoint(folder / "mae_checkpoint_last.pth", "mae").global_step == 2


@pytest.mark.ddp
def test_two_ranks_leave_the_same_files(words: list[str], folder: Path):
    launcher = ["torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m"]
    command = [sys.executable, "-m", *launcher, "xec_pipeline.workers.train_mae", *words]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=250, check=False
    )
    assert done.returncode == 0, done.stderr
    assert {"mae_encoder_best.pth", "mae_predictions_epoch_2.root"} <= names_in(folder)
    assert len(load_checkpoint(folder / "mae_checkpoint_last.pth", "mae").rng_state) == 2
