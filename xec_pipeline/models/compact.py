"""An encoder that resolves well when small: every cell counts, and light moments are a token."""

import numpy as np
import torch
from torch import nn

from xec_pipeline.config.model import ModelConfig
from xec_pipeline.config.normalization import NormalizationConfig
from xec_pipeline.detector.layout import Layout
from xec_pipeline.models.blocks import ConvNeXtBlock, Fusion, channels_last
from xec_pipeline.models.encoder import Encoder
from xec_pipeline.models.faces import FaceImages
from xec_pipeline.models.input_norm import InputNormalizer
from xec_pipeline.models.moments import BrightWindow, LightMoments

_LIGHT_UNIT = 1e-3
"""Share of the event's light that counts as one in the shape images."""


class InnerNetwork(nn.Module):
    """The inner face: overlapping patches, ConvNeXt blocks, a projection that keeps the place.

    Parameters
    ----------
    shape
        Rows and columns of the image.
    n_channels
        Planes of the image.
    width
        Channels of the patches; twice as many after the downsampling.
    out_width
        Width D of the token.
    drop_path_rate
        Skip probability of the blocks.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        n_channels: int,
        width: int,
        out_width: int,
        drop_path_rate: float,
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(n_channels, width, kernel_size=6, stride=4, padding=1)
        self.stem_norm = nn.LayerNorm(width, eps=1e-6)
        self.stage1 = nn.ModuleList(
            ConvNeXtBlock(width, drop_path_rate, kernel=5) for _ in range(1)
        )
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.down = nn.Conv2d(width, 2 * width, kernel_size=2, stride=2)
        self.stage2 = nn.ModuleList(
            ConvNeXtBlock(2 * width, drop_path_rate, kernel=5) for _ in range(1)
        )
        rows, columns = (((size + 2 - 6) // 4 + 1) // 2 for size in shape)
        self.proj = nn.Linear(rows * columns * 2 * width, out_width)

    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        """Return the token (B, D)."""
        # Times need more digits than bfloat16 has.
        with torch.autocast(image_BCHW.device.type, enabled=False):
            x = self.stem_norm(self.stem(image_BCHW).permute(0, 2, 3, 1))
        for block in self.stage1:
            x = block(x)
        x = channels_last(self.down, self.norm(x))
        for block in self.stage2:
            x = block(x)
        token: torch.Tensor = self.proj(x.flatten(1))
        return token


class Embedding(nn.Module):
    """A perceptron with one hidden layer plus a linear way around it, from features to a token."""

    def __init__(self, n_features: int, hidden: int, out_width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(n_features, hidden)
        self.outer = nn.Linear(hidden, out_width)
        self.direct = nn.Linear(n_features, out_width, bias=False)

    def forward(self, features_BF: torch.Tensor) -> torch.Tensor:
        """Return the token (B, D); computed in float32."""
        with torch.autocast(features_BF.device.type, enabled=False):
            hidden = nn.functional.gelu(self.inner(features_BF))
            token: torch.Tensor = self.outer(hidden) + self.direct(features_BF)
        return token


class XecV2Encoder(Encoder):
    """Eight tokens: inner, us, ds, outer, top, bot, window, moments.

    The input is first read back to photons and nanoseconds; faces see the shape of the light
    (square root of each sensor's share of the event), delays after subtracting the way of the
    light, and which sensors are alive. The PMT faces have few sensors and are embedded whole.
    `outer_mode`, `outer_fine_pool` and `hex_dim` belong to xec_v1 and have no meaning here.

    Parameters
    ----------
    config
        Widths and depths.
    layout
        Sensor maps.
    normalization
        How the inputs were made.
    """

    keeps_estimates = True
    n_tokens = 8

    def __init__(
        self, config: ModelConfig, layout: Layout, normalization: NormalizationConfig
    ) -> None:
        super().__init__()
        width = self.width = config.encoder_dim
        self.normalizer = InputNormalizer(normalization)
        self.moments = LightMoments()
        self.window = BrightWindow(layout)
        outer = np.union1d(layout.outer_coarse, layout.outer_center)
        self.pmt_faces = {"us": layout.us, "ds": layout.ds, "outer": outer}
        self.pmt_faces |= {"top": layout.top, "bot": layout.bottom}
        self.faces = FaceImages(self.pmt_faces)
        rows, columns = layout.inner.shape
        self.n_inner = rows * columns
        self.inner = InnerNetwork(
            (rows, columns), 3, max(16, width // 4), width, config.drop_path_rate
        )
        self.pmts = nn.ModuleDict(
            {name: Embedding(3 * ids.size, width, width) for name, ids in self.pmt_faces.items()}
        )
        self.window_embedding = Embedding(3 * BrightWindow.n_cells + 2, 2 * width, width)
        self.moment_embedding = Embedding(LightMoments.n_features, 2 * width, width)
        self.pos_embed = nn.Parameter(torch.empty(1, self.n_tokens, width))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.fusion_transformer = Fusion(
            width,
            config.num_fusion_layers,
            config.dim_feedforward,
            config.dropout,
            norm_first=True,
        )

    def forward_features(
        self, x_BSC: torch.Tensor, is_hidden_BS: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Encode events; see `Encoder.forward_features`."""
        with torch.autocast(x_BSC.device.type, enabled=False):
            light = self.normalizer.light(x_BSC, is_hidden_BS)
            moments = self.moments(light)
            total = light.npho.sum(dim=1, keepdim=True) + 1.0
            shape = torch.sqrt(light.npho / (total * _LIGHT_UNIT))
            delay = moments.delay_ns.clamp(-5.0, 5.0)
            planes = torch.stack((shape, delay, 1.0 - light.alive), dim=1)
        inner = planes[:, :, : self.n_inner]
        tokens = [self.inner(torch.unflatten(inner, 2, (self.window.rows, self.window.columns)))]
        flat = planes.transpose(1, 2)
        for name, embedding in self.pmts.items():
            tokens.append(embedding(self.faces.values(name, flat).flatten(1)))
        tokens.append(self._window_token(light.npho, inner))
        tokens.append(self.moment_embedding(moments.features))
        fused: torch.Tensor = self.fusion_transformer(torch.stack(tokens, dim=1) + self.pos_embed)
        return fused

    def _window_token(self, npho_BS: torch.Tensor, inner_BCN: torch.Tensor) -> torch.Tensor:
        row, column = self.window.brightest(npho_BS[:, : self.n_inner])
        cells = self.window.cut(inner_BCN, row, column)
        place = torch.stack(
            (row / self.window.rows - 0.5, column / self.window.columns - 0.5), dim=1
        )
        token: torch.Tensor = self.window_embedding(
            torch.cat((cells.flatten(1), place.to(cells)), dim=1)
        )
        return token
