"""The optimizer and the learning rate of every step."""

import math
from collections.abc import Mapping
from typing import Final

import torch
from torch import nn

from xec_pipeline.config.training import TrainingConfig

WARMUP_START: Final = 0.01
"""Fraction of the peak learning rate at which the warm-up begins."""

_NEVER_DECAYED: Final = ("pos_embed", "embedding")


def build_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """Return AdamW with weight decay on matrices and convolution kernels only.

    Vectors (biases, norms, GRN) and embeddings are left alone: pulling them towards zero changes
    the function instead of its complexity.
    """
    named = [(name, weight) for name, weight in model.named_parameters() if weight.requires_grad]
    groups = [
        {
            "params": [weight for name, weight in named if is_decayed(name, weight)],
            "weight_decay": config.weight_decay,
        },
        {
            "params": [weight for name, weight in named if not is_decayed(name, weight)],
            "weight_decay": 0.0,
        },
    ]
    fused = all(weight.is_cuda for _, weight in named)
    return torch.optim.AdamW(groups, lr=config.lr, fused=fused)


def is_decayed(name: str, weight: torch.Tensor) -> bool:
    """Return whether the weight called `name` is decayed."""
    is_matrix = weight.squeeze().ndim >= 2
    return is_matrix and not any(part in name for part in _NEVER_DECAYED)


class Schedule:
    """Learning rate as a continuous function of the epoch, applied before every optimizer step.

    Parameters
    ----------
    config
        lr, lr_min, lr_scheduler, warmup_epochs and epochs.
    start_epoch
        Where the schedule begins, without a warm-up if not at 0: a refresh after a resumption.

    Notes
    -----
    With e the epochs since the start (with a fraction), W the warm-up and E the epochs from start
    to end: lr (0.01 + 0.99 e / W) while e < W, then
    lr_min + (lr - lr_min) (1 + cos(pi (e - W) / (E - W))) / 2. Past E the rate stays at lr_min.
    """

    def __init__(self, config: TrainingConfig, *, start_epoch: float = 0.0) -> None:
        self._shape: dict[str, float] = {
            "lr": config.lr,
            "lr_min": config.lr_min,
            "is_cosine": float(config.lr_scheduler == "cosine"),
            "warmup_epochs": 0.0 if start_epoch else config.warmup_epochs,
            "epochs": config.epochs - start_epoch,
            "start_epoch": start_epoch,
        }

    def lr(self, epoch: float) -> float:
        """Return the learning rate when `epoch` epochs have been trained, with their fraction."""
        shape = self._shape
        elapsed, warmup = epoch - shape["start_epoch"], shape["warmup_epochs"]
        if elapsed < warmup:
            return shape["lr"] * (WARMUP_START + (1 - WARMUP_START) * elapsed / warmup)
        if not shape["is_cosine"]:
            return shape["lr"]
        length = shape["epochs"] - warmup
        part = min((elapsed - warmup) / length, 1.0) if length > 0 else 1.0
        half = 0.5 * (shape["lr"] - shape["lr_min"])
        return shape["lr_min"] + half * (1 + math.cos(math.pi * part))

    def apply(self, optimizer: torch.optim.Optimizer, epoch: float) -> float:
        """Set the learning rate at `epoch` in the optimizer and return it."""
        rate = self.lr(epoch)
        for group in optimizer.param_groups:
            group["lr"] = rate
        return rate

    def state_dict(self) -> dict[str, float]:
        """Return what fixes the curve."""
        return dict(self._shape)

    def load_state_dict(self, state: Mapping[str, float]) -> bool:
        """Continue the curve of `state`; return whether it differs from the configured one."""
        differs = any(self._shape[name] != state[name] for name in self._shape)
        self._shape = {name: float(state[name]) for name in self._shape}
        return differs


def clip_gradients(model: nn.Module, largest: float) -> torch.Tensor:
    """Scale gradients to a norm of at most `largest` (0: never) and return the norm before."""
    limit = largest if largest > 0 else math.inf
    return nn.utils.clip_grad_norm_(model.parameters(), limit, foreach=True)
