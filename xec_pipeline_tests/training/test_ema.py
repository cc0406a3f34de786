import pytest
import torch
from torch import nn

from xec_pipeline.training.ema import Ema


def test_decay_warms_up_to_its_final_value():
    model = nn.Linear(1, 1)
    ema = Ema(model, 0.5)
    decays = []
    for _ in range(12):
        decays.append(ema.decay())
        ema.update(model)
    assert decays[:3] == pytest.approx([0.1, 2 / 11, 3 / 12])
    assert decays[-1] == 0.5


def test_average_follows_the_formula_and_copies_buffers():
    model = nn.BatchNorm1d(1)
    ema = Ema(model, 0.999)
    state = {"weight": torch.tensor([3.0]), "running_mean": torch.tensor([7.0])}
    model.load_state_dict(model.state_dict() | state)
    ema.update(model)
    assert ema.state_dict()["weight"].item() == pytest.approx(0.1 * 1 + 0.9 * 3)
    assert ema.state_dict()["running_mean"].item() == 7


def test_average_is_not_trained_and_names_are_the_models_own():
    model = nn.Linear(2, 2)
    ema = Ema(model, 0.9)
    assert not any(weight.requires_grad for weight in ema.model.parameters())
    assert not ema.model.training
    assert ema.state_dict().keys() == model.state_dict().keys()


def test_average_and_its_age_come_back():
    model = nn.Linear(2, 2)
    ema, other = Ema(model, 0.9), Ema(nn.Linear(2, 2), 0.9)
    ema.update(model)
    other.load_state_dict(ema.state_dict(), ema.n_updates)
    assert other.decay() == ema.decay()
    assert torch.equal(other.state_dict()["weight"], ema.state_dict()["weight"])
