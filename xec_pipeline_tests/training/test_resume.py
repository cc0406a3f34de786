"""A training that is broken off and taken up again ends like one that was not."""

from pathlib import Path

import pytest
import torch

from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline.errors import CheckpointError, ConfigError, OutputError
from xec_pipeline.training.checkpoint import Checkpoint, load_checkpoint, write_checkpoint
from xec_pipeline.training.guard import StopSignal
from xec_pipeline.training.stages.regressor import RegressorStage
from xec_pipeline.training.start import choose_start, clear_run
from xec_pipeline_tests.training.tiny import Fitted, fit, tiny_run

DROPOUT = {"dropout": 0.1, "head_dropout": 0.2, "drop_path_rate": 0.1}


def largest_difference(first: Checkpoint, second: Checkpoint) -> float:
    pairs = [(first.model_state_dict, second.model_state_dict)]
    pairs.append((first.ema_state_dict or {}, second.ema_state_dict or {}))
    return max(float((a[n].double() - b[n].double()).abs().max()) for a, b in pairs for n in a)


def last(folder: Path) -> Path:
    return folder / "tiny" / "checkpoint_last.pth"


def stop_after(n_steps: int, stop: StopSignal, stage: RegressorStage) -> None:
    """Make `stage` ask for a stop in its step `n_steps`."""
    original, count = stage.event_losses, [0]

    def counted(network, batch):
        count[0] += 1
        stop.requested = count[0] >= n_steps
        return original(network, batch)

    stage.event_losses = counted  # type: ignore[method-assign]  # the test plays the signal


@pytest.mark.parametrize("n_steps", [6, 9], ids=["between epochs", "within an epoch"])
def test_resuming_equals_never_having_stopped(tmp_path: Path, tiny_shards: ShardSet, n_steps: int):
    training = {"channel_dropout_rate": 0.05, "epochs": 2}
    whole = fit(tiny_run(tmp_path / "a", training=training, model=DROPOUT), tiny_shards)
    run = tiny_run(tmp_path / "b", training=training, model=DROPOUT)
    stop = StopSignal()
    broken = fit(run, tiny_shards, stop=stop, on_stage=lambda s: stop_after(n_steps, stop, s))
    assert broken.result.was_stopped
    options = {"resume_from": str(last(tmp_path / "b"))}
    torch.manual_seed(99)
    resumed = fit(
        tiny_run(tmp_path / "b", training=training, model=DROPOUT, checkpoint=options), tiny_shards
    )
    first, second = load_checkpoint(last(tmp_path / "a")), load_checkpoint(last(tmp_path / "b"))
    assert largest_difference(first, second) < 1e-6
    for name in ("train/loss", "val/loss", "lr", "train/grad_norm_max"):
        assert resumed.curve.epochs[2][name] == pytest.approx(whole.curve.epochs[2][name], rel=1e-6)


def resumed_run(trained: Fitted, folder: Path, epochs: int, **checkpoint):
    options = {"resume_from": str(trained.trainer._run.run_dir / "checkpoint_last.pth")}
    training = {"epochs": epochs, "lr": 2e-4}
    return tiny_run(folder, training=training, checkpoint=options | checkpoint)


def test_refresh_runs_a_new_schedule_over_the_remaining_epochs(
    tmp_path: Path, tiny_shards: ShardSet, trained: Fitted
):
    fitted = fit(resumed_run(trained, tmp_path, 5, refresh_lr=True), tiny_shards)
    assert sorted(fitted.curve.epochs) == [4, 5]
    schedule = fitted.trainer.state.schedule
    assert schedule.lr(3) == 2e-4
    assert schedule.lr(4) == pytest.approx(0.5 * (2e-4 + 1e-7), rel=1e-6)


def test_without_refresh_the_rate_goes_on_where_it_was(
    tmp_path: Path, tiny_shards: ShardSet, trained: Fitted
):
    fitted = fit(resumed_run(trained, tmp_path, 4), tiny_shards)
    assert sorted(fitted.curve.epochs) == [4]
    assert fitted.curve.epochs[4]["lr"] == pytest.approx(1e-7)


