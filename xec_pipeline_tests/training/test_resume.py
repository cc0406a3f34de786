"""A training that is broken off and taken up again ends like one that was not."""

import dataclasses
from pathlib import Path

import pytest
import torch

from xec_pipeline.config.file_names import finished_file
from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline.errors import CheckpointError, ConfigError, OutputError
from xec_pipeline.training import loop
from xec_pipeline.training.checkpoint import (
    Checkpoint,
    load_checkpoint,
    tensor_digest,
    write_checkpoint,
)
from xec_pipeline.training.distributed import DistContext
from xec_pipeline.training.guard import StopSignal
from xec_pipeline.training.loop import Trainer
from xec_pipeline.training.reporting import SilentReporter
from xec_pipeline.training.stages.regressor import RegressorStage
from xec_pipeline.training.start import GoingOn, Recorded, choose_start, clear_run
from xec_pipeline.training.state import TrainState
from xec_pipeline.training.system_metrics import EpochClock, throughput_metrics
from xec_pipeline_tests.training.linear_stage import LinearStage
from xec_pipeline_tests.training.stopped_line import X, last, linear
from xec_pipeline_tests.training.tiny import (
    Curve,
    Fitted,
    balanced_run,
    fit,
    largest_difference,
    stop_after,
    tiny_run,
)

DROPOUT = {"dropout": 0.1, "head_dropout": 0.2, "drop_path_rate": 0.1}


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


def test_all_that_is_learned_or_weighted_goes_on(tmp_path: Path, tiny_shards: ShardSet):
    training = {"epochs": 2, "grad_accum_steps": 4}
    whole = fit(balanced_run(tmp_path / "a", training=training), tiny_shards)
    stop = StopSignal()
    run = balanced_run(tmp_path / "b", training=training)
    fit(run, tiny_shards, stop=stop, on_stage=lambda s: stop_after(9, stop, s))
    options = {"resume_from": str(last(tmp_path / "b"))}
    run = balanced_run(tmp_path / "b", training=training, checkpoint=options)
    resumed = fit(run, tiny_shards)
    first, second = load_checkpoint(last(tmp_path / "a")), load_checkpoint(last(tmp_path / "b"))
    assert first.scheduler_state_dict == second.scheduler_state_dict
    assert largest_difference(first, second) < 1e-6
    for name in ("train/loss", "val/loss", "task/energy_log_var"):
        assert resumed.curve.epochs[2][name] == pytest.approx(whole.curve.epochs[2][name], rel=1e-6)


SCHEDULERS = ("none", "cosine", "cosine_restarts", "onecycle", "plateau")


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_stopping_after_any_step_changes_nothing(tmp_path: Path, scheduler: str):
    whole = linear(tmp_path / "whole", scheduler)
    assert whole.global_step == 12
    for step in range(1, 11):
        folder = tmp_path / str(step)
        # The last step of an epoch has a single batch left, so that epochs end at 4 and 8 steps.
        broken = linear(folder, scheduler, stop_at=step)
        assert broken.global_step < 12
        resumed = linear(folder, scheduler, resume_from=str(last(folder)))
        assert largest_difference(whole, resumed) < 1e-6
        assert resumed.scheduler_state_dict == whole.scheduler_state_dict
        assert resumed.best_val == pytest.approx(whole.best_val, rel=1e-6)


def test_throughput_counts_the_events_of_this_process_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    counted = []

    def note(clock: EpochClock) -> dict[str, float]:
        counted.append(clock.n_events)
        return throughput_metrics(clock)

    monkeypatch.setattr(loop, "throughput_metrics", note)
    linear(tmp_path, "none", stop_at=5)  # after 16 events of the second epoch
    linear(tmp_path, "none", resume_from=str(last(tmp_path)))
    assert counted == [23, 7, 23]


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


def test_what_was_resumed_is_remembered_with_what_that_had_resumed(
    tmp_path: Path, tiny_shards: ShardSet, trained: Fitted
):
    source = trained.trainer._run.run_dir / "checkpoint_last.pth"
    fit(resumed_run(trained, tmp_path, 4), tiny_shards)
    first = load_checkpoint(last(tmp_path)).resumed_from
    assert first is not None
    assert (first["file"], first["run_name"], first["epoch"]) == (str(source), "tiny", 3)
    weights = load_checkpoint(source).inference_weights()
    assert first["tensor_digest"] == tensor_digest(weights)
    assert first["resumed_from"] is None
    options = {"resume_from": str(last(tmp_path))}
    fit(tiny_run(tmp_path, training={"epochs": 5}, checkpoint=options), tiny_shards)
    second = load_checkpoint(last(tmp_path)).resumed_from
    assert second is not None
    assert (second["epoch"], second["resumed_from"]) == (4, first)


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


