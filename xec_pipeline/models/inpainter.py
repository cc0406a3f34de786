"""The inpainter: an encoder and heads that predict hidden and dead sensors from visible ones."""

import abc
from typing import NamedTuple

import torch
from torch import nn

from xec_pipeline.config.inpainter import InpainterModelConfig, InpainterRun
from xec_pipeline.config.normalization import NormalizationConfig
from xec_pipeline.detector.layout import Layout, layout_by_name, outer_fine_map
from xec_pipeline.models.cross_attention import CrossAttentionHead, MaskedEvents
from xec_pipeline.models.decoders import SplitOuterSensors
from xec_pipeline.models.encoder import build_encoder
from xec_pipeline.models.encoder_base import Encoder
from xec_pipeline.models.faces import FaceImages, OuterFineGrid
from xec_pipeline.models.inpainter_attention import FaceAttentionHead, GraphAttentionHead
from xec_pipeline.models.inpainter_heads import (
    FaceHead,
    FaceView,
    GraphHead,
    HeadKind,
    HeadSizes,
    OuterHead,
)
from xec_pipeline.models.places import cell_of_sensor, token_numbers
from xec_pipeline.models.relative_light import RelativeHead


class Inpainter(nn.Module, abc.ABC):
    """Predicts npho, and time if asked for, of hidden sensors from those that are not hidden.

    Hidden sensors are overwritten by the sentinels and, like dead ones, zeroed inside the encoder.
    Dead sensors are predicted as well where they are marked as hidden. Whether a sensor has a time
    plays no part in that.

    Parameters
    ----------
    encoder
        Makes tokens.
    config
        What is predicted; whether the encoder stays as it is. A frozen one is always in evaluation
        mode.
    normalization
        Of the input.

    Attributes
    ----------
    features
        What is predicted, in the order of the outputs.
    """

    def __init__(
        self,
        encoder: Encoder,
        config: InpainterModelConfig,
        normalization: NormalizationConfig,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.features: tuple[str, ...] = config.predict_channels
        self.is_frozen = config.freeze_encoder
        self.sentinels: torch.Tensor
        sentinels = torch.tensor([normalization.sentinel_npho, normalization.sentinel_time])
        self.register_buffer("sentinels", sentinels, persistent=False)
        if self.is_frozen:
            encoder.requires_grad_(requires_grad=False).eval()

    def forward(self, x_BSC: torch.Tensor, is_hidden_BS: torch.Tensor) -> torch.Tensor:
        """Predict hidden sensors.

        Parameters
        ----------
        x_BSC
            Normalized npho and time (B, 4760, 2), complete.
        is_hidden_BS
            Boolean (B, 4760): sensors to predict, whose values are not seen.

        Returns
        -------
        Tensor
            Normalized predictions (B, 4760, C), in the order of `features`. They have a meaning
            where hidden only.
        """
        is_dead_BS = x_BSC[..., 0] == self.sentinels[0].to(x_BSC)
        events = MaskedEvents(
            self.masked(x_BSC, is_hidden_BS), is_hidden_BS, is_hidden_BS | is_dead_BS
        )
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.is_frozen):
            tokens_BTD = self.encoder.forward_features(events.values, events.is_blind)
        return self.predict(tokens_BTD, events)

    def masked(self, x_BSC: torch.Tensor, is_hidden_BS: torch.Tensor) -> torch.Tensor:
        """Return the input with the sentinels where hidden."""
        return torch.where(is_hidden_BS[..., None], self.sentinels.to(x_BSC), x_BSC)

    @abc.abstractmethod
    def predict(self, tokens_BTD: torch.Tensor, events: MaskedEvents) -> torch.Tensor:
        """Return predictions (B, 4760, C) from the tokens and the masked input."""

    def train(self, mode: bool = True) -> "Inpainter":  # noqa: FBT001, FBT002 (as torch has it)
        """Set the mode of the heads, and of the encoder unless it is frozen."""
        super().train(mode)
        if self.is_frozen:
            self.encoder.eval()
        return self


class UnifiedInpainter(Inpainter):
    """An inpainter with one head for all sensors.

    Parameters
    ----------
    encoder, config, normalization
        As for `Inpainter`; `config.relative_values` selects the head.
    """

    def __init__(
        self,
        encoder: Encoder,
        config: InpainterModelConfig,
        normalization: NormalizationConfig,
    ) -> None:
        super().__init__(encoder, config, normalization)
        self.cross_attn_head: CrossAttentionHead | RelativeHead
        if config.relative_values:
            self.cross_attn_head = RelativeHead(encoder, config, normalization)
        else:
            self.cross_attn_head = CrossAttentionHead(encoder, config)

    def predict(self, tokens_BTD: torch.Tensor, events: MaskedEvents) -> torch.Tensor:
        """Return predictions (B, 4760, C) of hidden sensors, 0 elsewhere."""
        predicted: torch.Tensor = self.cross_attn_head(tokens_BTD, events)
        return predicted


