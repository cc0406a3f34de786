"""The optimizer, and the clipping of its gradients."""

import math
from collections.abc import Iterable
from typing import Final

import torch
from torch import nn

from xec_pipeline.config.training import TrainingConfig

_NEVER_DECAYED: Final = ("pos_embed", "embedding")


def build_optimizer(
    model: nn.Module, config: TrainingConfig, objective: nn.Module | None = None
) -> torch.optim.AdamW:
    """Return AdamW with weight decay on matrices and convolution kernels only.

    Vectors (biases, norms, GRN) and embeddings are left alone: pulling them towards zero changes
    the function instead of its complexity. So is all that the objective learns.

    Parameters
    ----------
    model
        What is trained.
    config
        Learning rate and weight decay.
    objective
        Module whose parameters belong to the objective; they make a third group.
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
    learned = list(objective.parameters()) if objective is not None else []
    if learned:
        groups.append({"params": learned, "weight_decay": 0.0})
    return torch.optim.AdamW(groups, lr=config.lr, fused=True)


def is_decayed(name: str, weight: torch.Tensor) -> bool:
    """Return whether the weight called `name` is decayed."""
    is_matrix = weight.squeeze().ndim >= 2
    return is_matrix and not any(part in name for part in _NEVER_DECAYED)


def clip_gradients(weights: Iterable[torch.Tensor], largest: float) -> torch.Tensor:
    """Scale gradients to a norm of at most `largest` (0: never) and return the norm before."""
    limit = largest if largest > 0 else math.inf
    return nn.utils.clip_grad_norm_(weights, limit, foreach=True)
