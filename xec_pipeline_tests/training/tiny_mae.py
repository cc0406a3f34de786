"""A masked autoencoder so small that an epoch of 48 events takes a fraction of a second."""

import dataclasses
from pathlib import Path
from typing import Any

from xec_pipeline.config.loader import validate
from xec_pipeline.config.mae import MaeRun
from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline.training.distributed import DistContext
from xec_pipeline.training.loop import FitResult, Trainer
from xec_pipeline.training.reporting import SilentReporter
from xec_pipeline.training.stages.mae import MaeStage
from xec_pipeline_tests.training.tiny import Curve


def tiny_mae_run(save_dir: Path, **changes: dict[str, Any]) -> MaeRun:
    """Return a tiny run with whole sections updated by `changes`; dropout is off."""
    tree: dict[str, Any] = {
        "data": {"batch_size": 8},
        "normalization": {
            "npho_scheme": "sqrt",
            "npho_scale": 20000.0,
            "time_scale": 1e-8,
            "time_shift": 0.5,
        },
        "model": {
            "encoder_dim": 32,
            "hex_dim": 8,
            "num_fusion_layers": 1,
            "outer_fine_pool": [5, 3],
            "dropout": 0.0,
            "decoder_dim": 8,
        },
        "training": {"epochs": 3, "lr": 1e-3, "loss_beta": 0.1, "ema_decay": 0.9},
        "checkpoint": {"save_dir": str(save_dir)},
        "mlflow": {"run_name": "tiny", "tracking_uri": "none"},
    }
    for section, values in changes.items():
        tree[section] = {**tree.get(section, {}), **values}
    return validate(MaeRun, tree, "tiny")


@dataclasses.dataclass
class FittedMae:
    """A finished training with all that a test may look at."""

    result: FitResult
    trainer: Trainer
    stage: MaeStage
    curve: Curve


def fit_mae(run: MaeRun, shards: ShardSet, dist: DistContext | None = None) -> FittedMae:
    """Train `run` on `shards`, which also validate."""
    ranks = dist or DistContext()
    stage = MaeStage(run, ranks, shards, shards)
    curve = Curve()
    trainer = Trainer(stage, run, ranks, reporter=SilentReporter(), tracker=curve)
    return FittedMae(trainer.fit(), trainer, stage, curve)


def one_epoch(save_dir: Path, batch_size: int) -> MaeRun:
    """Return a run with every kind of weight, for comparisons between numbers of ranks."""
    training = {
        "epochs": 1,
        "lr": 1e-3,
        "auto_channel_weight": True,
        "track_metrics": True,
        "track_mae_rmse": True,
        "intensity_reweighting": {"enabled": True},
    }
    return tiny_mae_run(save_dir, data={"batch_size": batch_size}, training=training)
