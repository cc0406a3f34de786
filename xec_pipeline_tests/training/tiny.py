"""A network so small that an epoch of 48 events takes a fraction of a second."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xec_pipeline.config.loader import validate
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline.training.checkpoint import load_checkpoint
from xec_pipeline.training.distributed import DistContext
from xec_pipeline.training.guard import StopSignal
from xec_pipeline.training.loop import FitResult, Trainer
from xec_pipeline.training.reporting import SilentReporter
from xec_pipeline.training.stages.regressor import RegressorStage
from xec_pipeline.training.tracking import NullTracker


def tiny_tree(save_dir: Path) -> dict[str, Any]:
    """Return the sections of a tiny run; dropout is off, so that ranks can be compared."""
    on = {"enabled": True}
    return {
        "data": {"batch_size": 8},
        "normalization": {"npho_scheme": "sqrt", "npho_scale": 20000.0, "npho_scale2": 1.0},
        "model": {
            "encoder_dim": 32,
            "hex_dim": 8,
            "num_fusion_layers": 1,
            "hidden_dim": 16,
            "outer_fine_pool": [5, 3],
            "dropout": 0.0,
            "head_dropout": 0.0,
        },
        "tasks": dict.fromkeys(("angle", "energy", "timing", "uvwFI"), on),
        "training": {"epochs": 3, "lr": 1e-3, "warmup_epochs": 1, "ema_decay": 0.9},
        "checkpoint": {"save_dir": str(save_dir), "save_interval": 2},
        "mlflow": {"run_name": "tiny", "tracking_uri": "none"},
    }


def tiny_run(save_dir: Path, **changes: dict[str, Any]) -> RegressorRun:
    """Return a tiny run with whole sections updated by `changes`."""
    tree = tiny_tree(save_dir)
    for section, values in changes.items():
        tree[section] = {**tree.get(section, {}), **values}
    return validate(RegressorRun, tree, "tiny")


class Curve(NullTracker):
    """A tracker that remembers the metrics of every epoch."""

    def __init__(self) -> None:
        self.epochs: dict[int, dict[str, float]] = {}

    def epoch(self, epoch: int, metrics: Any) -> None:
        self.epochs[epoch] = dict(metrics)


@dataclasses.dataclass
class Fitted:
    """A finished training with all that a test may look at."""

    result: FitResult
    trainer: Trainer
    stage: RegressorStage
    curve: Curve
    tables: dict[int, Any]


def fit(
    run: RegressorRun,
    shards: ShardSet,
    dist: DistContext | None = None,
    *,
    stop: StopSignal | None = None,
    on_stage: Callable[[RegressorStage], None] | None = None,
) -> Fitted:
    """Train `run` on `shards`, which also validate; resume if the run says so."""
    ranks = dist or DistContext()
    stage = RegressorStage(run, ranks, shards, shards)
    if on_stage is not None:
        on_stage(stage)
    curve, tables = Curve(), dict[int, Any]()
    trainer = Trainer(
        stage,
        run,
        ranks,
        reporter=SilentReporter(),
        tracker=curve,
        stop=stop,
        on_best=tables.__setitem__,
    )
    if run.checkpoint.resume_from is not None:
        path = Path(run.checkpoint.resume_from)
        trainer.resume(load_checkpoint(path), path)
    return Fitted(trainer.fit(), trainer, stage, curve, tables)
