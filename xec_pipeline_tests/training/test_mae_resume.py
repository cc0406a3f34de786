"""Stopping a masked autoencoder after any step and going on equals never having stopped."""

from pathlib import Path

import pytest

from xec_pipeline.config.mae import MaeRun
from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline.training.checkpoint import load_checkpoint
from xec_pipeline.training.distributed import DistContext
from xec_pipeline.training.guard import StopSignal
from xec_pipeline.training.loop import Trainer
from xec_pipeline.training.reporting import SilentReporter
from xec_pipeline.training.stages.mae import MaeStage
from xec_pipeline_tests.training.tiny import Curve, largest_difference, stop_after
from xec_pipeline_tests.training.tiny_mae import fit_mae, tiny_mae_run


def run_in(save_dir: Path) -> MaeRun:
    training = {"epochs": 2, "lr": 1e-3, "auto_channel_weight": True, "channel_dropout_rate": 0.1}
    training |= {"track_mae_rmse": True, "track_metrics": True}
    return tiny_mae_run(save_dir, training=training | {"ema_decay": 0.9})


@pytest.mark.parametrize("n_steps", [4, 8])
def test_stopping_and_going_on_is_like_never_having_stopped(
    tiny_shards: ShardSet, tmp_path: Path, n_steps: int
):
    whole = fit_mae(run_in(tmp_path / "whole"), tiny_shards)
    run, dist, stop = run_in(tmp_path / "broken"), DistContext(), StopSignal()
    last = run.run_dir / "mae_checkpoint_last.pth"
    curve = Curve()
    for signal in (stop, None):
        stage = MaeStage(run, dist, tiny_shards, tiny_shards)
        trainer = Trainer(stage, run, dist, reporter=SilentReporter(), tracker=curve, stop=signal)
        if signal is None:
            trainer.resume(load_checkpoint(last, "mae"), last)
        else:
            stop_after(n_steps, stop, stage)
        assert trainer.fit().was_stopped == (signal is not None)
    expected = load_checkpoint(tmp_path / "whole" / "tiny" / "mae_checkpoint_last.pth", "mae")
    assert largest_difference(expected, load_checkpoint(last, "mae")) < 1e-6
    # Also what is said of the epoch that was broken off: of all its events, not of the rest.
    told = {name for name in whole.curve.epochs[2] if not name.startswith("system/")}
    assert {"train/total_loss", "train/npho_loss", "train/actual_mask_ratio"} <= told
    for epoch in (1, 2):
        for name in told:
            expected_value = whole.curve.epochs[epoch][name]
            assert curve.epochs[epoch][name] == pytest.approx(expected_value, rel=1e-6), name
