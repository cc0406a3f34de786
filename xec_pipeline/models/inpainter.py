"""The inpainter: an encoder and heads that predict hidden and dead sensors from visible ones."""

import abc

import torch
from torch import nn

from xec_pipeline.config.inpainter import InpainterModelConfig, InpainterRun
from xec_pipeline.config.normalization import NormalizationConfig
from xec_pipeline.detector.layout import Layout, layout_by_name, outer_fine_map
from xec_pipeline.models.cross_attention import CrossAttentionHead, MaskedEvents
from xec_pipeline.models.encoder import build_encoder
from xec_pipeline.models.encoder_base import Encoder
from xec_pipeline.models.faces import FaceImages, OuterFineGrid
from xec_pipeline.models.inpainter_attention import FaceAttentionHead, GraphAttentionHead
from xec_pipeline.models.inpainter_heads import (
    FaceHead,
    FaceView,
    GraphHead,
    HeadSizes,
    OuterHead,
)
from xec_pipeline.models.places import cell_of_sensor, token_numbers
from xec_pipeline.models.relative_light import RelativeHead
from xec_pipeline.models.split_outer import split_outer_cells


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
    cells; otherwise it is never pooled, so that no two sensors share all their cells, and a cell
    has the value of its sensor.

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
        grids = {"inner": layout.inner, "us": layout.us, "ds": layout.ds}
        self.is_split = "outer" not in encoder.token_names
        if self.is_split:
            grids |= {"outer": layout.outer_coarse, "outer_center": layout.outer_center}
        graphs = {"top": layout.top, "bot": layout.bottom}
        self.faces = FaceImages(grids | graphs)
        self._tokens = {face: token_numbers(encoder, face) for face in (*grids, *graphs, "outer")}
        for face, ids in grids.items():
            self.add_module(f"head_{face}", self._grid_head(face, config, ids.shape))
        for face in graphs:
            self.add_module(f"head_{face}", self._graph_head(face, config, layout))
        self.outer_cells: torch.Tensor
        if self.is_split:
            self.register_buffer("outer_cells", split_outer_cells(layout), persistent=False)
        else:
            self._add_fine_grid(config, normalization, layout)
        self.places: torch.Tensor
        self.register_buffer("places", cell_of_sensor(layout), persistent=False)

    def predict(self, tokens_BTD: torch.Tensor, events: MaskedEvents) -> torch.Tensor:
        """Return predictions (B, 4760, C); heads that attend leave 0 where nothing is hidden."""
        by_face = [self._predicted(face, tokens_BTD, events) for face in _FACES]
        cells_BCN = torch.cat((*by_face, self._outer(tokens_BTD, events)), dim=2)
        return cells_BCN.index_select(2, self.places).transpose(1, 2)
