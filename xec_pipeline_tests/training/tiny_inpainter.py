"""An inpainter so small that an epoch of 48 events takes a fraction of a second."""

import dataclasses
from pathlib import Path
from typing import Any

from xec_pipeline.config.inpainter import InpainterRun
from xec_pipeline.config.loader import validate
from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline.training.distributed import DistContext
from xec_pipeline.training.loop import FitResult, Trainer
from xec_pipeline.training.reporting import SilentReporter
from xec_pipeline.training.stages.inpainter import InpainterStage
from xec_pipeline.training.transfer import PretrainedEncoder
from xec_pipeline_tests.training.tiny import Curve
from xec_pipeline_tests.training.tiny_mae import tiny_mae_run

HEADS: dict[str, dict[str, Any]] = {
    "one head": {"head_type": "cross_attention"},
    "relative": {"head_type": "cross_attention", "relative_values": True},
    "per face": {"head_type": "per_face"},
    "attention": {"head_type": "per_face", "use_masked_attention": True},
    "split": {"outer_mode": "split", "outer_fine_pool": None},
}


def tiny_inpainter_run(save_dir: Path, **changes: dict[str, Any]) -> InpainterRun:
    """Return a tiny run with whole sections updated by `changes`; dropout is off."""
    base = tiny_mae_run(save_dir).model_dump()
    tree: dict[str, Any] = {
        "data": base["data"],
        "normalization": base["normalization"],
        "model": {
            **{name: value for name, value in base["model"].items() if name in _KEPT},
            "mask_ratio": 0.1,
            "freeze_encoder": False,
            "head_type": "cross_attention",
            "head_width": 8,
            "hex_head_width": 8,
            "cross_attn_k": 6,
            "cross_attn_hidden": 16,
            "cross_attn_latent_dim": 16,
            "cross_attn_pos_dim": 24,
        },
        "training": {"epochs": 3, "lr": 1e-3, "loss_beta": 0.1, "ema_decay": 0.9},
        "checkpoint": {"save_dir": str(save_dir)},
        "mlflow": {"run_name": "tiny", "tracking_uri": "none"},
    }
    for section, values in changes.items():
        tree[section] = {**tree.get(section, {}), **values}
    return validate(InpainterRun, tree, "tiny")


_KEPT = ("encoder_dim", "hex_dim", "num_fusion_layers", "outer_fine_pool", "dropout")


@dataclasses.dataclass
class FittedInpainter:
    """A finished training with all that a test may look at."""

    result: FitResult
    trainer: Trainer
    stage: InpainterStage
    curve: Curve


def fit_inpainter(
    run: InpainterRun,
    shards: ShardSet,
    dist: DistContext | None = None,
    encoder: PretrainedEncoder | None = None,
) -> FittedInpainter:
    """Train `run` on `shards`, which also validate."""
    ranks = dist or DistContext()
    stage = InpainterStage(run, ranks, shards, shards, encoder)
    curve = Curve()
    trainer = Trainer(stage, run, ranks, reporter=SilentReporter(), tracker=curve)
    return FittedInpainter(trainer.fit(), trainer, stage, curve)


def one_epoch(save_dir: Path, head: str, batch_size: int) -> InpainterRun:
    """Return a run that hides sensors of one face, to compare numbers of ranks."""
    training = {
        "epochs": 1,
        "lr": 1e-3,
        "npho_loss_weight": {"enabled": True},
        "intensity_reweighting": {"enabled": True},
    }
    data = {"batch_size": batch_size, "max_events": 24, "max_val_events": 17}
    model = {**HEADS[head], "mask_ratio": {"top": 0.05}, "predict_channels": ["npho", "time"]}
    return tiny_inpainter_run(save_dir, data=data, model=model, training=training)