class FaceInpainter(Inpainter):
    """An inpainter with a head for each face.

    The outer face is one fine grid, or its coarse grid and its dense centre with a head each. With
    the LEGACY layout the fine grid is what the encoder sees, pooled and with npho shared among the
    cells, and the coarse grid tells about all its sensors. Otherwise the fine grid is never pooled,
    so that no two sensors have the same cells, each with the value of its sensor.

    Parameters
    ----------
    encoder, config, normalization
        As for `Inpainter`.
    layout
        Sensor maps, the same as the encoder's.
    """

    def __init__(
        self,
        encoder: Encoder,
        config: InpainterModelConfig,
        normalization: NormalizationConfig,
        layout: Layout,
    ) -> None:
        super().__init__(encoder, config, normalization)
        is_legacy = layout.name == "legacy"
        maps = {"inner": layout.inner, "us": layout.us, "ds": layout.ds}
        maps |= {"top": layout.top, "bot": layout.bottom}
        self.shared_grid: OuterFineGrid | None = None
        self.split_outer: SplitOuterSensors | None = None
        if "outer" in encoder.token_names:
            maps["outer"] = outer_fine_map(layout).ids
            pool = (config.outer_fine_pool if is_legacy else None) or (1, 1)
            if is_legacy:
                self.shared_grid = OuterFineGrid(layout, pool, normalization.sentinel_time)
        else:
            pool = (1, 1)
            maps |= {"outer": layout.outer_coarse, "outer_center": layout.outer_center}
            self.split_outer = SplitOuterSensors(layout, prefers_center=not is_legacy)
        self.faces = FaceImages(maps)
        self._tokens = {face: token_numbers(encoder, face) for face in maps}
        self.heads = {face: f"head_{face}" for face in maps}
        if self.split_outer is None:
            self.heads["outer"] += "_sensor"
        for face, ids in maps.items():
            token_width = encoder.width * len(self._tokens[face])
            build = _HeadBuilder(config, layout, token_width)
            self.add_module(self.heads[face], build(self.heads[face], ids.shape, pool))
        self.places: torch.Tensor
        self.register_buffer("places", cell_of_sensor(layout), persistent=False)

    def predict(self, tokens_BTD: torch.Tensor, events: MaskedEvents) -> torch.Tensor:
        """Return predictions (B, 4760, C); heads that attend leave 0 where nothing is hidden."""
        found = {face: self._predicted(face, tokens_BTD, events) for face in self.heads}
        outer = found["outer"]
        if self.split_outer is not None:
            outer = self.split_outer(outer, found["outer_center"])
        cells = [*(found[face] for face in ("inner", "us", "ds", "top", "bot")), outer]
        return torch.cat(cells, dim=2).index_select(2, self.places).transpose(1, 2)

    def _predicted(self, face: str, tokens_BTD: torch.Tensor, events: MaskedEvents) -> torch.Tensor:
        own_BD = torch.cat([tokens_BTD[:, number] for number in self._tokens[face]], dim=1)
        flags = torch.stack((events.is_hidden, events.is_blind), dim=2)
        is_hidden, is_blind = self.faces.values(face, flags).unbind(dim=-1)
        values = self.faces.values(face, events.values)
        if face == "outer" and self.shared_grid is not None:
            values = self.shared_grid.values(events.values)
        head = self.get_submodule(self.heads[face])
        predicted: torch.Tensor = head(own_BD, FaceView(values, is_hidden, is_blind))
        return predicted


class _HeadBuilder(NamedTuple):
    """Makes the heads of the faces."""

    config: InpainterModelConfig
    layout: Layout
    token_width: int

    def __call__(self, name: str, shape: tuple[int, ...], pool: tuple[int, int]) -> nn.Module:
        """Return the head called `name` of a face of that shape."""
        config, n_outputs = self.config, len(self.config.predict_channels)
        is_graph = len(shape) == 1
        width = config.hex_head_width if is_graph else config.head_width
        sizes = HeadSizes(self.token_width, width, n_outputs)
        kind = HeadKind(config.use_local_context, self.layout.name != "legacy")
        if name == "head_outer_sensor":
            return OuterHead(sizes, self.layout, pool, kind)
        if is_graph and config.use_masked_attention:
            return GraphAttentionHead(sizes, self.layout.hex_neighbours)
        if is_graph:
            return GraphHead(sizes, self.layout.hex_neighbours, kind)
        if config.use_masked_attention:
            return FaceAttentionHead(sizes, shape)
        return FaceHead(sizes, shape, kind)


def build_inpainter(run: InpainterRun) -> Inpainter:
    """Return the untrained network of a run; initial weights come from torch's global generator."""
    config, layout = run.model, layout_by_name(run.model.layout)
    encoder = build_encoder(config, layout, run.normalization)
    if config.head_type == "cross_attention":
        return UnifiedInpainter(encoder, config, run.normalization)
    return FaceInpainter(encoder, config, run.normalization, layout)
