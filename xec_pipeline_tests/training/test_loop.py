import dataclasses
import math
import signal
from pathlib import Path

import pytest
import torch

from xec_pipeline.atomic import replacing
from xec_pipeline.errors import TrainingDivergedError
from xec_pipeline.training import checkpoint, checkpoint_files
from xec_pipeline.training.checkpoint import load_checkpoint
from xec_pipeline.training.distributed import DistContext
from xec_pipeline.training.guard import StopSignal
from xec_pipeline.training.loop import FitResult, Trainer, groups
from xec_pipeline.training.reporting import SilentReporter
from xec_pipeline_tests.training.linear_stage import LinearStage
from xec_pipeline_tests.training.tiny import Curve, tiny_run

X = torch.tensor([[1.0], [2.0], [-1.0], [0.5], [3.0], [-2.0], [1.5]])
Y = 2 * X[:, 0] + 0.1


class Recorder(SilentReporter):
    def __init__(self) -> None:
        self.rates: list[float] = []


def trainer(stage, save_dir: Path, *, stop=None, **training) -> tuple[Trainer, Curve]:
    options = {"epochs": 2, "lr": 0.1, "weight_decay": 0.0, "grad_clip": 0.0, **training}
    run = tiny_run(save_dir, training=options)
    curve = Curve()
    made = Trainer(stage, run, DistContext(), reporter=SilentReporter(), tracker=curve, stop=stop)
    return made, curve


def fit(stage, save_dir: Path, **options) -> tuple[FitResult, Curve]:
    made, curve = trainer(stage, save_dir, **options)
    return made.fit(), curve


def by_hand(sizes, n_epochs: int, lr: float) -> float:
    """Return w after Adam steps on the mean over each group of events."""
    w = torch.tensor([[0.5]], requires_grad=True)
    optimizer = torch.optim.AdamW([w], lr=lr, weight_decay=0.0)
    for _ in range(n_epochs):
        for part in torch.split(torch.arange(len(X)), sizes):
            optimizer.zero_grad()
            ((X[part] @ w)[:, 0] - Y[part]).square().mean().backward()
            optimizer.step()
    return w.item()


def test_accumulated_steps_are_means_over_their_events_also_the_leftover(tmp_path: Path):
    # Batches of 2, 1, 2, 2 events, three per step: steps of 5 and 2 events.
    stage = LinearStage(X, Y, [2, 1, 2, 2])
    fit(stage, tmp_path, lr_scheduler="none", warmup_epochs=0, grad_accum_steps=3)
    assert stage.model.weight.item() == pytest.approx(by_hand([5, 2], 2, 0.1), abs=1e-6)


def test_training_loss_is_the_mean_over_events(tmp_path: Path):
    stage = LinearStage(X, Y, [5, 2])
    _, curve = fit(stage, tmp_path, lr=1e-9, epochs=1)
    expected = (0.5 * X[:, 0] - Y).square().mean()
    assert curve.epochs[1]["train/loss"] == pytest.approx(float(expected), rel=1e-5)


def test_logged_rate_is_the_one_of_the_last_step(tmp_path: Path):
    _, curve = fit(LinearStage(X, Y, [5, 2]), tmp_path, warmup_epochs=1, epochs=2)
    assert curve.epochs[1]["lr"] == pytest.approx(0.1 * (0.01 + 0.99 / 2))
    half = 0.5 * (0.1 - 1e-7)
    assert curve.epochs[2]["lr"] == pytest.approx(1e-7 + half * (1 + math.cos(math.pi / 2)))


def test_groups_hold_what_is_left():
    assert list(groups(range(5), 2)) == [[0, 1], [2, 3], [4]]


def test_best_is_the_smallest_validation_loss_and_files_follow(tmp_path: Path):
    stage = LinearStage(X, Y, [7])
    stage.validation_losses = [3.0, 1.0, 2.0, 1.0]
    result, _ = fit(stage, tmp_path, epochs=4)
    assert (result.best_epoch, result.best_val, result.epoch) == (2, 1.0, 4)
    folder = tmp_path / "tiny"
    assert sorted(path.name for path in folder.iterdir()) == [
        "checkpoint_best.pth",
        "checkpoint_epoch_2.pth",
        "checkpoint_epoch_4.pth",
        "checkpoint_last.pth",
    ]
    assert load_checkpoint(folder / "checkpoint_best.pth").epoch == 2
    assert load_checkpoint(folder / "checkpoint_last.pth").best_epoch == 2
    assert result.best_metrics["val/loss"] == 1.0


def test_a_loss_that_is_not_finite_stops_before_the_weights_are_touched(tmp_path: Path):
    stage = LinearStage(X.clone(), Y, [4, 3])
    made, _ = trainer(stage, tmp_path)
    stage.x[5] = float("nan")
    with pytest.raises(TrainingDivergedError, match=r"epoch 1, step 2: .* not finite for event 5;"):
        made.fit()
    assert torch.isfinite(stage.model.weight).all()
    assert not (tmp_path / "tiny" / "checkpoint_last.pth").exists()


