"""The inpainter worker as a person starts it: what it begins with, and the files it leaves."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import uproot
import yaml

from xec_pipeline.evaluation.masked_table import read_masked_table
from xec_pipeline.training.checkpoint import load_checkpoint, tensor_digest
from xec_pipeline.workers import train_mae
from xec_pipeline.workers.pipes import Report
from xec_pipeline.workers.train_inpainter import main
from xec_pipeline_tests.training.tiny_inpainter import tiny_inpainter_run
from xec_pipeline_tests.training.tiny_mae import tiny_mae_run

CONTRACT_KEYS = (
    "epoch model_state_dict optimizer_state_dict scaler_state_dict ema_state_dict "
    "scheduler_state_dict best_val_loss mlflow_run_id config"
)
FEW = {"max_events": 16, "max_val_events": 8, "num_workers": 1}
N_PREDICTED = 5


def write_config(path: Path, tree: dict[str, Any], events: Path, shards: Path) -> list[str]:
    data = {"train_path": str(events), "val_path": str(events), "shard_dir": str(shards)}
    tree["data"] |= FEW | data
    path.write_text(yaml.safe_dump(tree))
    return ["--config", str(path)]


@pytest.fixture(scope="module")
def shard_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("shards")


@pytest.fixture(scope="module")
def mae_dir(tiny_root_dir: Path, shard_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a trained MAE run."""
    folder = tmp_path_factory.mktemp("mae")
    tree = tiny_mae_run(folder / "artifacts").model_dump(mode="json")
    tree["training"]["epochs"] = 1
    tree["checkpoint"]["save_predictions"] = False
    words = write_config(folder / "mae.yaml", tree, tiny_root_dir, shard_dir)
    assert train_mae.main(words) == 0
    return folder / "artifacts" / "tiny"


@pytest.fixture
def words(tmp_path: Path, tiny_root_dir: Path, shard_dir: Path) -> list[str]:
    """Return the command line of a tiny inpainter of two epochs in `tmp_path`."""
    tree = tiny_inpainter_run(tmp_path / "artifacts").model_dump(mode="json")
    tree["training"]["epochs"] = 2
    tree["checkpoint"]["max_predicted_events"] = N_PREDICTED
    return write_config(tmp_path / "inpainter.yaml", tree, tiny_root_dir, shard_dir)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "artifacts" / "tiny"


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def last(folder: Path) -> str:
    return str(folder / "inpainter_checkpoint_last.pth")


def test_constant_tables_are_not_counted_as_weights(
    words: list[str], folder: Path, monkeypatch: pytest.MonkeyPatch
):
    told: list[dict[str, Any]] = []
    monkeypatch.setattr(Report, "result", lambda _, *result: told.append(result[0]))
    assert main([*words, "--epochs", "1"]) == 0
    record = json.loads((folder / "inpainter_training_record.json").read_text())
    assert told[-1]["n_weights"] == record["parameters"]["total_params"]


def test_a_training_leaves_the_files_of_the_contract(words: list[str], folder: Path):
    assert main([*words, "--save_interval", "1", "--root_save_interval", "1"]) == 0
    whole = {
        *(f"inpainter_checkpoint_{which}.pth" for which in ("best", "last", "epoch_1", "epoch_2")),
        *(f"inpainter_predictions_epoch_{epoch}.root" for epoch in (1, 2)),
        "inpainter_training_record.json",
    }
    assert names_in(folder) == whole
    for which in ("best", "last"):
        content = torch.load(folder / f"inpainter_checkpoint_{which}.pth", weights_only=True)
        assert set(CONTRACT_KEYS.split()) <= content.keys()
    # What a sudden end has lost is made again; what an older training left goes.
    (folder / "inpainter_predictions_epoch_2.root").unlink()
    (folder / "notes.txt").touch()
    assert main([*words, "--auto_resume", "--save_interval", "1"]) == 0
    assert names_in(folder) == whole | {"notes.txt"}
    (folder / "inpainter_analysis").mkdir()
    stale = ("inpainter_mc_tiny.root", "inpainter.onnx", "inpainter_analysis/table.txt")
    for name in stale:
        (folder / name).touch()
    kept = folder / "mae_checkpoint_best.pth"
    kept.touch()
    assert main([*words, "--overwrite", "--epochs", "1", "--save_artifacts", "false"]) == 0
    assert names_in(folder) == {
        "inpainter_analysis",
        "inpainter_checkpoint_best.pth",
        "inpainter_checkpoint_last.pth",
        "inpainter_training_record.json",
        "mae_checkpoint_best.pth",
        "notes.txt",
    }
    assert not list((folder / "inpainter_analysis").iterdir())


