import pytest
import torch
from torch import nn

from xec_pipeline.config.training import TrainingConfig
from xec_pipeline.training.optim import build_optimizer, clip_gradients


def config(**options) -> TrainingConfig:
    return TrainingConfig(
        **{"epochs": 20, "lr": 1e-3, "lr_min": 1e-6, "warmup_epochs": 3, **options}
    )


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
    assert float(clip_gradients(model.parameters(), largest)) == pytest.approx(5)
    assert float(model.weight.grad.norm()) == pytest.approx(expected, rel=1e-5)
