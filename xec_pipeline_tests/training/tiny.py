"""A network so small that an epoch of 48 events takes a fraction of a second."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xec_pipeline.config.loader import validate
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline.training.checkpoint import Checkpoint, load_checkpoint
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


def balanced_run(save_dir: Path, **changes: dict[str, Any]) -> RegressorRun:
    """Return a tiny run with all that is learned or weighted beside the network."""
    likelihood = {"enabled": True, "loss_fn": "gaussian_nll", "loss_beta": 0.5}
    training = {"lr_scheduler": "plateau", "lr_patience": 0}
    changes["training"] = training | changes.get("training", {})
    reweighting = {"energy": {"enabled": True, "nbins": 12}, "max_weight": 2.0}
    run = tiny_run(save_dir, tasks={"uvwFI": likelihood}, reweighting=reweighting, **changes)
    return run.model_copy(update={"loss_balance": "auto"})


def largest_difference(first: Checkpoint, second: Checkpoint) -> float:
    """Return the largest difference of weights, averages and learned weights of tasks."""
    pairs = [
        (getattr(first, name) or {}, getattr(second, name) or {})
        for name in ("model_state_dict", "ema_state_dict", "objective_state_dict")
    ]
    return max(float((a[n].double() - b[n].double()).abs().max()) for a, b in pairs for n in a)


def stop_after(n_steps: int, stop: StopSignal, stage: Any) -> None:
    """Make `stage` ask for a stop in its batch `n_steps`."""
    original, count = stage.event_losses, [0]

    def counted(network: Any, batch: Any) -> Any:
        count[0] += 1
        stop.requested = count[0] >= n_steps
        return original(network, batch)

    stage.event_losses = counted


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
