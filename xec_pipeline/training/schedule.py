"""The learning rate of every step: warm-up and schedules, as functions of the epoch."""

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch

from xec_pipeline.config.training import TrainingConfig

WARMUP_START: Final = 0.01
"""Fraction of the peak learning rate at which the warm-up begins."""
ONECYCLE_START: Final = 1 / 25
"""Fraction of the peak learning rate at which onecycle begins."""
ONECYCLE_END: Final = ONECYCLE_START / 1e4
"""Fraction of the peak learning rate at which onecycle ends."""
LEAST_GAIN: Final = 1e-4
"""Relative change of the validation loss that plateau takes for progress."""


_ALWAYS_MATTERS: Final = ("scheduler", "lr", "warmup_epochs", "start_epoch")
_MATTERS: Final[Mapping[str, tuple[str, ...]]] = {
    "none": (),
    "cosine": ("lr_min", "epochs"),
    "cosine_restarts": ("lr_min", "restart_period", "restart_mult"),
    "onecycle": ("pct_start", "epochs"),
    "plateau": ("lr_min", "patience", "factor"),
}
"""Options that change the curve, by schedule."""


class Schedule:
    """Learning rate as a continuous function of the epoch, applied before every optimizer step.

    Parameters
    ----------
    config
        lr_scheduler and its options, warmup_epochs and epochs.
    start_epoch
        Where the schedule begins, without a warm-up if not at 0: a refresh after a resumption.

    Notes
    -----
    With e the epochs since the start (with a fraction), W the warm-up, E the epochs from start to
    end and c(p) = (1 + cos(pi p)) / 2, the rate is lr (0.01 + 0.99 e / W) while e < W, then

    - none: lr.
    - cosine: lr_min + (lr - lr_min) c((e - W) / (E - W)), and lr_min past E.
    - cosine_restarts: lr_min + (lr - lr_min) c(t / T), t into cycles of length lr_restart_period,
      each lr_restart_mult times longer than the one before.
    - plateau: lr, lowered by lr_factor down to lr_min after more than lr_patience epochs in which
      the validation loss did not fall by 1e-4 of its smallest value.

    onecycle has no warm-up and no lr_min: it rises as a cosine from max_lr / 25 to max_lr at
    e = pct_start E - 1 and falls to max_lr / 250000 at e = E - 1, so that the whole last epoch has
    the smallest rate. The momentum stays as it is.
    """

    def __init__(self, config: TrainingConfig, *, start_epoch: float = 0.0) -> None:
        name = config.lr_scheduler or "none"
        is_onecycle = name == "onecycle"
        self._shape: dict[str, Any] = {
            "scheduler": name,
            "lr": (config.max_lr or config.lr) if is_onecycle else config.lr,
            "lr_min": config.lr_min,
            "warmup_epochs": 0.0 if start_epoch or is_onecycle else float(config.warmup_epochs),
            "epochs": config.epochs - start_epoch,
            "start_epoch": start_epoch,
            "pct_start": config.pct_start,
            "restart_period": config.lr_restart_period,
            "restart_mult": config.lr_restart_mult,
            "patience": config.lr_patience,
            "factor": config.lr_factor,
        }
        self._plateau: dict[str, float] = {"lr": config.lr, "best": math.inf, "bad_epochs": 0}

    def lr(self, epoch: float) -> float:
        """Return the learning rate when `epoch` epochs have been trained, with their fraction."""
        shape = self._shape
        elapsed, warmup = epoch - shape["start_epoch"], shape["warmup_epochs"]
        if elapsed < warmup:
            return float(shape["lr"] * (WARMUP_START + (1 - WARMUP_START) * elapsed / warmup))
        if shape["scheduler"] == "plateau":
            return self._plateau["lr"]
        return _CURVES[shape["scheduler"]](shape, elapsed - warmup)

    def observe(self, epoch: int, loss: float) -> None:
        """Take note of the validation loss after `epoch` epochs; only plateau cares."""
        shape, plateau = self._shape, self._plateau
        is_warm = epoch - shape["start_epoch"] > shape["warmup_epochs"]
        if shape["scheduler"] != "plateau" or not is_warm:
            return
        best = plateau["best"]
        if best == math.inf or loss < best - LEAST_GAIN * abs(best):
            plateau["best"], plateau["bad_epochs"] = loss, 0
            return
        plateau["bad_epochs"] += 1
        if plateau["bad_epochs"] > shape["patience"]:
            plateau["bad_epochs"] = 0
            plateau["lr"] = max(plateau["lr"] * shape["factor"], shape["lr_min"])

    def apply(self, optimizer: torch.optim.Optimizer, epoch: float) -> float:
        """Set the learning rate at `epoch` in the optimizer and return it."""
        rate = self.lr(epoch)
        for group in optimizer.param_groups:
            group["lr"] = rate
        return rate

    def state_dict(self) -> dict[str, Any]:
        """Return what fixes the curve, and where plateau is on it."""
        return {**self._shape, "plateau": dict(self._plateau)}

    def load_state_dict(self, state: Mapping[str, Any]) -> bool:
        """Continue the curve of `state`; return whether it differs from the configured one.

        Raises
        ------
        KeyError
            If `state` is not of this class.
        """
        shape = {name: state[name] for name in self._shape}
        matters = (*_ALWAYS_MATTERS, *_MATTERS[shape["scheduler"]])
        differs = any(shape[name] != self._shape[name] for name in matters)
        self._shape, self._plateau = shape, dict(state["plateau"])
        return differs


def _between(high: float, low: float, part: float) -> float:
    """Return the value on half a cosine that begins at `high` and ends at `low`."""
    return low + 0.5 * (high - low) * (1 + math.cos(math.pi * part))


def _constant(shape: Mapping[str, Any], _: float) -> float:
    return float(shape["lr"])


def _cosine(shape: Mapping[str, Any], elapsed: float) -> float:
    length = shape["epochs"] - shape["warmup_epochs"]
    return _between(shape["lr"], shape["lr_min"], min(elapsed / length, 1.0) if length > 0 else 1.0)


def _cosine_restarts(shape: Mapping[str, Any], elapsed: float) -> float:
    period: float = shape["restart_period"]
    while elapsed >= period:
        elapsed -= period
        period *= shape["restart_mult"]
    return _between(shape["lr"], shape["lr_min"], elapsed / period)


def _onecycle(shape: Mapping[str, Any], elapsed: float) -> float:
    peak, epochs = shape["lr"], shape["epochs"]
    risen = max(shape["pct_start"] * epochs - 1, 0.0)
    # So few epochs that the peak is in the last one: it falls until their end.
    fallen = epochs - 1 if epochs - 1 > risen else epochs
    if elapsed < risen:
        return _between(ONECYCLE_START * peak, peak, elapsed / risen)
    part = (elapsed - risen) / (fallen - risen)
    return _between(peak, ONECYCLE_END * peak, min(part, 1.0))


_CURVES: Final[Mapping[str, Callable[[Mapping[str, Any], float], float]]] = {
    "none": _constant,
    "cosine": _cosine,
    "cosine_restarts": _cosine_restarts,
    "onecycle": _onecycle,
}
