"""The objective of a masked autoencoder: all faces count equally."""

from collections.abc import Mapping

import torch
from torch import Tensor

from xec_pipeline.training.masked_losses import FeatureLoss, MaskedLoss, quotient


class MaeLoss(MaskedLoss):
    """The sum over features and faces of the mean over the hidden sensors of the face.

    So 73 sensors on top count as much as 4092 inside. Weights are relative within the event and the
    face; a face without a usable hidden sensor contributes nothing.
    """

    def balanced_event_losses(
        self, losses: Mapping[str, FeatureLoss], log_variances: Tensor | None
    ) -> Tensor:
        """Return the objective of each event (B,), with learned weights of the features.

        Parameters
        ----------
        losses
            What `feature_losses` returned.
        log_variances
            Learned s (C,) in the order of the features, or None for the configured weights. A
            face's loss L then counts as (exp(-s) L + s) / 2, if it has a sensor: the likelihood of
            errors with variance exp(s) (Kendall, Gal and Cipolla, arXiv:1705.07115, eq. 7).
        """
        if log_variances is None:
            return self.event_losses(losses)
        parts = []
        for loss, s in zip(losses.values(), log_variances.float(), strict=True):
            parts.append(0.5 * (torch.exp(-s) * loss.event + s * loss.has_any.sum(dim=1)))
        return torch.stack(parts).sum(dim=0)

    def _of_event(self, sums: Tensor, weights: Tensor) -> Tensor:
        return quotient(sums, weights).sum(dim=1)
