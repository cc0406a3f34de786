from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline.errors import CheckpointError
from xec_pipeline.training.checkpoint import load_checkpoint
from xec_pipeline.training.distributed import DistContext
from xec_pipeline.training.guard import StopSignal
from xec_pipeline.training.loop import Trainer
from xec_pipeline.training.masked_losses import FACES
from xec_pipeline.training.reporting import SilentReporter
from xec_pipeline.training.stages.inpainter import InpainterStage, inpainter
from xec_pipeline.training.transfer import read_encoder
from xec_pipeline_tests.training.tiny import Curve, largest_difference, stop_after
from xec_pipeline_tests.training.tiny_inpainter import (
    HEADS,
    FittedInpainter,
    fit_inpainter,
    tiny_inpainter_run,
)
from xec_pipeline_tests.training.tiny_mae import fit_mae, tiny_mae_run


@pytest.fixture(scope="module")
def fitted(tiny_shards: ShardSet, tmp_path_factory: pytest.TempPathFactory) -> FittedInpainter:
    folder = tmp_path_factory.mktemp("inpainter")
    both = {"predict_channels": ["npho", "time"]}
    return fit_inpainter(tiny_inpainter_run(folder, model=both), tiny_shards)


@pytest.fixture(scope="module")
def mae_file(tiny_shards: ShardSet, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tiny_mae_run(
        tmp_path_factory.mktemp("mae"),
        data={"batch_size": 8, "max_events": 16, "max_val_events": 8},
        training={"epochs": 1, "ema_decay": 0.9},
    )
    fit_mae(run, tiny_shards)
    return run.run_dir / "mae_checkpoint_best.pth"


def stage_of(run: Any, shards: ShardSet, rank: int = 0, world_size: int = 1) -> InpainterStage:
    return InpainterStage(run, DistContext(rank=rank, world_size=world_size), shards, shards)


@pytest.mark.parametrize("name", HEADS)
def test_every_head_learns_to_recover(name: str, tiny_shards: ShardSet, tmp_path: Path):
    few = {"batch_size": 8, "max_events": 24, "max_val_events": 16}
    training = {"epochs": 2, "lr": 5e-3, "ema_decay": None}
    run = tiny_inpainter_run(tmp_path, data=few, model=HEADS[name], training=training)
    first, *_, last = fit_inpainter(run, tiny_shards).curve.epochs.values()
    assert last["val/total_loss"] < first["val/total_loss"]
    assert last["train/total_loss"] < first["train/total_loss"]


def test_metrics_of_the_contract(fitted: FittedInpainter):
    names = ("npho", "time")
    expected = {f"{kind}/{name}_loss" for kind in ("train", "val") for name in ("total", *names)}
    expected |= {f"val/loss_{face}_{name}" for face in FACES for name in names}
    expected |= {f"val/{kind}_{name}" for kind in ("mae", "rmse") for name in names}
    expected |= {"actual_mask_ratio", "n_masked_total", "lr", "system/epoch_duration_sec"}
    assert set(fitted.curve.epochs) == {1, 2, 3}
    n_hidden = sum(int(p.is_masked.sum()) for p in fitted.stage.predict(fitted.stage.model))
    for metrics in fitted.curve.epochs.values():
        assert expected <= metrics.keys()
        assert metrics["train/total_loss"] == pytest.approx(metrics["train/loss"], rel=1e-6)
        assert metrics["val/npho_loss"] + metrics["val/time_loss"] == pytest.approx(
            metrics["val/loss"], rel=1e-6
        )
        for name in ("actual_mask_ratio", "n_masked_total"):
            assert metrics[name] == metrics[f"val/{name}"]
        assert metrics["actual_mask_ratio"] == pytest.approx(0.1, abs=2e-4)
        assert metrics["n_masked_total"] == n_hidden


def test_without_times_nothing_tells_of_them(tiny_shards: ShardSet, tmp_path: Path):
    run = tiny_inpainter_run(tmp_path, training={"epochs": 1, "track_mae_rmse": False})
    (metrics,) = fit_inpainter(run, tiny_shards).curve.epochs.values()
    assert not [name for name in metrics if "time" in name and not name.startswith("system/")]
    assert not [name for name in metrics if "mae_" in name or "rmse_" in name]


def test_validation_hides_the_same_sensors_for_every_network_and_rank(
    fitted: FittedInpainter, tiny_shards: ShardSet, tmp_path: Path
):
    run = tiny_inpainter_run(tmp_path)
    other = stage_of(run, tiny_shards)
    masks: dict[int, np.ndarray[Any, Any]] = {}
    for stage in (fitted.stage, other):
        for part in stage.predict(stage.model, 9):
            for event, is_masked in zip(part.event, part.is_masked, strict=True):
                assert np.array_equal(masks.setdefault(int(event), is_masked), is_masked)
    hidden: list[dict[int, torch.Tensor]] = [{}, {}]
    for epoch, found in enumerate(hidden, start=1):
        for rank in (0, 1):
            for batch in stage_of(run, tiny_shards, rank, 2).batches(epoch, 0):
                found |= dict(zip(batch.index_B.tolist(), batch.is_hidden, strict=True))
    assert len(hidden[0]) == 48
    assert not torch.equal(hidden[0][3], hidden[1][3])
    alone = stage_of(run, tiny_shards).batches(1, 0)
    for batch in alone:
        for event, is_hidden in zip(batch.index_B.tolist(), batch.is_hidden, strict=True):
            assert torch.equal(is_hidden, hidden[0][event])


def test_predictions_agree_with_the_logged_errors(fitted: FittedInpainter):
    model = fitted.trainer.state.best_model
    parts = list(fitted.stage.predict(model))
    error = np.concatenate([(p.pred - p.truth)[p.is_masked][:, 0] for p in parts])
    reported = fitted.curve.epochs[3]["val/mae_npho"]
    assert float(np.abs(error).mean()) == pytest.approx(reported, rel=1e-4)
    part = parts[1]
    assert part.index.tolist() == list(range(len(parts[0].event), len(part.event) + 8))
    alive = np.isfinite(part.npho)
    assert not (part.is_masked & ~alive).any()


def test_a_frozen_encoder_stays_what_it_was(tiny_shards: ShardSet, tmp_path: Path, mae_file: Path):
    encoder = read_encoder(mae_file)
    run = tiny_inpainter_run(
        tmp_path,
        model={"freeze_encoder": True, "dropout": 0.3},
        training={"epochs": 1, "weight_decay": 0.5, "lr": 1e-2},
    )
    made = fit_inpainter(run, tiny_shards, encoder=encoder)
    assert not inpainter(made.stage.model).train().encoder.training
    for state in (made.stage.model, made.trainer.state.best_model):
        found = inpainter(state).encoder.state_dict()
        assert all(torch.equal(found[name], encoder.weights[name]) for name in encoder.weights)
    trained = sum(weight.numel() for weight in made.trainer.state.trained_weights())
    heads = inpainter(made.stage.model).encoder.parameters()
    total = sum(weight.numel() for weight in made.stage.model.parameters())
    assert trained == total - sum(weight.numel() for weight in heads)
    checkpoint = load_checkpoint(run.run_dir / "inpainter_checkpoint_last.pth", "inpainter")
    assert checkpoint.encoder_source is not None
    assert checkpoint.encoder_source["tensor_digest"] == encoder.digest
    assert checkpoint.encoder_source["weights"] == "ema"


def test_an_encoder_that_does_not_fit_is_refused(
    tiny_shards: ShardSet, tmp_path: Path, mae_file: Path
):
    run = tiny_inpainter_run(tmp_path, model={"hex_dim": 16})
    with pytest.raises(CheckpointError, match=r"model\.hex_dim is 8 in the file, 16 in the run"):
        InpainterStage(run, DistContext(), tiny_shards, tiny_shards, read_encoder(mae_file))


@pytest.mark.parametrize("name", HEADS)
def test_every_weight_has_a_gradient_though_faces_hide_nothing(
    name: str, tiny_shards: ShardSet, tmp_path: Path
):
    """Otherwise a rank would wait for gradients that never come."""
    model = {**HEADS[name], "mask_ratio": {"top": 0.1}}
    stage = stage_of(tiny_inpainter_run(tmp_path, model=model), tiny_shards)
    batch = next(stage.batches(1, 0))
    stage.event_losses(stage.model, batch).sum().backward()
    assert not [key for key, weight in stage.model.named_parameters() if weight.grad is None]
    stage.model.zero_grad()
    batch.is_hidden.zero_()
    loss = stage.event_losses(stage.model, batch).sum()
    loss.backward()
    assert float(loss.detach()) == 0.0
    grads = {key: weight.grad for key, weight in stage.model.named_parameters()}
    assert not [key for key, grad in grads.items() if grad is None or not (grad == 0).all()]


@pytest.mark.parametrize("name", HEADS)
def test_gradients_do_not_depend_on_which_thread_was_first(
    name: str, tiny_shards: ShardSet, tmp_path: Path
):
    """The gradient of an index into a table does, if the table is long enough."""
    stage = stage_of(tiny_inpainter_run(tmp_path, model=HEADS[name]), tiny_shards)
    stage.model.eval()
    batch = next(stage.batches(1, 0))
    n_threads = torch.get_num_threads()
    torch.set_num_threads(max(2, n_threads))
    found = []
    try:
        for _ in range(8):
            stage.model.zero_grad()
            stage.event_losses(stage.model, batch).sum().backward()
            grads = [weight.grad for weight in stage.model.parameters()]
            found.append([grad.clone() for grad in grads if grad is not None])
    finally:
        torch.set_num_threads(n_threads)
    assert all(
        torch.equal(one, other)
        for again in found[1:]
        for one, other in zip(found[0], again, strict=True)
    )


@pytest.mark.parametrize("n_steps", [3, 5])
def test_stopping_and_going_on_is_like_never_having_stopped(
    tiny_shards: ShardSet, tmp_path: Path, n_steps: int
):
    def run_in(name: str) -> Any:
        training = {"epochs": 2, "lr": 1e-3, "channel_dropout_rate": 0.1}
        data = {"batch_size": 8, "max_events": 32, "max_val_events": 16}
        return tiny_inpainter_run(
            tmp_path / name, data=data, training=training | {"ema_decay": 0.9}
        )

    whole = fit_inpainter(run_in("whole"), tiny_shards)
    run, dist, stop = run_in("broken"), DistContext(), StopSignal()
    last = run.run_dir / "inpainter_checkpoint_last.pth"
    curve = Curve()
    for signal in (stop, None):
        stage = InpainterStage(run, dist, tiny_shards, tiny_shards)
        trainer = Trainer(stage, run, dist, reporter=SilentReporter(), tracker=curve, stop=signal)
        if signal is None:
            trainer.resume(load_checkpoint(last, "inpainter"), last)
        else:
            stop_after(n_steps, stop, stage)
        assert trainer.fit().was_stopped == (signal is not None)
    path = tmp_path / "whole" / "tiny" / "inpainter_checkpoint_last.pth"
    expected = load_checkpoint(path, "inpainter")
    assert largest_difference(expected, load_checkpoint(last, "inpainter")) < 1e-6
    assert curve.epochs[2]["val/loss"] == pytest.approx(whole.curve.epochs[2]["val/loss"], rel=1e-6)
