"""The objective of an inpainter: all hidden sensors of an event count alike, wherever they are."""

from torch import Tensor

from xec_pipeline.training.masked_losses import MaskedLoss, quotient


class InpainterLoss(MaskedLoss):
    """The sum over features of the mean over the hidden sensors of an event.

    Weights are relative within the event. A feature that no hidden sensor has, such as the time of
    dim ones, contributes nothing.
    """

    def _of_event(self, sums: Tensor, weights: Tensor) -> Tensor:
        return quotient(sums.sum(dim=1), weights.sum(dim=1))
