"""What a head knows of an encoder: normalized sensor values in, tokens out."""

import abc

import torch
from torch import nn


class Encoder(nn.Module, abc.ABC):
    """What all encoders have in common.

    Attributes
    ----------
    token_names
        What each of the T tokens stands for: a face, or something derived from all of them.
    width
        D.
    keeps_estimates
        The last token holds estimates on a linear scale, which a head may pass on.
    """

    token_names: tuple[str, ...]
    width: int
    keeps_estimates: bool = False

    @property
    def n_tokens(self) -> int:
        """Number of tokens T."""
        return len(self.token_names)

    @abc.abstractmethod
    def forward_features(
        self, x_BSC: torch.Tensor, is_hidden_BS: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Encode events.

        Parameters
        ----------
        x_BSC
            Normalized npho and time (B, 4760, 2), with sentinels.
        is_hidden_BS
            Boolean (B, 4760): sensors whose values must not reach the result.

        Returns
        -------
        Tensor
            Tokens (B, T, D).
        """

    def forward(
        self, x_BSC: torch.Tensor, is_hidden_BS: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Call `forward_features`."""
        return self.forward_features(x_BSC, is_hidden_BS)
