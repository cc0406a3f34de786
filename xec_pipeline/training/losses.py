"""Element losses on standardized targets, by the names of the configuration.

Each takes predictions and targets (B, k) in standard deviations and returns (B, k); `event_loss`
returns the mean over the k components, one float32 value per event. `TargetUnits` leads back to the
target's own unit, for the losses that are relative or angular.
"""

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import torch
import torch.nn.functional as functional
from torch import Tensor

from xec_pipeline.config.tasks import TASK_NAMES, TaskConfig, TasksConfig
from xec_pipeline.errors import ConfigError

SMALLEST_TARGET: Final = 1e-3
"""Floor of |target| in relative losses, in standard deviations of the target."""


class TargetUnits(NamedTuple):
    """Target = mean + scale * standardized target, per component (k,)."""

    mean: Tensor
    scale: Tensor


ElementLoss = Callable[[Tensor, Tensor, float, TargetUnits], Tensor]


def smooth_l1(prediction: Tensor, target: Tensor, beta: float, _: TargetUnits) -> Tensor:
    """Return d^2 / (2 beta) where |d| < beta, else |d| - beta / 2."""
    return functional.smooth_l1_loss(prediction, target, reduction="none", beta=beta)


def l1(prediction: Tensor, target: Tensor, _: float, __: TargetUnits) -> Tensor:
    """Return |d|."""
    return (prediction - target).abs()


def mse(prediction: Tensor, target: Tensor, _: float, __: TargetUnits) -> Tensor:
    """Return d^2."""
    return (prediction - target).square()


def relative_l1(prediction: Tensor, target: Tensor, _: float, units: TargetUnits) -> Tensor:
    """Return |d| / |target|."""
    return (prediction - target).abs() / _size(target, units)


def relative_smooth_l1(
    prediction: Tensor, target: Tensor, beta: float, units: TargetUnits
) -> Tensor:
    """Return smooth L1 / |target|."""
    return smooth_l1(prediction, target, beta, units) / _size(target, units)


def relative_mse(prediction: Tensor, target: Tensor, _: float, units: TargetUnits) -> Tensor:
    """Return d^2 / target^2."""
    return ((prediction - target) / _size(target, units)).square()


def cosine(prediction: Tensor, target: Tensor, _: float, units: TargetUnits) -> Tensor:
    """Return 1 - cos of the angle between two directions given as theta, phi [deg]; (B, 1)."""
    difference = _direction(prediction, units) - _direction(target, units)
    # 1 - cos psi = |a - b|^2 / 2 keeps its digits for small angles.
    return 0.5 * difference.square().sum(dim=-1, keepdim=True)


def gaussian_nll(outputs: Tensor, target: Tensor, beta: float) -> Tensor:
    """Return var^beta (ln var + d^2 / var) / 2, the first factor without gradient.

    Parameters
    ----------
    outputs
        (B, 2k): means, then logarithms of variances.
    target
        (B, k).
    beta
        0 is the plain likelihood; larger values give precise events less of the gradient.
    """
    mean, log_variance = outputs.chunk(2, dim=-1)
    likelihood = log_variance + (mean - target).square() * torch.exp(-log_variance)
    return 0.5 * likelihood * torch.exp(beta * log_variance.detach())


_RELATIVE: Final = frozenset({"relative_l1", "relative_smooth_l1", "relative_mse", "relative_l2"})

ELEMENT_LOSSES: Final[Mapping[str, ElementLoss]] = {
    "smooth_l1": smooth_l1,
    "huber": smooth_l1,
    "l1": l1,
    "mse": mse,
    "l2": mse,
    "relative_l1": relative_l1,
    "relative_smooth_l1": relative_smooth_l1,
    "relative_mse": relative_mse,
    "relative_l2": relative_mse,
    "cosine": cosine,
}
"""Losses of point predictions by name; `gaussian_nll` stands beside them."""


def check_loss(task: str, config: TaskConfig) -> None:
    """Raise ConfigError if the task cannot have the loss it asks for."""
    others = ", ".join(name for name in ELEMENT_LOSSES if name != "cosine")
    if config.loss_fn == "cosine" and task != "angle":
        raise ConfigError(
            f"tasks.{task}.loss_fn: cosine needs a direction, so only task angle can have it; "
            f"others: {others}"
        )
    if config.log_transform and (config.loss_fn == "cosine" or config.loss_fn in _RELATIVE):
        raise ConfigError(
            f"tasks.{task}.loss_fn: {config.loss_fn} needs the target itself, but log_transform "
            "regresses its logarithm, whose differences are relative already; use l1, smooth_l1, "
            "mse or gaussian_nll with it"
        )


def validating(tasks: TasksConfig) -> TasksConfig:
    """Return the tasks with the losses of a validation.

    They are those of the training, but gaussian_nll is the plain likelihood: with beta > 0 it is no
    proper score, and an epoch could seem better for a wrong uncertainty.
    """
    plain = {
        name: tasks[name].model_copy(update={"loss_beta": 0.0})
        for name in TASK_NAMES
        if tasks[name].loss_fn == "gaussian_nll"
    }
    return tasks.model_copy(update=plain)


def event_loss(outputs: Tensor, targets: Tensor, config: TaskConfig, units: TargetUnits) -> Tensor:
    """Return the loss of each event (B,) in float32, not yet weighted.

    Parameters
    ----------
    outputs
        Output of the head: (B, k), or (B, 2k) for gaussian_nll.
    targets
        Standardized target.
    config
        Its `loss_fn` and `loss_beta`.
    units
        From standard deviations to the target's unit.
    """
    outputs, targets = outputs.float(), targets.float()
    if config.loss_fn == "gaussian_nll":
        return gaussian_nll(outputs, targets, config.loss_beta).mean(dim=-1)
    return ELEMENT_LOSSES[config.loss_fn](outputs, targets, config.loss_beta, units).mean(dim=-1)


def _size(target: Tensor, units: TargetUnits) -> Tensor:
    """Return |target| in standard deviations, so that d / size is free of units."""
    return (target + units.mean / units.scale).abs().clamp_min(SMALLEST_TARGET)


def _direction(standardized: Tensor, units: TargetUnits) -> Tensor:
    angles = torch.deg2rad(standardized * units.scale + units.mean)
    theta, phi = angles[..., 0], angles[..., 1]
    sine = torch.sin(theta)
    return torch.stack((-sine * torch.cos(phi), sine * torch.sin(phi), torch.cos(theta)), dim=-1)