def test_predictions_tell_every_hidden_sensor(words: list[str], folder: Path):
    features = ["--predict_channels", "npho", "time"]
    assert main([*words, *features, "--epochs", "1"]) == 0
    path = folder / "inpainter_predictions_epoch_1.root"
    with uproot.open(path) as file:
        arrays = file["predictions"].arrays(library="np")
        assert file["metadata"].arrays(library="np")["predict_channels"].tolist() == ["npho,time"]
    assert set(arrays["face"].tolist()) == {"inner", "us", "ds", "outer", "top", "bot"}
    # The first of eight validation events, which are spread over all 48.
    assert np.unique(arrays["event_idx"]).tolist() == [0, 6, 12, 18, 24]
    assert (arrays["mask_type"] == 0).all()
    error = arrays["pred_npho"] - arrays["truth_npho"]
    assert np.array_equal(arrays["error_npho"], error)
    is_timed = arrays["truth_time"] != -999
    assert 0 < is_timed.mean() < 1
    assert (arrays["error_time"][~is_timed] == -999).all()
    assert (arrays["truth_photons"][is_timed] >= 100).all()
    table = read_masked_table(path)
    assert (table.metadata.n_events, table.metadata.epoch) == (N_PREDICTED, 1)
    assert table.metadata.mode == "validation"
    bright = table.rows.truth_photons > 1
    photons = table.rows.truth_npho[bright] ** 2 * 20000
    assert photons == pytest.approx(table.rows.truth_photons[bright], rel=1e-5)
    checkpoint = load_checkpoint(Path(last(folder)), "inpainter")
    assert table.metadata.checkpoint_digest == tensor_digest(checkpoint.inference_weights())


def test_it_begins_with_the_encoder_of_an_mae(
    words: list[str], folder: Path, mae_dir: Path, capsys: pytest.CaptureFixture[str]
):
    once = [*words, "--epochs", "1", "--freeze_encoder", "--save_root_predictions", "false"]
    assert main(once) == 2
    assert "there is no trained encoder to begin with" in capsys.readouterr().err
    assert main([*once, "--mae", "absent"]) == 2
    assert "train the MAE run 'absent' first" in capsys.readouterr().err
    encoder = load_checkpoint(mae_dir / "mae_encoder_best.pth", "encoder")
    digest = tensor_digest(encoder.model_state_dict)
    for number, given in enumerate(
        (
            ["--mae_checkpoint", str(mae_dir / "mae_checkpoint_best.pth")],
            ["--resume_from", str(mae_dir / "mae_encoder_best.pth")],
            ["--mae", "tiny", "--save_dir", str(mae_dir.parent)],
        )
    ):
        name = ["--run_name", f"begun{number}"]
        assert main([*once, *given, *name]) == 0
        parent = mae_dir.parent if "--mae" in given else folder.parent
        made = load_checkpoint(Path(last(parent / f"begun{number}")), "inpainter")
        source = made.encoder_source
        assert source is not None
        assert (source["tensor_digest"], source["weights"]) == (digest, "ema")
        weights = {
            key.removeprefix("encoder."): weight
            for key, weight in made.inference_weights().items()
            if key.startswith("encoder.")
        }
        assert tensor_digest(weights) == digest
    whole = str(folder.parent / "begun0" / "inpainter_checkpoint_best.pth")
    assert main([*once, "--mae_checkpoint", whole]) == 2
    assert "is an inpainter, and training.mae_checkpoint takes an encoder" in (
        capsys.readouterr().err
    )


def test_a_frozen_encoder_can_be_trained_later(
    words: list[str], folder: Path, mae_dir: Path, capsys: pytest.CaptureFixture[str]
):
    once = [*words, "--save_root_predictions", "false"]
    begun = [*once, "--mae_checkpoint", str(mae_dir / "mae_encoder_best.pth")]
    assert main([*begun, "--freeze_encoder", "--epochs", "1"]) == 0
    frozen = load_checkpoint(Path(last(folder)), "inpainter").model_state_dict
    again = [*once, "--resume_from", last(folder), "--run_name", "free"]
    assert main(again) == 2
    error = capsys.readouterr().err
    assert "was frozen and is trained in this run" in error
    assert "--reset_epoch takes the weights" in error
    assert main([*again, "--reset_epoch", "--epochs", "1"]) == 0
    made = load_checkpoint(Path(last(folder.parent / "free")), "inpainter")
    moved = [key for key in frozen if not torch.equal(frozen[key], made.model_state_dict[key])]
    assert any(key.startswith("encoder.") for key in moved)
    assert made.encoder_source is not None


def test_resuming_ends_where_a_whole_training_ends(words: list[str], folder: Path):
    options = ["--save_root_predictions", "false"]
    assert main([*words, *options, "--run_name", "whole"]) == 0
    assert main([*words, *options, "--epochs", "1"]) == 0
    assert main([*words, *options, "--resume_from", last(folder)]) == 0
    digests = [
        tensor_digest(load_checkpoint(Path(last(where)), "inpainter").model_state_dict)
        for where in (folder, folder.parent / "whole")
    ]
    assert digests[0] == digests[1]
