"""Random numbers of a training: fixed by seed, epoch and rank, and kept in checkpoints.

Weights are drawn with the same seed on all ranks; dropout differs between ranks. torch and `random`
are seeded here; numpy is used in this package only through generators that are passed along.
"""

import random
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

_INIT = 0
_EPOCH = 1


def seed_weights(seed: int) -> None:
    """Seed what draws the initial weights; the same on every rank."""
    _seed_all(seed, _INIT)


def seed_epoch(seed: int, epoch: int, rank: int) -> None:
    """Seed dropout and all else that is drawn while training `epoch` on `rank`."""
    _seed_all(seed, _EPOCH, epoch, rank)


def rng_state(device: torch.device) -> dict[str, Tensor]:
    """Return the state of torch's generators on this rank, as tensors by name."""
    state = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        state["cuda"] = torch.cuda.get_rng_state(device)
    return state


def restore_rng_state(state: Mapping[str, Tensor], device: torch.device) -> None:
    """Continue the random numbers where `rng_state` was taken."""
    torch.set_rng_state(state["cpu"])
    if device.type == "cuda" and "cuda" in state:
        torch.cuda.set_rng_state(state["cuda"], device)


def _seed_all(*words: int) -> None:
    drawn = int(np.random.SeedSequence(words).generate_state(1, dtype=np.uint64)[0])
    torch.manual_seed(drawn)
    random.seed(drawn)
