"""Encoders by name, and the public architecture among them."""

import torch
import torch.nn.functional as F
from torch import nn

from xec_pipeline.config.model import EncoderConfig
from xec_pipeline.config.normalization import NormalizationConfig
from xec_pipeline.detector.layout import Layout
from xec_pipeline.models.blocks import ConvNeXtBlock, Fusion, channels_last
from xec_pipeline.models.compact import XecV2Encoder
from xec_pipeline.models.encoder_base import Encoder
from xec_pipeline.models.faces import FaceImages, OuterFineGrid
from xec_pipeline.models.hexnext import HexEncoder

_RESIZED = (4, 4)
"""Cells of the last feature map of every rectangular face that reach its token."""
_FINE_GRID_TOKENS = ("inner", "us", "ds", "outer", "top", "bot")
_SPLIT_TOKENS = ("inner", "outer_coarse", "outer_center", "us", "ds", "top", "bot")


class FaceBackbone(nn.Module):
    """The convolutional network that all rectangular faces share: (B, H, W, 2) to (B, 16 W2).

    Parameters
    ----------
    width
        Channels after the stem; twice as many after the downsampling.
    drop_path_rate
        Skip probability of every block.
    """

    def __init__(self, width: int, drop_path_rate: float) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(2, width, kernel_size=4, padding=1), nn.LayerNorm(width, eps=1e-6)
        )
        self.stage1 = nn.ModuleList(ConvNeXtBlock(width, drop_path_rate) for _ in range(2))
        self.downsample = nn.Sequential(
            nn.LayerNorm(width, eps=1e-6), nn.Conv2d(width, 2 * width, kernel_size=2, stride=2)
        )
        self.stage2 = nn.ModuleList(ConvNeXtBlock(2 * width, drop_path_rate) for _ in range(3))

    def forward(self, x_BHWC: torch.Tensor, hidden_BHW: torch.Tensor | None = None) -> torch.Tensor:
        """Return the face's token, channel-major; hidden cells are zeroed before and inside."""
        hidden = None if hidden_BHW is None else hidden_BHW[:, None].to(x_BHWC)
        if hidden is not None:
            x_BHWC = x_BHWC * (1.0 - hidden).permute(0, 2, 3, 1)
        # Times need more digits than bfloat16 has.
        with torch.autocast(x_BHWC.device.type, enabled=False):
            x = self.stem[1](channels_last(self.stem[0], x_BHWC))
        x = _run(self.stage1, x, hidden)
        x = channels_last(self.downsample[1], self.downsample[0](x))
        x = _run(self.stage2, x, hidden)
        cells = F.interpolate(
            x.permute(0, 3, 1, 2), size=_RESIZED, mode="bilinear", align_corners=False
        )
        return cells.flatten(1)


class XecV1Encoder(Encoder):
    """The public architecture: one CNN for the rectangular faces, one graph network for the others.

    Six tokens (inner, us, ds, outer, top, bot), or seven with the outer face split in two (inner,
    outer_coarse, outer_center, us, ds, top, bot), plus learned positions, joined by a transformer.
    The mathematics is that of the published network; the order of operations is chosen for speed.
    Fusion layers start from independent random weights.

    Parameters
    ----------
    config
        Widths and depths.
    layout
        Sensor maps.
    sentinel_time
        Value that marks an unusable time.
    """

    def __init__(self, config: EncoderConfig, layout: Layout, sentinel_time: float) -> None:
        super().__init__()
        self.width = config.encoder_dim
        self.split = config.outer_mode == "split"
        self.token_names = _SPLIT_TOKENS if self.split else _FINE_GRID_TOKENS
        maps = {"inner": layout.inner, "us": layout.us, "ds": layout.ds}
        maps |= {"top": layout.top, "bot": layout.bottom}
        if self.split:
            maps |= {"outer_coarse": layout.outer_coarse, "outer_center": layout.outer_center}
        else:
            self.outer = OuterFineGrid(layout, config.outer_fine_pool, sentinel_time)
        self.faces = FaceImages(maps)
        self.backbone = FaceBackbone(self.width // 32, config.drop_path_rate)
        self.hex_encoder = HexEncoder(
            layout.hex_neighbours, config.hex_dim, self.width, drop_path_rate=config.drop_path_rate
        )
        self.pos_embed = nn.Parameter(torch.empty(1, self.n_tokens, self.width))
        nn.init.trunc_normal_(self.pos_embed, std=0.02)
        self.fusion_transformer = Fusion(
            self.width, config.num_fusion_layers, config.dim_feedforward, config.dropout
        )

    def forward_features(
        self, x_BSC: torch.Tensor, is_hidden_BS: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Encode events; see `Encoder.forward_features`."""
        inner = self._image("inner", x_BSC, is_hidden_BS)
        us, ds = self._pair("us", "ds", self.backbone, x_BSC, is_hidden_BS)
        top, bottom = self._pair("top", "bot", self.hex_encoder, x_BSC, is_hidden_BS)
        if self.split:
            coarse = self._image("outer_coarse", x_BSC, is_hidden_BS)
            center = self._image("outer_center", x_BSC, is_hidden_BS)
            tokens = [inner, coarse, center, us, ds, top, bottom]
        else:
            outer = self.backbone(self.outer.values(x_BSC), self.outer.hidden(is_hidden_BS))
            tokens = [inner, us, ds, outer, top, bottom]
        fused: torch.Tensor = self.fusion_transformer(torch.stack(tokens, dim=1) + self.pos_embed)
        return fused

    def _image(
        self, name: str, x_BSC: torch.Tensor, is_hidden_BS: torch.Tensor | None
    ) -> torch.Tensor:
        token: torch.Tensor = self.backbone(
            self.faces.values(name, x_BSC), self.faces.hidden(name, is_hidden_BS)
        )
        return token

    def _pair(
        self,
        first: str,
        second: str,
        network: nn.Module,
        x_BSC: torch.Tensor,
        is_hidden_BS: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Encode two faces of equal shape in one call, stacked along the batch."""
        values = torch.cat([self.faces.values(name, x_BSC) for name in (first, second)])
        masks = [self.faces.hidden(name, is_hidden_BS) for name in (first, second)]
        present = [mask for mask in masks if mask is not None]
        tokens = network(values, torch.cat(present) if present else None)
        one, other = torch.unflatten(tokens, 0, (2, -1)).unbind(dim=0)
        return one, other


def build_encoder(
    config: EncoderConfig, layout: Layout, normalization: NormalizationConfig
) -> Encoder:
    """Return the encoder that `config.encoder` names.

    Parameters
    ----------
    config
        Which encoder, and its sizes.
    layout
        Sensor maps; must be the one that `config.layout` names when weights are loaded.
    normalization
        How inputs were made; encoders need the sentinels, some also the way back to photons.
    """
    if config.encoder == "xec_v1":
        return XecV1Encoder(config, layout, normalization.sentinel_time)
    return XecV2Encoder(config, layout, normalization)


def _run(blocks: nn.ModuleList, x: torch.Tensor, hidden: torch.Tensor | None) -> torch.Tensor:
    """Apply blocks; the full-resolution mask is resized to their grid by nearest neighbour."""
    visible = None
    if hidden is not None:
        resized = F.interpolate(hidden, size=x.shape[1:3], mode="nearest")
        visible = (1.0 - resized).permute(0, 2, 3, 1)
    for block in blocks:
        x = block(x, visible)
    return x