def test_reset_takes_the_weights_only(tmp_path: Path, tiny_shards: ShardSet, trained: Fitted):
    run = resumed_run(trained, tmp_path, 1, reset_epoch=True)
    fitted = fit(run, tiny_shards)
    assert sorted(fitted.curve.epochs) == [1]
    assert fitted.trainer.state.progress.global_step == 6
    assert fitted.curve.epochs[1]["train/loss"] < trained.curve.epochs[1]["train/loss"]


def test_an_average_starts_from_the_weights_if_the_file_has_none(
    tmp_path: Path, tiny_shards: ShardSet
):
    fit(tiny_run(tmp_path, training={"epochs": 1, "ema_decay": None}), tiny_shards)
    assert load_checkpoint(last(tmp_path)).ema_state_dict is None
    options = {"resume_from": str(last(tmp_path))}
    fitted = fit(tiny_run(tmp_path, training={"epochs": 2}, checkpoint=options), tiny_shards)
    assert fitted.trainer.state.ema is not None
    assert fitted.trainer.state.ema.n_updates == 6


def test_weights_of_another_network_are_refused(
    tmp_path: Path, tiny_shards: ShardSet, trained: Fitted
):
    path = trained.trainer._run.run_dir / "checkpoint_last.pth"
    options = {"resume_from": str(path)}
    run = tiny_run(tmp_path, model={"hidden_dim": 8}, checkpoint=options, training={"epochs": 9})
    with pytest.raises(CheckpointError, match="weights do not fit the model"):
        fit(run, tiny_shards)


DATA = {"train": "t", "val": "v"}


class TestStart:
    def saved(self, folder: Path, **changes):
        run = tiny_run(folder)
        content = {"epoch": 1, "config_digest": run.digest(), "data": DATA, **changes}
        write_checkpoint(last(folder), Checkpoint(kind="regressor", model_state_dict={}, **content))
        return run

    def test_an_empty_folder_begins_afresh(self, tmp_path: Path):
        assert choose_start(tiny_run(tmp_path), "regressor", DATA, auto_resume=True) is None

    def test_foreign_checkpoints_are_not_overwritten_without_leave(self, tmp_path: Path):
        run = self.saved(tmp_path, config_digest="other")
        with pytest.raises(OutputError, match=r"another configuration; give --overwrite"):
            choose_start(run, "regressor", DATA, auto_resume=True)
        assert choose_start(run, "regressor", DATA, overwrite=True) is None
        with pytest.raises(OutputError, match="earlier training; give --overwrite"):
            choose_start(run, "regressor", DATA)

    def test_own_checkpoint_is_resumed_on_request(self, tmp_path: Path):
        run = self.saved(tmp_path)
        for overwrite in (False, True):
            found = choose_start(run, "regressor", DATA, auto_resume=True, overwrite=overwrite)
            assert found is not None
            assert found[0].epoch == 1

    def test_other_events_are_another_training(self, tmp_path: Path):
        run = self.saved(tmp_path)
        with pytest.raises(OutputError, match="other events"):
            choose_start(run, "regressor", {"train": "x", "val": "v"}, auto_resume=True)

    def test_a_complete_training_is_begun_again_only_with_overwrite(self, tmp_path: Path):
        run = self.saved(tmp_path, epoch=3)
        found = choose_start(run, "regressor", DATA, auto_resume=True)
        assert found is not None
        assert choose_start(run, "regressor", DATA, auto_resume=True, overwrite=True) is None

    def test_nothing_left_to_train_is_an_error_if_asked_for(self, tmp_path: Path):
        self.saved(tmp_path, epoch=3)
        run = tiny_run(tmp_path, checkpoint={"resume_from": str(last(tmp_path))})
        with pytest.raises(ConfigError, match=r"has 3 epochs and training.epochs is 3"):
            choose_start(run, "regressor", DATA)

    def test_clearing_keeps_what_is_not_of_the_training(self, tmp_path: Path):
        folder = tmp_path / "tiny"
        folder.mkdir()
        for name in ("checkpoint_best.pth", "predictions_energy_tiny_ep3.csv", "notes.txt"):
            (folder / name).touch()
        clear_run(folder, "tiny")
        assert [path.name for path in folder.iterdir()] == ["notes.txt"]
