"""Running average of the weights; it validates and is exported."""

import copy
from collections.abc import Mapping

import torch
from torch import Tensor, nn


class Ema:
    """Exponential moving average of a model's weights.

    Parameters
    ----------
    model
        Unwrapped model; its weights are the first average.
    decay
        Final decay per update.

    Attributes
    ----------
    model
        Copy of the model that holds the average, in evaluation mode.
    n_updates
        Updates so far.

    Notes
    -----
    The decay of update t (from 0) is min(decay, (1 + t) / (10 + t)), so that an average over a
    thousand steps does not lag behind in the first epochs.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.model = copy.deepcopy(model).requires_grad_(requires_grad=False).eval()
        self.n_updates = 0
        self._decay = decay

    def decay(self) -> float:
        """Return the decay of the next update."""
        return min(self._decay, (1 + self.n_updates) / (10 + self.n_updates))

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move the average towards the weights of `model`; copy its buffers."""
        averages: list[Tensor] = list(self.model.parameters())
        weights: list[Tensor] = [weight.detach() for weight in model.parameters()]
        torch._foreach_lerp_(averages, weights, 1 - self.decay())
        for average, buffer in zip(self.model.buffers(), model.buffers(), strict=True):
            average.copy_(buffer)
        self.n_updates += 1

    def state_dict(self) -> dict[str, Tensor]:
        """Return the averaged weights by the model's own names."""
        return dict(self.model.state_dict())

    def load_state_dict(self, state: Mapping[str, Tensor], n_updates: int) -> None:
        """Take over an average and its age."""
        self.model.load_state_dict(state)
        self.n_updates = n_updates
