from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from xec_pipeline.config.loader import load_regressor_run
from xec_pipeline.models.regressor import build_regressor
from xec_pipeline.models.target_scaling import TargetStatistics
from xec_pipeline.training.checkpoint import Checkpoint, write_checkpoint

TINY = {
    "model.encoder_dim": 64,
    "model.hex_dim": 8,
    "model.hidden_dim": 16,
    "data.val_path": "",
    "data.test_path": "",
}
STATISTICS = {
    "angle": TargetStatistics(mean=[90.0, 0.0], scale=[12.0, 35.0], log=False),
    "energy": TargetStatistics(mean=[3.5], scale=[0.4], log=True),
    "timing": TargetStatistics(mean=[1.4], scale=[0.5], log=False),
    "uvwFI": TargetStatistics(mean=[0.0, 0.0, 5.0], scale=[15.0, 40.0, 5.0], log=False),
}

WriteCheckpoint = Callable[..., Path]


@pytest.fixture
def checkpoint_of(tmp_path: Path) -> WriteCheckpoint:
    """Return a function that writes a checkpoint with random weights: (**overrides) -> path."""

    def write(**overrides: Any) -> Path:
        run = load_regressor_run("demo", TINY | overrides)
        torch.manual_seed(2)
        model = build_regressor(run)
        with torch.no_grad():
            for weight in model.parameters():
                weight.add_(torch.randn_like(weight), alpha=0.02)
        averaged = {name: 0.9 * tensor for name, tensor in model.state_dict().items()}
        path = tmp_path / "run" / "checkpoint_best.pth"
        write_checkpoint(
            path,
            Checkpoint(
                kind="regressor",
                model_state_dict=model.state_dict(),
                ema_state_dict=averaged,
                config=run.model_dump(),
                target_statistics={task: STATISTICS[task] for task in run.tasks.active},
            ),
        )
        return path

    return write
