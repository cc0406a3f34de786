import math
from pathlib import Path

import pytest
import torch
from torch import nn

from xec_pipeline.config.training import TrainingConfig
from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline.errors import CheckpointError
from xec_pipeline.training.checkpoint import load_checkpoint
from xec_pipeline.training.distributed import DistContext
from xec_pipeline.training.loss_balance import LossBalance, balanced, build_balance, objective_of
from xec_pipeline.training.optim import build_optimizer
from xec_pipeline.training.stages.regressor import RegressorStage
from xec_pipeline_tests.training.tiny import fit, tiny_run

TASKS = ("angle", "energy", "timing", "uvwFI")


def auto(folder: Path, **changes):
    """Return a tiny run that learns the weights of its tasks."""
    return tiny_run(folder, **changes).model_copy(update={"loss_balance": "auto"})


def test_the_objective_has_its_closed_form():
    balance = LossBalance(["energy"])
    balance.log_vars["energy"].data.fill_(0.7)
    losses = torch.tensor([0.2, 1.0])
    expected = 0.5 * math.exp(-0.7) * losses.numpy() + 0.35
    assert balance("energy", losses).detach().numpy() == pytest.approx(expected)
    assert balance.metrics() == pytest.approx(
        {"task/energy_log_var": 0.7, "task/energy_weight": 0.5 * math.exp(-0.7)}
    )


def test_every_task_ends_with_the_same_share():
    balance = LossBalance(["a", "b"])
    means = {"a": torch.tensor([4.0]), "b": torch.tensor([0.05])}
    optimizer = torch.optim.Adam(balance.parameters(), lr=0.05)
    for _ in range(800):
        optimizer.zero_grad()
        balanced(balance, means, {}).sum().backward()
        optimizer.step()
    for task, loss in means.items():
        assert math.exp(float(balance.log_vars[task].detach())) == pytest.approx(
            float(loss), rel=1e-3
        )


def test_given_weights_apply_where_none_is_learned():
    losses = {"energy": torch.ones(2), "angle": torch.full((2,), 3.0)}
    given = {"energy": 2.0, "angle": 0.1}
    assert balanced(None, losses, given).tolist() == pytest.approx([2.3] * 2)
    found = balanced(LossBalance(["angle"]), losses, given)
    assert found.tolist() == pytest.approx([2 + 1.5] * 2)


def test_likelihoods_keep_the_weight_that_is_given(tmp_path: Path):
    run = auto(tmp_path, tasks={"energy": {"enabled": True, "loss_fn": "gaussian_nll"}})
    balance = build_balance(run)
    assert balance is not None
    assert sorted(balance.log_vars) == ["angle", "timing", "uvwFI"]
    assert build_balance(tiny_run(tmp_path)) is None


def test_learned_weights_are_optimized_without_decay():
    balance = LossBalance(["energy"])
    optimizer = build_optimizer(nn.Linear(2, 1), TrainingConfig(weight_decay=0.1), balance)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0, 0]
    assert optimizer.param_groups[2]["params"] == list(balance.parameters())


def test_a_training_learns_logs_and_keeps_them(tmp_path: Path, tiny_shards: ShardSet):
    run = auto(tmp_path, training={"epochs": 1, "lr": 1e-2})
    fitted = fit(run, tiny_shards)
    metrics = fitted.curve.epochs[1]
    assert metrics.keys() >= {f"task/{t}_{what}" for t in TASKS for what in ("log_var", "weight")}
    assert objective_of(fitted.stage) is fitted.trainer.state.objective
    saved = load_checkpoint(tmp_path / "tiny" / "checkpoint_last.pth").objective_state_dict
    assert saved is not None
    for task in TASKS:
        log_var = metrics[f"task/{task}_log_var"]
        assert log_var != 0
        assert float(saved[f"log_vars.{task}"]) == log_var


def test_validation_compares_between_epochs(tmp_path: Path, tiny_shards: ShardSet):
    tasks = {"energy": {"enabled": True, "weight": 3.0}}
    stages = [
        RegressorStage(run, DistContext(), tiny_shards, tiny_shards)
        for run in (auto(tmp_path, tasks=tasks), tiny_run(tmp_path, tasks=tasks))
    ]
    assert stages[0].objective is not None
    with torch.no_grad():
        stages[0].objective.log_vars["energy"].fill_(3.0)
    losses = [stage.validate(stage.model).loss for stage in stages]
    assert losses[0] == losses[1]


def test_weights_that_were_not_learned_cannot_be_resumed(tmp_path: Path, tiny_shards: ShardSet):
    fit(tiny_run(tmp_path, training={"epochs": 1}), tiny_shards)
    path = str(tmp_path / "tiny" / "checkpoint_last.pth")
    with pytest.raises(CheckpointError, match=r"learned nothing, this run learns log_vars\.angle"):
        fit(auto(tmp_path, checkpoint={"resume_from": path}), tiny_shards)
    options = {"resume_from": path, "reset_epoch": True}
    fitted = fit(auto(tmp_path, checkpoint=options, training={"epochs": 1}), tiny_shards)
    assert fitted.result.epoch == 1
