from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline.errors import DataError
from xec_pipeline.models.mae import encoder_state_dict
from xec_pipeline.training.distributed import DistContext
from xec_pipeline.training.masked_losses import FACES
from xec_pipeline.training.stages.mae import MaeStage
from xec_pipeline_tests.training.tiny_mae import FittedMae, fit_mae, tiny_mae_run

ENCODERS: dict[str, dict[str, Any]] = {
    "v1": {"encoder": "xec_v1"},
    "v1 split": {"encoder": "xec_v1", "outer_mode": "split", "outer_fine_pool": None},
    "v2": {"encoder": "xec_v2"},
}


def model_with(name: str, features: list[str]) -> dict[str, Any]:
    return {**ENCODERS[name], "predict_channels": features}


def stage_of(run, shards: ShardSet, rank: int = 0, world_size: int = 1) -> MaeStage:
    return MaeStage(run, DistContext(rank=rank, world_size=world_size), shards, shards)


def masks_of(stage: MaeStage, epoch: int) -> dict[int, torch.Tensor]:
    return {
        int(event): hidden
        for batch in stage.batches(epoch, 0)
        for event, hidden in zip(batch.index_B, batch.is_hidden, strict=True)
    }


@pytest.fixture(scope="module")
def fitted(tiny_shards: ShardSet, tmp_path_factory: pytest.TempPathFactory) -> FittedMae:
    training = {"track_mae_rmse": True, "epochs": 3, "lr": 1e-3, "loss_beta": 0.1}
    return fit_mae(tiny_mae_run(tmp_path_factory.mktemp("mae"), training=training), tiny_shards)


@pytest.mark.parametrize("features", [["npho", "time"], ["npho"]], ids=str)
@pytest.mark.parametrize("name", ENCODERS)
def test_a_few_events_can_be_learned(name, features, tiny_shards: ShardSet, tmp_path: Path):
    stage = stage_of(tiny_mae_run(tmp_path, model=model_with(name, features)), tiny_shards)
    batch = next(stage.batches(1, 0))
    optimizer = torch.optim.Adam(stage.model.parameters(), lr=5e-3)
    losses = []
    for _ in range(15):
        loss = stage.event_losses(stage.model, batch).mean()
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert losses[-1] < (0.5 if "time" in features else 0.2) * losses[0]


def test_masks_do_not_depend_on_batches_or_ranks(tiny_shards: ShardSet, tmp_path: Path):
    run = tiny_mae_run(tmp_path)
    expected = masks_of(stage_of(run, tiny_shards), epoch=1)
    assert sorted(expected) == list(range(tiny_shards.n_events))
    other = tiny_mae_run(tmp_path, data={"batch_size": 5})
    ranks = [masks_of(stage_of(other, tiny_shards, rank, 2), epoch=1) for rank in (0, 1)]
    assert not ranks[0].keys() & ranks[1].keys()
    found = ranks[0] | ranks[1]
    assert all(torch.equal(found[event], expected[event]) for event in expected)
    later = masks_of(stage_of(run, tiny_shards), epoch=2)
    assert not any(torch.equal(later[event], expected[event]) for event in expected)


def test_every_live_sensor_can_be_hidden_and_no_dead_one(tiny_shards: ShardSet, tmp_path: Path):
    stage = stage_of(tiny_mae_run(tmp_path), tiny_shards)
    batches = list(stage.batches(1, 0))
    hidden = torch.cat([batch.is_hidden for batch in batches])
    alive = torch.cat([batch.truth.alive for batch in batches])
    timed = torch.cat([batch.truth.timed for batch in batches])
    assert (hidden & alive).sum(dim=1).tolist() == [int(0.6 * 4758)] * 48
    assert not (hidden & ~alive).any()
    for group in (timed, alive & ~timed):
        assert float(hidden[group].float().mean()) == pytest.approx(0.6, abs=0.02)


def test_bright_sensors_can_be_favoured(tiny_shards: ShardSet, tmp_path: Path):
    run = tiny_mae_run(
        tmp_path,
        model={"mask_ratio": 0.3},
        training={"time": {"mask_ratio_scale": 3.0, "npho_threshold": 500.0}},
    )
    batch = next(stage_of(run, tiny_shards).batches(1, 0))
    bright = batch.truth.npho >= 500
    often = [float(batch.is_hidden[group].float().mean()) for group in (bright, ~bright)]
    assert often[0] > 2 * often[1]


