import math

import numpy as np
import pytest
import torch

from xec_pipeline.config.tasks import TaskConfig
from xec_pipeline.detector.coordinates import opening_angle_deg
from xec_pipeline.errors import ConfigError
from xec_pipeline.training.losses import TargetUnits, check_loss, event_loss

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
