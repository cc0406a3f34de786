"""What a network must beat: the loss of an answer without learning, by the same objective."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline.training.distributed import DistContext
from xec_pipeline.training.stages.inpainter import InpainterStage
from xec_pipeline.training.stages.mae import MaeStage
from xec_pipeline.training.stages.masked import MaskedStage
from xec_pipeline.training.stages.regressor import RegressorStage
from xec_pipeline_tests.training.tiny import tiny_run
from xec_pipeline_tests.training.tiny_inpainter import tiny_inpainter_run
from xec_pipeline_tests.training.tiny_mae import tiny_mae_run


class Mean(nn.Module):
    """A regressor that answers with the mean of the training targets, whatever it sees."""

    def __init__(self, widths: dict[str, int]) -> None:
        super().__init__()
        self._widths = widths

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {task: x.new_zeros(len(x), width) for task, width in self._widths.items()}


class VisibleMean(nn.Module):
    """Predicts the photons of a hidden sensor by the mean of the visible, live ones."""

    def __init__(self, sentinel: float) -> None:
        super().__init__()
        self._sentinel = sentinel

    def forward(self, x: Tensor, is_hidden: Tensor) -> Tensor:
        npho = x[..., 0]
        seen = ~is_hidden & (npho != self._sentinel)
        mean = torch.where(seen, npho, 0.0).sum(dim=1) / seen.sum(dim=1)
        return mean[:, None, None].expand(-1, npho.shape[1], 1)


@pytest.mark.parametrize("energy", [{}, {"loss_fn": "gaussian_nll", "loss_beta": 0.5}], ids=str)
def test_mean_of_the_training_events(energy: dict[str, Any], tiny_shards: ShardSet, tmp_path: Path):
    tasks = {"energy": {"enabled": True, **energy, "weight": 2.0}}
    stage = RegressorStage(tiny_run(tmp_path, tasks=tasks), DistContext(), tiny_shards, tiny_shards)
    widths = {"angle": 2, "energy": 2 if energy else 1, "timing": 1, "uvwFI": 3}
    found = stage.constant_losses()["val/loss"]
    assert found == pytest.approx(stage.validate(Mean(widths)).loss, rel=1e-5)
    assert found != pytest.approx(stage.validate(stage.model).loss, rel=1e-3)


@pytest.mark.parametrize("kind", ["mae", "inpainter"])
def test_mean_of_the_visible_sensors(
    kind: str, tiny_shards: ShardSet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    changes: dict[str, Any] = {"model": {"predict_channels": ["npho"]}}
    stage: MaeStage | InpainterStage
    if kind == "mae":
        run = tiny_mae_run(tmp_path, **changes)
        stage = MaeStage(run, DistContext(), tiny_shards, tiny_shards)
        sentinel = run.normalization.sentinel_npho
    else:
        other = tiny_inpainter_run(tmp_path, **changes)
        stage = InpainterStage(other, DistContext(), tiny_shards, tiny_shards)
        sentinel = other.normalization.sentinel_npho
    ((name, found),) = stage.constant_losses().items()
    # A masked autoencoder would look for its learned weights of features.
    monkeypatch.setattr(stage, "_event_losses", lambda _, losses: stage._loss.event_losses(losses))
    expected = MaskedStage.validate(stage, VisibleMean(sentinel)).metrics["val/npho_loss"]
    assert name == "val/npho_loss"
    assert found == pytest.approx(expected, rel=1e-5)
