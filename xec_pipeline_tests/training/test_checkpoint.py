import dataclasses
from pathlib import Path

import pytest
import torch

from xec_pipeline.errors import CheckpointError
from xec_pipeline.training.checkpoint import (
    Checkpoint,
    load_checkpoint,
    load_regressor_for_inference,
    load_weights,
    read_content,
    tensor_digest,
    write_checkpoint,
)
from xec_pipeline_tests.training.tiny import Fitted

CONTRACT_KEYS = {
    "model_state_dict",
    "ema_state_dict",
    "optimizer_state_dict",
    "scheduler_state_dict",
    "best_val",
    "mlflow_run_id",
}


@pytest.fixture
def small() -> Checkpoint:
    weights = {"heads.energy.0.weight": torch.arange(6.0).reshape(2, 3)}
    return Checkpoint(kind="regressor", model_state_dict=weights, best_val=0.5, epoch=3)


def last(trained: Fitted) -> Path:
    return trained.trainer._run.run_dir / "checkpoint_last.pth"


def test_file_holds_the_contracts_keys_and_what_makes_it_usable(trained: Fitted):
    content = torch.load(last(trained), weights_only=True)
    assert content.keys() >= CONTRACT_KEYS | {
        *("kind", "schema_version", "config", "normalization", "target_statistics", "layout"),
        *("data", "git_revision", "rng_state", "epoch", "global_step", "best_val_loss"),
    }
    assert content["kind"] == "regressor"
    assert content["config"]["model"]["encoder_dim"] == 32
    assert set(content["target_statistics"]) == {"angle", "energy", "timing", "uvwFI"}
    assert content["data"]["train"] == trained.stage.describe()["data"]["train"]
    names = [*content["model_state_dict"], *content["ema_state_dict"]]
    assert not any("module." in name or "_orig_mod" in name for name in names)


def test_a_checkpoint_comes_back_as_it_was(tmp_path: Path, small: Checkpoint):
    write_checkpoint(tmp_path / "a.pth", small)
    found = load_checkpoint(tmp_path / "a.pth")
    assert torch.equal(
        found.model_state_dict["heads.energy.0.weight"], torch.arange(6.0).reshape(2, 3)
    )
    assert dataclasses.replace(found, model_state_dict={}) == dataclasses.replace(
        small, model_state_dict={}
    )
    assert [item.name for item in tmp_path.iterdir()] == ["a.pth"]


def test_another_kind_is_refused(tmp_path: Path, small: Checkpoint):
    write_checkpoint(tmp_path / "mae_checkpoint_best.pth", dataclasses.replace(small, kind="mae"))
    with pytest.raises(CheckpointError, match="holds a mae checkpoint, expected a regressor"):
        load_checkpoint(tmp_path / "mae_checkpoint_best.pth")


def test_a_file_without_a_kind_is_recognized_by_its_weights(tmp_path: Path):
    torch.save({"model_state_dict": {"encoder.pos_embed": torch.zeros(1)}}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="holds a mae checkpoint"):
        load_checkpoint(tmp_path / "x.pth")


def test_a_missing_file_names_what_is_there(tmp_path: Path, small: Checkpoint):
    write_checkpoint(tmp_path / "checkpoint_best.pth", small)
    with pytest.raises(CheckpointError, match=r"did you mean 'checkpoint_best\.pth'"):
        load_checkpoint(tmp_path / "checkpoint_bset.pth")


def test_a_truncated_file_is_refused(tmp_path: Path, small: Checkpoint):
    path = tmp_path / "a.pth"
    write_checkpoint(path, small)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CheckpointError, match=r"a\.pth: damaged"):
        load_checkpoint(path)


def test_code_in_a_file_is_not_run(tmp_path: Path):
    torch.save({"model_state_dict": {}, "evil": Path("x")}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="damaged, or not a checkpoint of tensors"):
        load_checkpoint(tmp_path / "a.pth")


def test_other_content_and_newer_versions_are_refused(tmp_path: Path, small: Checkpoint):
    torch.save({"weights": 1}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="expected the key 'model_state_dict', found weights"):
        load_checkpoint(tmp_path / "a.pth")
    write_checkpoint(tmp_path / "b.pth", dataclasses.replace(small, schema_version=99))
    with pytest.raises(CheckpointError, match="schema version 99"):
        load_checkpoint(tmp_path / "b.pth")


def test_older_names_and_wrapped_weights_are_read(tmp_path: Path):
    state = {"module.heads.a.weight": torch.ones(1)}
    average = {"n_averaged": torch.tensor(3), **state}
    content = {"kind": "regressor", "schema_version": 1, "best_val_loss": 0.25}
    content |= {"model_state_dict": state, "ema_state_dict": average}
    torch.save(content, tmp_path / "a.pth")
    found = load_checkpoint(tmp_path / "a.pth")
    assert found.best_val == 0.25
    assert list(found.model_state_dict) == list(found.ema_state_dict or {}) == ["heads.a.weight"]


def test_digest_changes_with_name_type_shape_and_value_only():
    base = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor(3, dtype=torch.int64)}
    digest = tensor_digest(base)
    assert digest == tensor_digest(dict(reversed(list(base.items()))))
    others = [
        {**base, "a": torch.tensor([1.0, 2.5])},
        {**base, "a": torch.tensor([[1.0, 2.0]])},
        {**base, "a": torch.tensor([1.0, 2.0], dtype=torch.bfloat16)},
        {"c": base["a"], "b": base["b"]},
    ]
    assert len({digest, *map(tensor_digest, others)}) == 5


def test_inference_uses_the_averaged_weights(trained: Fitted, tiny_shards):
    path = trained.trainer._run.run_dir / "checkpoint_best.pth"
    model = load_regressor_for_inference(path)
    content = read_content(path)
    assert model.sha == tensor_digest(content["ema_state_dict"])
    assert not model.regressor.training
    rows = slice(0, 4)
    npho = torch.from_numpy(tiny_shards.npho(rows))
    time_ns = torch.from_numpy(tiny_shards.times_ns(rows))
    with torch.no_grad():
        output = model.regressor(model.normalizer.from_ns(npho, time_ns))["energy"]
    energy = model.scaling.restore("energy", output)["value"][:, 0].numpy()
    table = trained.tables[trained.result.best_epoch]
    assert energy == pytest.approx(table["pred_energy"][rows], rel=1e-5)
    plain = load_regressor_for_inference(path, use_ema=False)
    assert plain.sha == tensor_digest(content["model_state_dict"]) != model.sha


def test_weights_that_do_not_fit_are_named():
    model = torch.nn.Linear(2, 1)
    weights = {"weight": torch.zeros(1, 3), "extra": torch.zeros(1)}
    with pytest.raises(CheckpointError, match=r"1 missing \['bias'\], 1 unknown \['extra'\], 1 of"):
        load_weights(model, weights, Path("x.pth"))