def test_validation_is_the_same_every_time_and_on_any_number_of_ranks(
    tiny_shards: ShardSet, tmp_path: Path
):
    stage = stage_of(tiny_mae_run(tmp_path), tiny_shards)
    first = stage.validate(stage.model)
    list(stage.batches(2, 0))
    again = stage_of(tiny_mae_run(tmp_path, data={"batch_size": 5}), tiny_shards)
    second = again.validate(stage.model)
    assert second.loss == pytest.approx(first.loss, rel=1e-6)
    assert first.loss == stage.validate(stage.model).loss
    assert first.metrics["val/total_loss"] == first.loss


def test_training_and_validation_have_the_same_objective(tiny_shards: ShardSet, tmp_path: Path):
    """Also with every kind of weight; only the masks differ."""
    run = tiny_mae_run(
        tmp_path,
        training={
            "loss_beta": 0.1,
            "npho_loss_weight": {"enabled": True},
            "intensity_reweighting": {"enabled": True},
        },
    )
    stage = stage_of(run, tiny_shards)
    with torch.no_grad():
        losses = [stage.event_losses(stage.model, batch) for batch in stage.batches(1, 0)]
    validation = stage.validate(stage.model)
    assert validation.loss == pytest.approx(float(torch.cat(losses).mean()), rel=0.02)
    assert validation.metrics["train/total_loss"] == pytest.approx(float(torch.cat(losses).mean()))


@pytest.mark.parametrize(
    "change",
    [
        {"npho_loss_weight": {"enabled": True, "alpha": 0.5}},
        {"intensity_reweighting": {"enabled": True, "nbins": 5}},
        {"intensity_reweighting": {"enabled": True, "target": "sqrt"}},
        {"npho_weight": 2.0},
        {"time": {"weight": 0.1}},
        {"time": {"use_npho_weight": False}},
        {"loss_fn": "mse"},
    ],
    ids=str,
)
def test_every_option_of_the_loss_changes_it(
    change, fitted: FittedMae, tiny_shards: ShardSet, tmp_path: Path
):
    beta = {"loss_beta": 0.1}
    plain = stage_of(tiny_mae_run(tmp_path, training=beta), tiny_shards)
    changed = stage_of(tiny_mae_run(tmp_path, training={**beta, **change}), tiny_shards)
    model = fitted.stage.model
    found, expected = changed.validate(model).loss, plain.validate(model).loss
    assert abs(found - expected) > 1e-3 * expected


def test_metrics_of_the_contract(fitted: FittedMae):
    expected = {f"{kind}/{name}_loss" for kind in ("train", "val") for name in ("npho", "time")}
    expected |= {f"{kind}/loss_{name}" for kind in ("train", "val") for name in ("npho", "time")}
    expected |= {"train/total_loss", "val/total_loss", "train/loss", "val/loss", "lr"}
    expected |= {f"val/loss_{face}_{name}" for face in FACES for name in ("npho", "time")}
    expected |= {f"val/{kind}_{name}" for kind in ("mae", "rmse") for name in ("npho", "time")}
    expected |= {"val/actual_mask_ratio", "system/epoch_duration_sec"}
    assert set(fitted.curve.epochs) == {1, 2, 3}
    for metrics in fitted.curve.epochs.values():
        assert expected <= metrics.keys()
        assert "train/loss_inner_npho" not in metrics
        assert metrics["train/total_loss"] == pytest.approx(metrics["train/loss"], rel=1e-6)
        assert metrics["val/total_loss"] == metrics["val/loss"]
        for name in ("npho", "time"):
            assert metrics[f"val/loss_{name}"] == metrics[f"val/{name}_loss"]
        assert metrics["val/actual_mask_ratio"] == pytest.approx(0.6, abs=2e-4)
        assert metrics["val/rmse_npho"] >= metrics["val/mae_npho"]


def test_faces_of_training_and_learned_weights_are_logged_when_asked_for(
    tiny_shards: ShardSet, tmp_path: Path
):
    run = tiny_mae_run(
        tmp_path,
        model={"predict_channels": ["npho"], "decoder_dim": 8, "encoder_dim": 32, "hex_dim": 8},
        training={"epochs": 2, "lr": 1e-2, "auto_channel_weight": True, "track_metrics": True},
    )
    first, second = fit_mae(run, tiny_shards).curve.epochs.values()
    assert {f"train/loss_{face}_npho" for face in FACES} <= first.keys()
    assert not [name for name in first if "time" in name and not name.startswith("system/")]
    assert first["channel/npho_log_var"] != 0.0
    assert second["channel/npho_log_var"] < first["channel/npho_log_var"]
    weight = 0.5 * np.exp(-second["channel/npho_log_var"])
    assert second["channel/npho_weight"] == pytest.approx(weight)


