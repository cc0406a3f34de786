"""The masked autoencoder: an encoder and one decoder per face that predicts hidden sensors."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import nn

from xec_pipeline.config.mae import MaeRun
from xec_pipeline.detector.layout import Layout, layout_by_name
from xec_pipeline.models.decoders import (
    FaceDecoder,
    GraphFaceDecoder,
    OuterSensors,
    SplitOuterSensors,
)
from xec_pipeline.models.encoder import build_encoder
from xec_pipeline.models.encoder_base import Encoder
from xec_pipeline.models.places import cell_of_sensor, token_numbers


class DecoderConfig(NamedTuple):
    """Shape of the decoders.

    Attributes
    ----------
    width
        Channels inside.
    features
        What is predicted: npho, or npho and time.
    outer_pool
        Pooling of the encoder's outer face.
    """

    width: int
    features: tuple[str, ...]
    outer_pool: tuple[int, int] | None


class Sentinels(NamedTuple):
    """Values of a dead sensor and of an unusable time in the input."""

    npho: float
    time: float


class MaskedAutoencoder(nn.Module):
    """Predicts npho, and time if asked for, of all sensors from those that are not hidden.

    Each decoder reads the token of its own face. The hidden sensors are overwritten by the
    sentinels and, like dead ones, zeroed inside the encoder's faces. With the outer face split in
    two, its coarse grid and its centre have a decoder each.

    Parameters
    ----------
    encoder
        Makes tokens.
    layout
        Sensor maps, the same as the encoder's.
    decoders
        Shape of the decoders.
    sentinels
        Of the normalized input.
    learns_variances
        Hold a log-variance for each predicted feature, `channel_log_vars`.
    """

    def __init__(
        self,
        encoder: Encoder,
        layout: Layout,
        decoders: DecoderConfig,
        sentinels: Sentinels,
        *,
        learns_variances: bool = False,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.features = decoders.features
        self.channel_log_vars: nn.Parameter | None = None
        if learns_variances:
            self.channel_log_vars = nn.Parameter(torch.zeros(len(self.features)))
        self.outer_sensors: OuterSensors | SplitOuterSensors
        shapes = {"inner": layout.inner.shape, "us": layout.us.shape, "ds": layout.ds.shape}
        if "outer" in encoder.token_names:
            self.outer_sensors = OuterSensors(layout, decoders.outer_pool, self.features)
            shapes["outer"] = self.outer_sensors.shape
        else:
            self.outer_sensors = SplitOuterSensors(layout)
            shapes["outer"] = layout.outer_coarse.shape
            shapes["outer_center"] = layout.outer_center.shape
        self._tokens = {face: token_numbers(encoder, face) for face in (*shapes, "top", "bot")}
        sizes = (decoders.width, len(self.features))
        for face, shape in shapes.items():
            decoder = FaceDecoder(self._token_width(face), *sizes, shape)
            self.add_module(f"dec_{face}", decoder)
        for face in ("top", "bot"):
            graph = GraphFaceDecoder(self._token_width(face), *sizes, layout.hex_neighbours)
            self.add_module(f"dec_{face}", graph)
        self.sentinels: torch.Tensor
        self.places: torch.Tensor
        self.register_buffer("sentinels", torch.tensor(sentinels), persistent=False)
        self.register_buffer("places", cell_of_sensor(layout), persistent=False)

    def forward(self, x_BSC: torch.Tensor, is_hidden_BS: torch.Tensor) -> torch.Tensor:
        """Predict all sensors.

        Parameters
        ----------
        x_BSC
            Normalized npho and time (B, 4760, 2), complete.
        is_hidden_BS
            Boolean (B, 4760): sensors whose values must not be seen.

        Returns
        -------
        Tensor
            Normalized predictions (B, 4760, C), in the order of `features`.
        """
        return self.to_sensors(self.decode(self.encode(x_BSC, is_hidden_BS)))

    def masked(self, x_BSC: torch.Tensor, is_hidden_BS: torch.Tensor) -> torch.Tensor:
        """Return the input with the sentinels where hidden."""
        return torch.where(is_hidden_BS[..., None], self.sentinels.to(x_BSC), x_BSC)

    def encode(self, x_BSC: torch.Tensor, is_hidden_BS: torch.Tensor) -> torch.Tensor:
        """Return the tokens (B, T, D) of the visible sensors."""
        is_dead_BS = x_BSC[..., 0] == self.sentinels[0].to(x_BSC)
        return self.encoder.forward_features(
            self.masked(x_BSC, is_hidden_BS), is_hidden_BS | is_dead_BS
        )

    def decode(self, tokens_BTD: torch.Tensor) -> dict[str, torch.Tensor]:
        """Return by face the image (B, C, H, W), or the nodes (B, C, 73)."""
        images = {}
        for face, numbers in self._tokens.items():
            own_BD = torch.cat([tokens_BTD[:, number] for number in numbers], dim=1)
            images[face] = self.get_submodule(f"dec_{face}")(own_BD)
        return images

    def to_sensors(self, images: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return (B, 4760, C) from what `decode` returned."""
        outer = [images[name] for name in ("outer", "outer_center") if name in images]
        faces = [images[name].flatten(2) for name in ("inner", "us", "ds", "top", "bot")]
        cells_BCN = torch.cat((*faces, self.outer_sensors(*outer)), dim=2)
        return cells_BCN.index_select(2, self.places).transpose(1, 2)

    def _token_width(self, face: str) -> int:
        return self.encoder.width * len(self._tokens[face])


def build_mae(run: MaeRun) -> MaskedAutoencoder:
    """Return the untrained network of a run; initial weights come from torch's global generator."""
    layout = layout_by_name(run.model.layout)
    return MaskedAutoencoder(
        build_encoder(run.model, layout, run.normalization),
        layout,
        DecoderConfig(run.model.decoder_dim, run.model.predict_channels, run.model.outer_fine_pool),
        Sentinels(run.normalization.sentinel_npho, run.normalization.sentinel_time),
        learns_variances=run.training.auto_channel_weight,
    )


def encoder_state_dict(model: MaskedAutoencoder) -> dict[str, torch.Tensor]:
    """Return the encoder's weights on the CPU under the encoder's own names, for other trainings.

    Give the averaged model where there is one; a regressor holds the same names under `backbone.`.
    """
    return {
        name: tensor.detach().cpu().clone() for name, tensor in model.encoder.state_dict().items()
    }
