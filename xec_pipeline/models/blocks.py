"""Building blocks that the faces share; activations are channels-last."""

import abc

import torch
import torch.nn.functional as F
from torch import nn


class DropPath(nn.Module):
    """Leave out a residual branch, per event, with probability `rate` in training."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return x, or zeros for the events that skip; survivors are scaled by 1 / (1 - rate)."""
        if self.rate == 0.0 or not self.training:
            return x
        kept = torch.rand(x.shape[:1] + (1,) * (x.ndim - 1), device=x.device) >= self.rate
        return x * kept.to(x.dtype) / (1.0 - self.rate)


class ResponseNorm(nn.Module):
    """Global response normalization, written as factors for the linear layer that follows.

    With g the L2 norm of a channel over the cells of one event and n = g / (mean over channels of g
    + 1e-6), the normalized activation is gamma x n + beta + x (ConvNeXt V2, arXiv:2301.00808, eq.
    1-3). A linear layer W, b after it equals, per event, the linear layer W (1 + gamma n), b + W
    beta, which needs no pass over the wide activation.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.zeros(width))
        self.beta = nn.Parameter(torch.zeros(width))

    def factors(self, x_BNC: torch.Tensor) -> torch.Tensor:
        """Return 1 + gamma n, shape (B, C)."""
        norm_BC = torch.linalg.vector_norm(x_BNC, dim=1)
        relative = norm_BC / (norm_BC.mean(dim=1, keepdim=True) + 1e-6)
        factors: torch.Tensor = 1.0 + self.gamma * relative
        return factors

    def forward(self, x_BNC: torch.Tensor) -> torch.Tensor:
        """Return the normalized activation itself; what `then_linear` avoids building."""
        return x_BNC * self.factors(x_BNC)[:, None, :] + self.beta

    def then_linear(self, x_BNC: torch.Tensor, linear: nn.Linear) -> torch.Tensor:
        """Return `linear(self(x))`, shape (B, N, out)."""
        weight_BOC = linear.weight * self.factors(x_BNC)[:, None, :]
        bias = F.linear(self.beta, linear.weight, linear.bias)
        return torch.matmul(x_BNC, weight_BOC.transpose(1, 2)) + bias


class MixingBlock(nn.Module, abc.ABC):
    """A residual block: spatial mixing, LayerNorm, expansion by 4, GELU, GRN, contraction.

    A subclass says how neighbouring cells mix.
    """

    def __init__(self, width: int, drop_path_rate: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.pwconv1 = nn.Linear(width, 4 * width)
        self.grn = ResponseNorm(4 * width)
        self.pwconv2 = nn.Linear(4 * width, width)
        self.drop_path = DropPath(drop_path_rate)

    @abc.abstractmethod
    def mix(self, x: torch.Tensor) -> torch.Tensor:
        """Mix neighbouring cells, channel by channel; same shape."""

    def forward(self, x: torch.Tensor, visible: torch.Tensor | None = None) -> torch.Tensor:
        """Apply the block.

        Parameters
        ----------
        x
            (B, H, W, C) or (B, N, C).
        visible
            1 where a cell may contribute, 0 where it is hidden; same shape with one channel.
        """
        mixed = self.mix(x)
        if visible is not None:
            x = x * visible
            mixed = mixed * visible
        branch = self._mlp(self.norm(mixed).flatten(1, -2)).view_as(x)
        y: torch.Tensor = x + self.drop_path(branch)
        return y

    def _mlp(self, x_BNC: torch.Tensor) -> torch.Tensor:
        return self.grn.then_linear(F.gelu(self.pwconv1(x_BNC)), self.pwconv2)


class ConvNeXtBlock(MixingBlock):
    """ConvNeXt V2 block on an image (B, H, W, C): the cells mix by a depthwise convolution."""

    def __init__(self, width: int, drop_path_rate: float = 0.0, kernel: int = 7) -> None:
        super().__init__(width, drop_path_rate)
        self.dwconv = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)

    def mix(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve each channel with its own kernel."""
        return channels_last(self.dwconv, x)


def channels_last(layer: nn.Module, x_BHWC: torch.Tensor) -> torch.Tensor:
    """Apply a convolution to (B, H, W, C); the permuted view costs no copy."""
    y: torch.Tensor = layer(x_BHWC.permute(0, 3, 1, 2))
    return y.permute(0, 2, 3, 1)


class FusionLayer(nn.Module):
    """A transformer encoder layer over the face tokens, with parameters named as in torch's own.

    Written out because torch's layer switches to a fused kernel in evaluation that cannot be
    exported.

    Parameters
    ----------
    width
        Token width D; a multiple of `n_heads`.
    feedforward
        Inner width.
    dropout
        Applied to attention weights, attention output and inside and after the feed-forward part.
    norm_first
        Normalize before each part, so that the residual stream itself is never normalized.
    """

    def __init__(
        self,
        width: int,
        feedforward: int,
        dropout: float,
        *,
        n_heads: int = 8,
        norm_first: bool = False,
    ) -> None:
        super().__init__()
        self.self_attn = SelfAttention(width, n_heads, dropout)
        self.linear1 = nn.Linear(width, feedforward)
        self.linear2 = nn.Linear(feedforward, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = nn.Dropout(dropout)
        self.norm_first = norm_first

    def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
        """Return tokens of the same shape."""
        if self.norm_first:
            x_BTD = x_BTD + self.dropout(self.self_attn(self.norm1(x_BTD)))
            return x_BTD + self._feedforward(self.norm2(x_BTD))
        x_BTD = self.norm1(x_BTD + self.dropout(self.self_attn(x_BTD)))
        y_BTD: torch.Tensor = self.norm2(x_BTD + self._feedforward(x_BTD))
        return y_BTD

    def _feedforward(self, x_BTD: torch.Tensor) -> torch.Tensor:
        inner = self.dropout(F.gelu(self.linear1(x_BTD)))
        y_BTD: torch.Tensor = self.dropout(self.linear2(inner))
        return y_BTD


class SelfAttention(nn.Module):
    """Multi-head attention of the tokens among themselves."""

    def __init__(self, width: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        self.n_heads = n_heads
        self.head_width = width // n_heads
        self.dropout = dropout
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
        """Return the attention output (B, T, D)."""
        projected = F.linear(x_BTD, self.in_proj_weight, self.in_proj_bias)
        heads = torch.unflatten(projected, 2, (3, self.n_heads, self.head_width))
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(dim=0)
        mixed = F.scaled_dot_product_attention(
            query, key, value, dropout_p=self.dropout if self.training else 0.0
        )
        y_BTD: torch.Tensor = self.out_proj(mixed.transpose(1, 2).flatten(2))
        return y_BTD


class Fusion(nn.Module):
    """A stack of fusion layers."""

    def __init__(
        self,
        width: int,
        n_layers: int,
        feedforward: int | None,
        dropout: float,
        *,
        norm_first: bool = False,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            FusionLayer(width, feedforward or 4 * width, dropout, norm_first=norm_first)
            for _ in range(n_layers)
        )

    def forward(self, x_BTD: torch.Tensor) -> torch.Tensor:
        """Return tokens of the same shape."""
        for layer in self.layers:
            x_BTD = layer(x_BTD)
        return x_BTD
