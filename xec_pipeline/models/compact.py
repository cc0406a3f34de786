"""An encoder that resolves well when small: every cell counts, and light moments are a token."""

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from xec_pipeline.config.model import EncoderConfig
from xec_pipeline.config.normalization import NormalizationConfig
from xec_pipeline.detector.layout import Layout
from xec_pipeline.detector.sensors import N_SIPM
from xec_pipeline.models.blocks import ConvNeXtBlock, Fusion, channels_last
from xec_pipeline.models.encoder_base import Encoder
from xec_pipeline.models.faces import FaceImages
from xec_pipeline.models.input_norm import InputNormalizer, Light
from xec_pipeline.models.moments import LightMoments
from xec_pipeline.models.window import BrightWindow

_N_PLANES = 3
"""What the network sees of a sensor: light, delay, whether it is dead."""
_LIGHT_UNIT = 1e-3
"""Share of the event's light that counts as one."""
_MAX_DELAY_NS = 5.0
_PATCH, _STRIDE, _PADDING = 6, 4, 1


class InnerNetwork(nn.Module):
    """The inner face: overlapping patches, ConvNeXt blocks, a projection that keeps the place.

    Parameters
    ----------
    shape
        Rows and columns of the image.
    width
        Channels of the patches; twice as many after the downsampling.
    out_width
        Width D of the token.
    drop_path_rate
        Skip probability of the blocks.
    """

    def __init__(
        self, shape: tuple[int, ...], width: int, out_width: int, drop_path_rate: float
    ) -> None:
        super().__init__()
        self.stem = nn.Conv2d(_N_PLANES, width, _PATCH, stride=_STRIDE, padding=_PADDING)
        self.stem_norm = nn.LayerNorm(width, eps=1e-6)
        self.stage1 = ConvNeXtBlock(width, drop_path_rate, kernel=5)
        self.down_norm = nn.LayerNorm(width, eps=1e-6)
        self.down = nn.Conv2d(width, 2 * width, kernel_size=2, stride=2)
        self.stage2 = ConvNeXtBlock(2 * width, drop_path_rate, kernel=5)
        rows, columns = (((size + 2 * _PADDING - _PATCH) // _STRIDE + 1) // 2 for size in shape)
        self.proj = nn.Linear(rows * columns * 2 * width, out_width)

    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        """Return the token (B, D)."""
        # Times need more digits than bfloat16 has.
        with torch.autocast(image_BCHW.device.type, enabled=False):
            x = self.stem_norm(self.stem(image_BCHW).permute(0, 2, 3, 1))
        x = channels_last(self.down, self.down_norm(self.stage1(x)))
        token_BD: torch.Tensor = self.proj(self.stage2(x).flatten(1))
        return token_BD


class Embedding(nn.Module):
    """A perceptron with one hidden layer and a linear way around it, from features to a token."""

    def __init__(self, n_features: int, hidden: int, out_width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(n_features, hidden)
        self.outer = nn.Linear(hidden, out_width)
        self.direct = nn.Linear(n_features, out_width, bias=False)

    def forward(self, features_BF: torch.Tensor) -> torch.Tensor:
        """Return the token (B, D), computed in float32."""
        with torch.autocast(features_BF.device.type, enabled=False):
            correction = self.outer(F.gelu(self.inner(features_BF)))
            token_BD: torch.Tensor = self.direct(features_BF) + correction
        return token_BD


class XecV2Encoder(Encoder):
    """Nine tokens: inner, us, ds, outer, top, bot, window, moments, and the moments unfused.

    The input is first read back to photons and nanoseconds. The faces then see, of each sensor, the
    root of its share of the event's light, its delay after subtracting the way of the light, and
    whether it is dead or hidden. The inner face goes through a small convolutional network; the PMT
    faces have few sensors and are embedded whole; the window is what lies around the brightest
    place. A transformer joins the tokens. The last token skips it, so that a head can pass the
    estimates on linearly and learn a small correction instead of the position in the detector.

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
    token_names = ("inner", "us", "ds", "outer", "top", "bot", "window", "moments", "estimates")

    def __init__(
        self, config: EncoderConfig, layout: Layout, normalization: NormalizationConfig
    ) -> None:
        super().__init__()
        width = self.width = config.encoder_dim
        self.normalizer = InputNormalizer(normalization)
        self.moments = LightMoments()
        self.window = BrightWindow(layout)
        outer = np.union1d(layout.outer_coarse, layout.outer_center)
        maps = {"us": layout.us, "ds": layout.ds, "outer": outer}
        maps |= {"top": layout.top, "bot": layout.bottom}
        self.faces = FaceImages({name: ids - N_SIPM for name, ids in maps.items()})
        self.inner = InnerNetwork(
            layout.inner.shape, max(16, width // 4), width, config.drop_path_rate
        )
        self.pmts = nn.ModuleDict(
            {name: Embedding(_N_PLANES * ids.size, width, width) for name, ids in maps.items()}
        )
        n_moments = LightMoments.n_features + BrightWindow.n_moments
        self.window_embedding = Embedding(_N_PLANES * BrightWindow.n_cells, 2 * width, width)
        self.moment_embedding = Embedding(n_moments, 2 * width, width)
        self.pos_embed = nn.Parameter(torch.empty(1, self.n_tokens - 1, width))
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
            estimates, planes_BCS, window = self._look(light)
        inner = torch.unflatten(planes_BCS[:, :, :N_SIPM], 2, self.window.shape)
        pmts_BSC = planes_BCS[:, :, N_SIPM:].transpose(1, 2)
        tokens = [self.inner(inner)]
        for name, embedding in self.pmts.items():
            tokens.append(embedding(self.faces.values(name, pmts_BSC).flatten(1)))
        tokens.append(self.window_embedding(window.flatten(1)))
        unfused = self.moment_embedding(estimates)
        stacked = torch.stack([*tokens, unfused], dim=1) + self.pos_embed
        fused = self.fusion_transformer(stacked)
        return torch.cat((fused, unfused[:, None].to(fused)), dim=1)

    def _look(self, light: Light) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Return estimates (B, F), planes of all sensors (B, C, S), and the window (B, C, 121)."""
        inner = light.npho[:, :N_SIPM]
        place = self.window.brightest(inner)
        moments = self.moments(light)
        estimates = torch.cat((moments.features, self.window.moments(inner, *place)), dim=1)
        total = light.npho.sum(dim=1, keepdim=True) + 1.0
        shape = torch.sqrt(light.npho / (total * _LIGHT_UNIT))
        delay = moments.delay_ns.clamp(-_MAX_DELAY_NS, _MAX_DELAY_NS)
        planes = torch.stack((shape, delay, 1.0 - light.alive), dim=1)
        return estimates, planes, self.window.cut(planes[:, :, :N_SIPM], *place)
