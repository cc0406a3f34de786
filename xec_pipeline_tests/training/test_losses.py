import math

import numpy as np
import pytest
import torch

from xec_pipeline.config.tasks import TaskConfig
from xec_pipeline.detector.coordinates import opening_angle_deg
from xec_pipeline.errors import ConfigError
from xec_pipeline.training.losses import (
    ELEMENT_LOSSES,
    TargetUnits,
    check_loss,
    event_loss,
    gaussian_nll,
)

UNITS = TargetUnits(torch.tensor([40.0]), torch.tensor([10.0]))


def loss_of(name, prediction, target, beta=1.0, units=UNITS):
    config = TaskConfig(loss_fn=name, loss_beta=beta)
    return event_loss(torch.tensor([prediction]), torch.tensor([target]), config, units)


@pytest.mark.parametrize(
    ("name", "beta", "expected"),
    [
        ("smooth_l1", 1.0, 0.5 * 0.3**2),
        ("huber", 0.2, 0.3 - 0.1),
        ("smooth_l1", 0.0, 0.3),
        ("l1", 1.0, 0.3),
        ("mse", 1.0, 0.09),
        ("l2", 1.0, 0.09),
        # The target is 40 + 10 * 0.5 = 45, the prediction 48.
        ("relative_l1", 1.0, 3 / 45),
        ("relative_mse", 1.0, (3 / 45) ** 2),
        ("relative_l2", 1.0, (3 / 45) ** 2),
        ("relative_smooth_l1", 1.0, 0.5 * 0.3**2 / 4.5),
    ],
)
def test_point_losses_have_their_closed_form(name, beta, expected):
    assert float(loss_of(name, [0.8], [0.5], beta)) == pytest.approx(expected, rel=1e-5)


def test_components_are_averaged():
    units = TargetUnits(torch.zeros(3), torch.ones(3))
    assert float(loss_of("l1", [1.0, 2.0, 6.0], [0.0, 0.0, 0.0], units=units)) == pytest.approx(3)


def test_likelihood_of_a_gaussian():
    expected = 0.5 * (math.log(4) + 0.3**2 / 4)
    assert float(loss_of("gaussian_nll", [0.8, math.log(4)], [0.5], 0.0)) == pytest.approx(expected)
    assert float(loss_of("gaussian_nll", [0.8, math.log(4)], [0.5], 0.5)) == pytest.approx(
        2 * expected
    )


def test_variance_weight_of_the_likelihood_has_no_gradient():
    log_variance = torch.tensor([[0.0, 0.7]], requires_grad=True)
    config = TaskConfig(loss_fn="gaussian_nll", loss_beta=1.0)
    event_loss(log_variance, torch.zeros(1, 1), config, UNITS).sum().backward()
    assert log_variance.grad is not None
    assert float(log_variance.grad[0, 1]) == pytest.approx(0.5 * math.exp(0.7), rel=1e-5)


def test_cosine_is_one_minus_the_cosine_of_the_opening_angle():
    units = TargetUnits(torch.tensor([90.0, 0.0]), torch.tensor([15.0, 30.0]))
    first, second = [0.4, -1.0], [0.1, 0.7]
    psi = opening_angle_deg(
        np.array(first) * [15, 30] + [90, 0], np.array(second) * [15, 30] + [90, 0]
    )
    expected = 1 - math.cos(math.radians(float(psi)))
    assert float(loss_of("cosine", first, second, units=units)) == pytest.approx(expected, rel=1e-5)


def test_cosine_is_for_directions_only():
    check_loss("angle", TaskConfig(loss_fn="cosine"))
    with pytest.raises(ConfigError, match=r"tasks\.energy\.loss_fn: cosine .* smooth_l1"):
        check_loss("energy", TaskConfig(loss_fn="cosine"))


def test_losses_of_half_precision_outputs_are_single_precision():
    config = TaskConfig()
    loss = event_loss(torch.zeros(2, 1, dtype=torch.bfloat16), torch.ones(2, 1), config, UNITS)
    assert loss.dtype == torch.float32


@pytest.mark.parametrize("loss", ["cosine", "relative_l1", "relative_mse"])
def test_losses_that_need_the_target_itself_refuse_its_logarithm(loss):
    task = "angle" if loss == "cosine" else "energy"
    check_loss(task, TaskConfig(loss_fn=loss))
    with pytest.raises(ConfigError, match=f"{loss} needs the target itself, but log_transform"):
        check_loss(task, TaskConfig(loss_fn=loss, log_transform=True))


@pytest.mark.parametrize("name", sorted({*ELEMENT_LOSSES, "gaussian_nll"}))
def test_gradients_are_the_slopes_of_the_losses(name):
    units = TargetUnits(torch.tensor([60.0, 20.0]).double(), torch.tensor([15.0, 30.0]).double())
    outputs = torch.tensor([[0.3, -0.8, 0.2, -0.4]]).double()
    outputs = outputs if name == "gaussian_nll" else outputs[:, :2]
    target = torch.tensor([[-0.4, 0.9]]).double()
    # The first factor of the likelihood has no gradient, so its slope is that of beta 0.
    beta = 0.0 if name == "gaussian_nll" else 0.5

    def loss(values):
        if name == "gaussian_nll":
            return gaussian_nll(values, target, beta).sum()
        return ELEMENT_LOSSES[name](values, target, beta, units).sum()

    assert torch.autograd.gradcheck(loss, outputs.requires_grad_())


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_the_likelihood_learns_how_uncertain_it_is(beta):
    generator = torch.Generator().manual_seed(7)
    x = torch.rand(4000, 1, generator=generator) * 2 - 1
    sigma = 0.3 * torch.exp(0.6 * x)
    y = 0.5 * x + sigma * torch.randn(4000, 1, generator=generator)
    torch.manual_seed(3)
    model = torch.nn.Linear(1, 2)
    config = TaskConfig(loss_fn="gaussian_nll", loss_beta=beta)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    for _ in range(600):
        optimizer.zero_grad()
        event_loss(model(x), y, config, UNITS).mean().backward()
        optimizer.step()
    with torch.no_grad():
        mean, log_variance = model(x).chunk(2, dim=1)
    pull = (y - mean) / torch.exp(0.5 * log_variance)
    for part in (x < -0.5, abs(x) <= 0.5, x > 0.5):
        assert float(pull[part].std()) == pytest.approx(1, abs=0.06)
    assert float(model.weight[1, 0].detach()) == pytest.approx(2 * 0.6, abs=0.1)
    assert float(model.weight[0, 0].detach()) == pytest.approx(0.5, abs=0.05)
