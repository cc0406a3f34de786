"""A regressor that begins with the encoder of an MAE."""

import dataclasses
import hashlib
from pathlib import Path

import pytest
import torch

from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline.errors import CheckpointError, OutputError
from xec_pipeline.models.regressor import Regressor
from xec_pipeline.training.checkpoint import (
    Checkpoint,
    load_checkpoint,
    tensor_digest,
    write_checkpoint,
    write_weights,
)
from xec_pipeline.training.distributed import DistContext
from xec_pipeline.training.stages.regressor import RegressorStage
from xec_pipeline.training.start import choose_encoder, choose_start
from xec_pipeline.training.state import TrainState
from xec_pipeline.training.transfer import encoder_checkpoint, load_encoder, read_encoder
from xec_pipeline_tests.training.tiny import tiny_run

DATA = {"train": "t", "val": "v"}


def stage_of(run, shards: ShardSet, encoder=None) -> RegressorStage:
    return RegressorStage(run, DistContext(), shards, shards, encoder)


def network_of(stage: RegressorStage) -> Regressor:
    assert isinstance(stage.model, Regressor)
    return stage.model


@pytest.fixture(scope="module")
def mae(tiny_shards: ShardSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint of kind mae whose averaged encoder is 0.25 everywhere."""
    folder = tmp_path_factory.mktemp("mae")
    run = tiny_run(folder)
    names = network_of(stage_of(run, tiny_shards)).backbone.state_dict()
    raw = {f"encoder.{name}": weight for name, weight in names.items()}
    raw["dec_inner.weight"] = torch.ones(3)
    made = Checkpoint(
        kind="mae",
        model_state_dict=raw,
        ema_state_dict={name: torch.full_like(weight, 0.25) for name, weight in raw.items()},
        epoch=12,
        mlflow_run_id="abc",
        data={"train": "unlabelled", "val": "other"},
        config={**run.model_dump(), "mlflow": {"run_name": "pretrained"}},
        config_digest="0123",
        normalization=run.normalization.model_dump(),
        git_revision="f00",
    )
    write_checkpoint(folder / "mae_checkpoint_best.pth", made)
    return folder / "mae_checkpoint_best.pth"


def changed(mae: Path, folder: Path, **changes) -> Path:
    write_checkpoint(folder / "m.pth", dataclasses.replace(load_checkpoint(mae, "mae"), **changes))
    return folder / "m.pth"


def test_averaged_encoder_weights_are_taken_and_heads_are_not(
    mae: Path, tiny_shards: ShardSet, tmp_path: Path
):
    run = tiny_run(tmp_path, checkpoint={"resume_from": str(mae)})
    stage = stage_of(run, tiny_shards, choose_encoder(run, "regressor"))
    plain = stage_of(run, tiny_shards)
    assert all((weight == 0.25).all() for weight in network_of(stage).backbone.parameters())
    for name, weight in network_of(plain).heads.state_dict().items():
        assert torch.equal(network_of(stage).heads.state_dict()[name], weight)
    state = TrainState(stage.model, run, DistContext())
    assert state.progress.global_step == 0
    assert state.optimizer.state_dict()["state"] == {}
    assert state.ema is not None
    averages = dict(state.ema.model.named_parameters())
    assert all((averages[name] == 0.25).all() for name in averages if name.startswith("backbone."))


def test_without_an_average_the_plain_weights_are_taken(mae: Path, tmp_path: Path):
    found = read_encoder(changed(mae, tmp_path, ema_state_dict=None))
    assert found.source["weights"] == "raw"
    raw = load_checkpoint(mae, "mae").model_state_dict
    assert all(
        torch.equal(weight, raw[f"encoder.{name}"]) for name, weight in found.weights.items()
    )


def test_where_the_encoder_came_from_is_kept(mae: Path, tiny_shards: ShardSet, tmp_path: Path):
    run = tiny_run(tmp_path)
    encoder = read_encoder(mae)
    stage = stage_of(run, tiny_shards, encoder)
    state = TrainState(stage.model, run, DistContext())
    path = tmp_path / "a.pth"
    write_checkpoint(path, state.to_checkpoint(stage.describe(), sums={}, steps_per_epoch=6))
    source = load_checkpoint(path).encoder_source
    assert source == {
        "file": str(mae),
        "file_sha256": hashlib.sha256(mae.read_bytes()).hexdigest(),
        "kind": "mae",
        "weights": "ema",
        "tensor_digest": tensor_digest(encoder.weights),
        "epoch": 12,
        "data": {"train": "unlabelled", "val": "other"},
        "mlflow_run_id": "abc",
        "run_name": "pretrained",
        "config_digest": "0123",
        "git_revision": "f00",
    }
    resumed = stage_of(run, tiny_shards)
    after = TrainState(resumed.model, run, DistContext())
    after.resume(load_checkpoint(path), path, steps_per_epoch=6)
    again = after.to_checkpoint(resumed.describe(), sums={}, steps_per_epoch=6)
    assert again.encoder_source == source


@pytest.mark.parametrize("content", ["weights with a description", "weights alone"])
def test_a_bare_encoder_file_is_the_same_encoder(mae: Path, tmp_path: Path, content: str):
    whole = read_encoder(mae)
    path = tmp_path / "mae_encoder_epoch_12.pth"
    if content == "weights with a description":
        write_checkpoint(path, Checkpoint(kind="encoder", model_state_dict=whole.weights, epoch=12))
    else:
        torch.save(dict(whole.weights), path)
    found = read_encoder(path)
    assert found.digest == whole.digest
    assert found.source["kind"] == "encoder"
    run = tiny_run(tmp_path, checkpoint={"resume_from": str(path)})
    assert choose_encoder(run, "regressor") is not None


def test_what_stands_beside_a_bare_encoder_must_tell_of_its_weights(mae: Path, tmp_path: Path):
    path = tmp_path / "mae_encoder_epoch_12.pth"
    write_weights(path, encoder_checkpoint(load_checkpoint(mae, "mae"), mae))
    found, whole = read_encoder(path), read_encoder(mae)
    assert (found.digest, found.model.keys()) == (whole.digest, whole.model.keys())
    assert found.model["encoder_dim"] == whole.model["encoder_dim"]
    assert (found.source["weights"], found.source["run_name"]) == ("ema", "pretrained")
    torch.save({name: weight + 1 for name, weight in whole.weights.items()}, path)
    with pytest.raises(CheckpointError, match=r"epoch_12.json: tells of other weights"):
        read_encoder(path)
    path.with_suffix(".json").write_text("{")
    with pytest.raises(CheckpointError, match=r"epoch_12.json: not JSON"):
        read_encoder(path)
    path.with_suffix(".json").unlink()
    assert read_encoder(path).source["run_name"] is None


def test_bare_weights_of_unknown_origin_are_taken_and_that_is_told(
    mae: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path = tmp_path / "mae_encoder_epoch_12.pth"
    torch.save(dict(read_encoder(mae).weights), path)
    path.with_suffix(".json").write_text('{"author": "someone else"}')
    with caplog.at_level("INFO"):
        found = read_encoder(path)
    assert found.digest == read_encoder(mae).digest
    assert (found.source["run_name"], found.source["data"]) == (None, {})
    assert "epoch_12.pth: weights alone; where they come from is not known" in caplog.text


def test_another_network_is_refused_with_options_and_shapes(
    mae: Path, tiny_shards: ShardSet, tmp_path: Path
):
    run = tiny_run(
        tmp_path, model={"encoder_dim": 64, "dim_feedforward": 128, "outer_fine_pool": [3, 3]}
    )
    with pytest.raises(CheckpointError) as caught:
        stage_of(run, tiny_shards, read_encoder(mae))
    text = str(caught.value)
    assert "model.encoder_dim is 32 in the file, 64 in the run" in text
    assert "model.outer_fine_pool is (5, 3) in the file, (3, 3) in the run" in text
    assert "pos_embed is (1, 6, 32) in the file, (1, 6, 64) in the run" in text
    assert "dim_feedforward" not in text  # 4 x 32 = 128, written out
    assert "more weights of other shape" in text
    assert "Set these options as in the file" in text


def test_another_normalization_or_layout_is_refused(
    mae: Path, tiny_shards: ShardSet, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    other = {"npho_scheme": "log1p", "npho_scale": 1000.0, "npho_threshold": 50.0}
    run = tiny_run(tmp_path, normalization=other)
    expected = (
        r"normalization.npho_scheme is sqrt in the file, log1p in the run; normalization.npho"
    )
    with pytest.raises(CheckpointError, match=expected):
        stage_of(run, tiny_shards, read_encoder(mae))
    run = tiny_run(tmp_path, model={"layout": "legacy"})
    with pytest.raises(CheckpointError, match=r"model\.layout is physical in the file, legacy"):
        stage_of(run, tiny_shards, read_encoder(mae))
    run = tiny_run(tmp_path, normalization={"npho_threshold": 50.0})
    stage_of(run, tiny_shards, read_encoder(mae))
    assert "trained with normalization.npho_threshold 100.0" in caplog.text


def test_nothing_is_loaded_if_a_weight_is_missing_or_unknown(mae: Path, tmp_path: Path):
    weights = dict(read_encoder(mae).weights)
    weights["extra"] = weights.pop("pos_embed")
    path = tmp_path / "mae_encoder_epoch_1.pth"
    torch.save(weights, path)
    model = torch.nn.Module()
    model.pos_embed = torch.nn.Parameter(torch.zeros(1, 6, 32))
    with pytest.raises(CheckpointError, match=r"pos_embed is missing; .*unknown"):
        load_encoder(model, read_encoder(path), tiny_run(tmp_path))
    assert (model.pos_embed == 0).all()


class TestAutoResume:
    """A broken-off training from an encoder goes on by itself, unless the encoder changed."""

    def saved(self, folder: Path, mae: Path, encoder_source=None):
        run = tiny_run(folder, checkpoint={"resume_from": str(mae)})
        own = Checkpoint(
            kind="regressor",
            model_state_dict={},
            epoch=1,
            config_digest=run.digest(),
            data=DATA,
            encoder_source=encoder_source,
        )
        write_checkpoint(folder / "tiny" / "checkpoint_last.pth", own)
        return run

    def test_own_checkpoint_wins_over_the_encoder(self, mae: Path, tmp_path: Path):
        run = self.saved(tmp_path, mae, read_encoder(mae).source)
        encoder = choose_encoder(run, "regressor")
        found = choose_start(run, "regressor", DATA, encoder=encoder, auto_resume=True)
        assert found is not None
        assert found[0].epoch == 1

    def test_another_encoder_is_another_training(self, mae: Path, tmp_path: Path):
        run = self.saved(tmp_path, mae)
        encoder = choose_encoder(run, "regressor")
        with pytest.raises(OutputError, match="began with another encoder; give --overwrite"):
            choose_start(run, "regressor", DATA, encoder=encoder, auto_resume=True)
        assert choose_start(run, "regressor", DATA, encoder=encoder, overwrite=True) is None

    def test_an_encoder_cannot_be_gone_on_from(self, mae: Path, tmp_path: Path):
        run = tiny_run(tmp_path, checkpoint={"resume_from": str(mae)})
        with pytest.raises(CheckpointError, match="begin a training but not continue it"):
            choose_start(run, "regressor", DATA)
