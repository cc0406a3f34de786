"""A line that is learned in twelve steps, and can be broken off after any of them."""

from pathlib import Path

import torch

from xec_pipeline.training.checkpoint import Checkpoint, load_checkpoint
from xec_pipeline.training.distributed import DistContext
from xec_pipeline.training.guard import StopSignal
from xec_pipeline.training.loop import Trainer
from xec_pipeline.training.reporting import SilentReporter
from xec_pipeline_tests.training.linear_stage import LinearStage
from xec_pipeline_tests.training.tiny import Curve, stop_after, tiny_run

X = torch.linspace(-2, 3, 23)[:, None]


def last(folder: Path) -> Path:
    return folder / "tiny" / "checkpoint_last.pth"


def linear(
    folder: Path,
    scheduler: str,
    stop_at: int | None = None,
    dist: DistContext | None = None,
    **checkpoint: str,
) -> Checkpoint:
    """Train a line for three epochs of four steps, or until its step `stop_at`; return the end.

    Of several ranks, the last one alone asks for the stop.
    """
    training = {"lr_scheduler": scheduler, "lr": 0.1, "lr_patience": 0, "grad_accum_steps": 2}
    training |= {"lr_restart_period": 1, "warmup_epochs": 0.6}
    ranks = dist or DistContext()
    stage = LinearStage(X, 2 * X[:, 0] + 0.1, [4, 4, 4, 4, 4, 2, 1], ranks)
    stop = StopSignal()
    if stop_at is not None and ranks.rank == ranks.world_size - 1:
        stop_after(2 * stop_at, stop, stage)
    run = tiny_run(folder, training=training, checkpoint=checkpoint)
    made = Trainer(stage, run, ranks, reporter=SilentReporter(), tracker=Curve(), stop=stop)
    if run.checkpoint.resume_from is not None:
        made.resume(load_checkpoint(last(folder)), last(folder))
    made.fit()
    ranks.barrier()
    return load_checkpoint(last(folder))