def test_learned_weights_of_both_channels_have_the_names_of_the_contract(
    tiny_shards: ShardSet, tmp_path: Path
):
    run = tiny_mae_run(tmp_path, training={"auto_channel_weight": True})
    stage = stage_of(run, tiny_shards)
    metrics = stage.validate(stage.model).metrics
    learned = {name: value for name, value in metrics.items() if name.startswith("channel/")}
    assert learned == {
        "channel/npho_log_var": 0.0,
        "channel/npho_weight": 0.5,
        "channel/time_log_var": 0.0,
        "channel/time_weight": 0.5,
    }


def test_parts_of_an_epoch_are_not_logged_as_the_whole(tiny_shards: ShardSet, tmp_path: Path):
    stage = stage_of(tiny_mae_run(tmp_path), tiny_shards)
    stage.restore_sums({"events": 16.0})  # of a program that summed other things
    for batch in stage.batches(1, 2):
        stage.event_losses(stage.model, batch)
    metrics = stage.validate(stage.model).metrics
    assert not [name for name in metrics if name.startswith("train/")]


def test_predictions_of_sensors(fitted: FittedMae, tiny_shards: ShardSet):
    stage, model = fitted.stage, fitted.trainer.state.best_model
    blocks = list(stage.predict(model, 11))
    assert [len(block.event) for block in blocks] == [5, 6]
    columns = tiny_shards.columns
    for name, found in (("event", "event"), ("run", "run"), ("entry", "entry")):
        values = np.concatenate([getattr(block, found) for block in blocks])
        assert values.tolist() == np.asarray(columns[name])[:11].tolist()
    block = blocks[0]
    assert block.truth.shape == block.masked_input.shape == block.pred.shape == (5, 4760, 2)
    assert (block.masked_input[block.is_masked] == -1.0).all()
    visible = ~block.is_masked
    assert np.array_equal(block.masked_input[visible], block.truth[visible])
    error = np.concatenate([(b.pred - b.truth)[b.is_masked][:, 0] for b in stage.predict(model)])
    reported = fitted.curve.epochs[3]["val/mae_npho"]
    assert float(np.abs(error).mean()) == pytest.approx(reported, rel=1e-4)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"max_val_events": 12}, [0, 4, 8, 12, 16]),
        ({"fiducial": {"enabled": True, "u_max": 10.0}}, None),
    ],
    ids=["spread", "inside the cut"],
)
def test_predicted_are_the_first_of_those_that_validate(
    data, expected, tiny_shards: ShardSet, tmp_path: Path
):
    stage = stage_of(tiny_mae_run(tmp_path, data={"batch_size": 8, **data}), tiny_shards)
    if expected is None:
        inside = np.abs(np.asarray(tiny_shards.columns["uvwTruth"])[:, 0]) < 10.0
        expected = np.flatnonzero(inside)[:5].tolist()
        assert expected != list(range(5))
        assert stage.n_val_events == inside.sum()
    found = np.concatenate([block.index for block in stage.predict(stage.model, 5)])
    assert found.tolist() == expected


def test_a_trained_encoder_is_exported_alone(fitted: FittedMae):
    model: Any = fitted.trainer.state.best_model
    exported = encoder_state_dict(model)
    assert exported.keys() == model.encoder.state_dict().keys()
    assert fitted.stage.describe()["kind"] == "mae"


def test_sensors_can_be_dropped_in_training(tiny_shards: ShardSet, tmp_path: Path):
    run = tiny_mae_run(tmp_path, training={"channel_dropout_rate": 0.25})
    stage = stage_of(run, tiny_shards)
    batch = next(stage.batches(1, 0))
    assert float(batch.truth.alive.float().mean()) == pytest.approx(0.75, abs=0.01)
    assert not (batch.is_hidden & ~batch.truth.alive).any()
    assert stage.validate(stage.model).loss == stage.validate(stage.model).loss


def test_events_without_truth_will_do(tiny_shards: ShardSet, tmp_path: Path):
    stage = stage_of(tiny_mae_run(tmp_path), tiny_shards)
    assert stage.n_events == tiny_shards.n_events
    nowhere = {"fiducial": {"enabled": True, "w_min": 500.0}}
    with pytest.raises(DataError, match="no event is inside the fiducial cut"):
        stage_of(tiny_mae_run(tmp_path, data=nowhere), tiny_shards)


def test_events_have_names(tiny_shards: ShardSet, tmp_path: Path):
    (name,) = stage_of(tiny_mae_run(tmp_path), tiny_shards).event_names([3])
    assert name.startswith("run 1001 event 3 (entry 3 of ")