def test_a_validation_loss_that_is_not_finite_stops(tmp_path: Path):
    stage = LinearStage(X, Y, [7])
    stage.validation_losses = [1.0, float("nan")]
    with pytest.raises(TrainingDivergedError, match="epoch 2: the validation loss is nan"):
        fit(stage, tmp_path)
    saved = load_checkpoint(tmp_path / "tiny" / "checkpoint_last.pth")
    assert (saved.epoch, saved.step_in_epoch) == (1, 0)
    left = {path.name for path in (tmp_path / "tiny").glob("*.pth")}
    assert left == {"checkpoint_best.pth", "checkpoint_last.pth"}


def test_a_first_epoch_that_diverges_leaves_nothing_to_go_on_from(tmp_path: Path):
    stage = LinearStage(X, Y, [7])
    stage.validation_losses = [float("inf")]
    with pytest.raises(TrainingDivergedError, match="epoch 1"):
        fit(stage, tmp_path)
    assert not list((tmp_path / "tiny").glob("*.pth"))


def broken_off_in_validation(folder: Path, epoch: int) -> Path:
    """Return the last checkpoint of a training that was killed while it validated an epoch."""

    class Killed(LinearStage):
        n_left = epoch

        def validate(self, model):
            self.n_left -= 1
            if not self.n_left:
                raise KeyboardInterrupt
            return super().validate(model)

    with pytest.raises(KeyboardInterrupt):
        fit(Killed(X, Y, [2, 2, 3]), folder)
    return folder / "tiny" / "checkpoint_last.pth"


@pytest.mark.parametrize("epoch", [1, 2])
@pytest.mark.parametrize("n_ranks", [1, 2])
def test_what_was_trained_outlives_a_validation_that_is_broken_off(
    tmp_path: Path, epoch: int, n_ranks: int
):
    whole = LinearStage(X, Y, [2, 2, 3])
    _, expected = fit(whole, tmp_path / "whole")
    path = broken_off_in_validation(tmp_path, epoch)
    saved = load_checkpoint(path)
    assert (saved.epoch, saved.step_in_epoch) == (epoch - 1, 3)
    saved = dataclasses.replace(saved, rng_state=saved.rng_state * n_ranks)
    stage = LinearStage(X, Y, [2, 2, 3])
    made, curve = trainer(stage, tmp_path)
    made.resume(saved, path, is_own=True)
    made.fit()
    assert stage.model.weight.item() == pytest.approx(whole.model.weight.item(), abs=1e-7)
    assert made.state.progress.global_step == 6
    for name in ("train/loss", "val/loss"):
        assert curve.epochs[epoch][name] == pytest.approx(expected.epochs[epoch][name])
    assert {path.name for path in path.parent.glob("*before*")} == set()


def test_a_broken_off_validation_that_then_fails_takes_the_epoch_back(tmp_path: Path):
    path = broken_off_in_validation(tmp_path, 2)
    stage = LinearStage(X, Y, [2, 2, 3])
    stage.validation_losses = [float("nan")]
    made, _ = trainer(stage, tmp_path)
    made.resume(load_checkpoint(path), path, is_own=True)
    with pytest.raises(TrainingDivergedError, match="epoch 2"):
        made.fit()
    saved = load_checkpoint(path)
    assert (saved.epoch, saved.step_in_epoch) == (1, 0)


def test_asked_to_stop_it_finishes_the_step_and_saves(tmp_path: Path):
    stop = StopSignal()
    stop.requested = True
    result, curve = fit(LinearStage(X, Y, [2, 2, 3]), tmp_path, stop=stop)
    assert result.was_stopped
    assert not curve.epochs
    saved = load_checkpoint(tmp_path / "tiny" / "checkpoint_last.pth")
    assert (saved.epoch, saved.step_in_epoch, saved.global_step) == (0, 1, 1)
    assert saved.epoch_sums["events"] == 2


def test_sigterm_is_a_wish_to_stop():
    # Others may have changed it: running a Dagster job in this process gives it SIGINT's handler.
    before = signal.getsignal(signal.SIGTERM)
    with StopSignal() as stop:
        signal.raise_signal(signal.SIGTERM)  # to this thread: it has come when the call returns
        assert stop.requested
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_last_checkpoint_never_tells_of_a_best_one_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    stage = LinearStage(X, Y, [7])
    stage.validation_losses = [3.0, 1.0]
    names: list[str] = []

    def logged(path: Path):
        names.append(path.name)
        return replacing(path)

    for module in (checkpoint, checkpoint_files):
        monkeypatch.setattr(module, "replacing", logged)
    fit(stage, tmp_path)
    trained, best, last = (f"checkpoint_{which}.pth" for which in ("last", "best", "last"))
    before, epoch = "checkpoint_before.pth", "checkpoint_epoch_2.pth"
    assert names == [trained, best, last, before, trained, best, epoch, last]


def test_a_late_look_keeps_bad_weights_from_being_saved_on_a_stop(tmp_path: Path):
    stop = StopSignal()
    stop.requested = True
    stage = LinearStage(X.clone(), Y, [4, 3])
    stage.x[5] = float("nan")
    made, _ = trainer(stage, tmp_path, stop=stop)
    made._guard._is_late = True  # as on a GPU: the stop is seen after the second step was made
    with pytest.raises(TrainingDivergedError, match="epoch 1, step 2"):
        made.fit()
    assert not (tmp_path / "tiny" / "checkpoint_last.pth").exists()