def test_the_best_of_another_folder_is_not_the_best_of_this_run(
    tmp_path: Path, tiny_shards: ShardSet, trained: Fitted
):
    run = resumed_run(trained, tmp_path, 4)
    path = trained.trainer._run.run_dir / "checkpoint_last.pth"
    # A loss that is never reached again, as after a training with other options.
    checkpoint = dataclasses.replace(load_checkpoint(path), best_val=-99.0, best_epoch=3)
    stage = RegressorStage(run, DistContext(), tiny_shards, tiny_shards)
    made = Trainer(stage, run, DistContext(), reporter=SilentReporter(), tracker=Curve())
    made.resume(checkpoint, path)
    assert made.fit().best_epoch == 4
    assert load_checkpoint(tmp_path / "tiny" / "checkpoint_best.pth").epoch == 4


def test_a_best_epoch_counts_only_on_the_same_validation_events(tmp_path: Path):
    run = tiny_run(tmp_path)
    stage = LinearStage(X, X[:, 0], [23])
    saved = TrainState(stage.model, run, DistContext()).to_checkpoint(
        {"kind": "regressor", "data": DATA}, sums={}, steps_per_epoch=1
    )
    saved = dataclasses.replace(saved, best_val=1.0, best_epoch=1, epoch=1)
    found = []
    for val, has_best in (("v", False), ("v", True), ("other", True)):
        if has_best:
            write_checkpoint(tmp_path / "tiny" / "checkpoint_best.pth", saved)
        state = TrainState(stage.model, run, DistContext())
        state.resume(saved, last(tmp_path), steps_per_epoch=1, val_data=val)
        found.append(state.progress.best_epoch)
    assert found == [0, 1, 0]


def test_targets_keep_the_units_that_the_weights_have_learned(
    tmp_path: Path, tiny_shards: ShardSet, trained: Fitted
):
    run = resumed_run(trained, tmp_path, 4, reset_epoch=True)
    path = trained.trainer._run.run_dir / "checkpoint_last.pth"
    checkpoint = load_checkpoint(path)
    measured = {**checkpoint.target_statistics}
    measured["energy"] = {**measured["energy"], "mean": [12.5]}
    stage = RegressorStage(run, DistContext(), tiny_shards, tiny_shards)
    made = Trainer(stage, run, DistContext(), reporter=SilentReporter(), tracker=Curve())
    made.resume(dataclasses.replace(checkpoint, target_statistics=measured), path)
    assert stage.describe()["target_statistics"] == measured
    measured["energy"] = {**measured["energy"], "log": True}
    with pytest.raises(CheckpointError, match=r"tasks\.energy\.log_transform is True in the file"):
        made.resume(dataclasses.replace(checkpoint, target_statistics=measured), path)


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"normalization": {"npho_scale": 1.5}}, r"normalization\.npho_scale is 20000\.0 in the"),
        ({"model": {"layout": "legacy"}}, r"model\.layout is physical in the file, legacy in"),
    ],
)
def test_other_inputs_are_refused(
    tmp_path: Path, tiny_shards: ShardSet, trained: Fitted, changes, expected: str, reset
):
    path = trained.trainer._run.run_dir / "checkpoint_last.pth"
    options = {"resume_from": str(path), "reset_epoch": reset}
    run = tiny_run(tmp_path, checkpoint=options, training={"epochs": 9}, **changes)
    with pytest.raises(CheckpointError, match=expected):
        fit(run, tiny_shards)


