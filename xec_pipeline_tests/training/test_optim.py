import pytest
import torch
from torch import nn

from xec_pipeline.config.training import TrainingConfig
from xec_pipeline.training.optim import Schedule, build_optimizer, clip_gradients

PUBLISHED = [
    *(1e-5, 3.4e-4, 6.7e-4, 1e-3, 9.91e-4, 9.66e-4, 9.25e-4, 8.70e-4, 8.02e-4, 7.23e-4),
    *(6.37e-4, 5.47e-4, 4.54e-4, 3.64e-4, 2.78e-4, 1.99e-4, 1.31e-4, 7.58e-5, 3.47e-5, 9.5e-6),
]
"""Learning rate of each of 20 epochs: lr 1e-3, lr_min 1e-6, 3 epochs of warm-up."""


def config(**options) -> TrainingConfig:
    return TrainingConfig(
        **{"epochs": 20, "lr": 1e-3, "lr_min": 1e-6, "warmup_epochs": 3, **options}
    )


@pytest.mark.golden
def test_rates_at_epoch_starts_are_the_published_sequence():
    schedule = Schedule(config())
    assert [schedule.lr(epoch) for epoch in range(20)] == pytest.approx(PUBLISHED, rel=6e-3)


def test_rate_moves_within_an_epoch_and_ends_at_its_minimum():
    schedule = Schedule(config())
    assert schedule.lr(0.5) == pytest.approx(1e-3 * (0.01 + 0.99 / 6))
    assert schedule.lr(20) == pytest.approx(1e-6)
    assert schedule.lr(27) == pytest.approx(1e-6)


@pytest.mark.parametrize("scheduler", ["none", None])
def test_without_a_scheduler_the_rate_stays_after_the_warmup(scheduler):
    schedule = Schedule(config(lr_scheduler=scheduler))
    assert schedule.lr(0) == pytest.approx(1e-5)
    assert schedule.lr(3) == schedule.lr(19) == 1e-3


def test_warmup_longer_than_the_training_is_only_a_warmup():
    schedule = Schedule(config(epochs=2))
    assert schedule.lr(2) == pytest.approx(1e-3 * (0.01 + 0.99 * 2 / 3))


def test_a_refreshed_schedule_begins_at_the_peak_and_ends_with_the_training():
    schedule = Schedule(config(), start_epoch=15)
    assert schedule.lr(15) == 1e-3
    assert schedule.lr(17.5) == pytest.approx(0.5 * (1e-3 + 1e-6))
    assert schedule.lr(20) == pytest.approx(1e-6)


def test_a_resumed_schedule_keeps_its_curve_and_says_if_the_configured_one_differs():
    first, second = Schedule(config()), Schedule(config(epochs=40))
    assert second.load_state_dict(first.state_dict())
    assert second.lr(10) == first.lr(10)
    assert not Schedule(config()).load_state_dict(first.state_dict())


def test_only_matrices_and_kernels_decay():
    model = nn.Module()
    model.pos_embed = nn.Parameter(torch.zeros(1, 6, 32))
    model.linear = nn.Linear(4, 4)
    model.norm = nn.LayerNorm(4)
    model.conv = nn.Conv2d(2, 3, 4)
    model.hex_bias = nn.Parameter(torch.zeros(1, 1, 8))
    decayed, kept = build_optimizer(model, config(weight_decay=0.1)).param_groups
    assert decayed["weight_decay"] == 0.1
    assert kept["weight_decay"] == 0
    assert {id(p) for p in decayed["params"]} == {id(model.linear.weight), id(model.conv.weight)}
    assert len(decayed["params"]) + len(kept["params"]) == len(list(model.parameters()))


@pytest.mark.parametrize(("largest", "expected"), [(1.0, 1.0), (0.0, 5.0), (10.0, 5.0)])
def test_clipping_returns_the_norm_before(largest, expected):
    model = nn.Linear(2, 1, bias=False)
    model.weight.grad = torch.tensor([[3.0, 4.0]])
    assert float(clip_gradients(model, largest)) == pytest.approx(5)
    assert float(model.weight.grad.norm()) == pytest.approx(expected, rel=1e-5)