@pytest.mark.parametrize("is_own", [False, True])
def test_options_of_resuming_are_for_what_was_asked_for(
    tmp_path: Path, tiny_shards: ShardSet, trained: Fitted, is_own
):
    path = trained.trainer._run.run_dir / "checkpoint_last.pth"
    checkpoint = load_checkpoint(path)
    epochs, starts = [], []
    for options in ({"reset_epoch": True}, {"refresh_lr": True}):
        run = resumed_run(trained, tmp_path, 5, **options)
        state = TrainState(trained.trainer._stage.model, run, DistContext())
        state.resume(checkpoint, path, steps_per_epoch=6, is_own=is_own)
        epochs.append(state.progress.epoch)
        starts.append(state.schedule.state_dict() == checkpoint.scheduler_state_dict)
    assert epochs == ([3, 3] if is_own else [0, 3])
    assert starts[1] == is_own


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

    def test_dagster_goes_on_with_the_same_code_only(self, tmp_path: Path):
        run = self.saved(tmp_path, code_version="before")

        def start(recorded: Recorded | None, *, overwrite: bool = False) -> GoingOn | None:
            return choose_start(
                run, "regressor", DATA, auto_resume=True, overwrite=overwrite, recorded=recorded
            )

        assert start(Recorded(code_version="before")) is not None
        assert start(None) is not None, "by hand nobody takes it for the present code"
        with pytest.raises(OutputError, match=r"checkpoint_last\.pth was made with other code"):
            start(Recorded(code_version="now"))
        assert start(Recorded(code_version="now"), overwrite=True) is None

    def test_a_complete_training_is_begun_again_only_with_overwrite(self, tmp_path: Path):
        run = self.saved(tmp_path, epoch=3)
        assert choose_start(run, "regressor", DATA, auto_resume=True) is not None
        found = choose_start(run, "regressor", DATA, auto_resume=True, overwrite=True)
        assert found is not None, "nobody has been told that it is complete"
        (run.run_dir / finished_file("regressor")).touch()
        assert choose_start(run, "regressor", DATA, auto_resume=True) is not None
        assert choose_start(run, "regressor", DATA, auto_resume=True, overwrite=True) is None

    def test_an_end_that_dagster_did_not_record_is_not_thrown_away(self, tmp_path: Path):
        run = self.saved(tmp_path, epoch=3)
        (run.run_dir / finished_file("regressor")).write_text("v2\n")

        def begins_again(version: str | None) -> bool:
            recorded = Recorded(data_version=version)
            found = choose_start(
                run, "regressor", DATA, auto_resume=True, overwrite=True, recorded=recorded
            )
            return found is None

        assert begins_again("v2"), "what is asked for once more is made once more"
        assert not begins_again("v1")
        assert not begins_again(None)

    def test_nothing_left_to_train_is_an_error_if_asked_for(self, tmp_path: Path):
        self.saved(tmp_path, epoch=3)
        run = tiny_run(tmp_path, checkpoint={"resume_from": str(last(tmp_path))})
        with pytest.raises(ConfigError, match=r"has 3 epochs and training.epochs is 3"):
            choose_start(run, "regressor", DATA)

    def test_another_folders_checkpoint_does_not_overwrite_without_leave(self, tmp_path: Path):
        self.saved(tmp_path)
        self.saved(tmp_path / "other")
        source = last(tmp_path / "other")
        run = tiny_run(tmp_path, checkpoint={"resume_from": str(source)})
        with pytest.raises(OutputError, match="give --overwrite to begin again"):
            choose_start(run, "regressor", DATA)
        found = choose_start(run, "regressor", DATA, overwrite=True)
        assert found is not None
        assert (found.path, found.is_own) == (source, False)

    def test_what_began_from_another_folder_goes_on_by_itself(self, tmp_path: Path):
        self.saved(tmp_path / "other", encoder_source={"tensor_digest": "abc"})
        run = tiny_run(tmp_path, checkpoint={"resume_from": str(last(tmp_path / "other"))})
        begun = choose_start(run, "regressor", DATA, auto_resume=True)
        assert begun is not None
        assert not begun.is_own
        source = begun.checkpoint.encoder_source
        self.saved(tmp_path, config_digest=run.digest(), encoder_source=source)
        found = choose_start(run, "regressor", DATA, auto_resume=True, overwrite=True)
        assert found is not None
        assert (found.path, found.is_own) == (last(tmp_path), True)

    def test_clearing_keeps_what_is_not_of_the_training(self, tmp_path: Path):
        folder = tmp_path / "tiny"
        kept = (
            "baseline_mean_energy_tiny.csv",
            "mae_checkpoint_best.pth",
            "mae_encoder_best.pth",
            "mae_predictions_epoch_1.root",
            "notes.txt",
            "predictions_energy_tinylike.csv",
            "test/baseline_mean_energy_tiny.csv",
            "worst_events/worst_01_tinylike.pdf",
        )
        stale = (
            "checkpoint_best.pth",
            "face_weights_tiny.json",
            "face_weights_tiny.pdf",
            "model.onnx",
            "model_raw.onnx",
            "predictions_energy_tiny.csv",
            "predictions_energy_tiny_ep3.csv",
            "predictions_meta_tiny.json",
            "resolution_energy_tiny.json",
            "resolution_energy_tiny.pdf",
            "resolution_table_tiny.md",
            "test/predictions_energy_tiny.csv",
            "test/resolution_energy_tiny_ep3.pdf",
            "test/worst_events/worst_05_tiny.json",
            "worst_events/worst_01_tiny.pdf",
        )
        (folder / "test" / "worst_events").mkdir(parents=True)
        (folder / "worst_events").mkdir()
        for name in (*kept, *stale):
            (folder / name).touch()
        clear_run(folder, "tiny", "regressor", ["model.onnx"])
        left = (path for path in folder.rglob("*") if path.is_file())
        assert sorted(str(path.relative_to(folder)) for path in left) == sorted(kept)
