"""One head of the inpainter for all sensors: it attends to the nearest sensors and to the tokens.

Names of the weights are those of the public architecture, whose mathematics `CrossAttentionHead`
has. What does not depend on the hidden sensor is computed once: keys and values of the tokens for
each event, projections of places for each sensor of the detector.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from xec_pipeline.config.inpainter import InpainterModelConfig
from xec_pipeline.detector.faces import FACE_NAMES, face_of_sensor
from xec_pipeline.detector.geometry import ideal_geometry
from xec_pipeline.detector.neighbours import nearest_neighbours
from xec_pipeline.models.encoder_base import Encoder
from xec_pipeline.models.inpainter_attention import picked, visible_softmax
from xec_pipeline.models.inpainter_heads import last_in_full
from xec_pipeline.models.places import HiddenPlaces, hidden_places, scattered

N_INPUTS: Final = 2
"""npho and time."""
TABLES: Final = ("knn_indices", "pos_embed")
"""What the head keeps in its state dictionary beside weights: constants of the detector."""

_FACE_WIDTH: Final = 32
_N_HEADS: Final = 4
_LONGEST_CM: Final = 200.0
"""Wavelength of the slowest sine in the position code: the detector fits into it."""
_SHORTEST_CM: Final = 3.1
"""Wavelength of the fastest: two pitches of the densest face; faster ones would be noise."""


class MaskedEvents(NamedTuple):
    """Input of B events in which sensors are hidden.

    Attributes
    ----------
    values
        (B, 4760, 2), overwritten by sentinels where hidden.
    is_hidden
        (B, 4760): what has to be predicted.
    is_blind
        (B, 4760): hidden, or dead.
    """

    values: torch.Tensor
    is_hidden: torch.Tensor
    is_blind: torch.Tensor


class TokenAttention(nn.Module):
    """What hidden sensors learn from the tokens; the part that all unified heads share.

    The code of a sensor is its position code and an embedding of its face, 32 wide. Tokens that
    are not of one face have embeddings of their own.

    Parameters
    ----------
    encoder
        Makes the tokens.
    config
        Sizes, and by its layout the position code.

    Notes
    -----
    `pos_embed` and `knn_indices` are stored with the weights: networks imported from elsewhere need
    exactly the numbers they were trained with. Their position code (LEGACY layout) doubles the
    frequency from band to band, from the sixth on beyond what the sensors can sample; these bands
    act as fixed random numbers.
    """

    def __init__(self, encoder: Encoder, config: InpainterModelConfig) -> None:
        super().__init__()
        geometry = ideal_geometry()
        neighbours, _ = nearest_neighbours(geometry, config.cross_attn_k)
        code = position_code(
            geometry.position_cm, config.cross_attn_pos_dim, is_legacy=config.layout == "legacy"
        )
        kinds = token_kinds(encoder)
        self.knn_indices: torch.Tensor
        self.pos_embed: torch.Tensor
        self.face_ids: torch.Tensor
        self.token_face_ids: torch.Tensor
        self.register_buffer("knn_indices", torch.as_tensor(neighbours))
        self.register_buffer("pos_embed", torch.tensor(code, dtype=torch.float32))
        faces = torch.as_tensor(face_of_sensor().astype(np.int64))
        self.register_buffer("face_ids", faces, persistent=False)
        self.register_buffer("token_face_ids", torch.tensor(kinds), persistent=False)
        self.code_width = config.cross_attn_pos_dim + _FACE_WIDTH
        width = config.cross_attn_latent_dim
        self.face_embedding = nn.Embedding(
            max(len(FACE_NAMES), *(k + 1 for k in kinds)), _FACE_WIDTH
        )
        self.latent_proj = nn.Linear(encoder.width, width)
        self.latent_face_proj = nn.Linear(_FACE_WIDTH, width)
        self.query_proj_global = nn.Linear(self.code_width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.global_out_proj = nn.Linear(width, width)

    def codes(self) -> torch.Tensor:
        """Return the codes of all sensors (4760, P)."""
        return torch.cat((self.pos_embed, self.face_embedding(self.face_ids)), dim=1)

    def from_tokens(
        self, tokens_BTD: torch.Tensor, codes_SP: torch.Tensor, places: HiddenPlaces
    ) -> torch.Tensor:
        """Return what the hidden sensors learn from the tokens, (B, M, width)."""
        kinds = self.latent_face_proj(self.face_embedding(self.token_face_ids))
        latents_BTC = self.latent_proj(tokens_BTD) + kinds
        query = _heads(F.embedding(places.ids, self.query_proj_global(codes_SP)))
        key, value = _heads(self.k_proj(latents_BTC)), _heads(self.v_proj(latents_BTC))
        mixed = F.scaled_dot_product_attention(query, key, value)
        found_BMC: torch.Tensor = self.global_out_proj(mixed.transpose(1, 2).flatten(2))
        return found_BMC


class CrossAttentionHead(TokenAttention):
    """Attention to the visible ones among the nearest sensors, attention to the tokens, perceptron.

    Parameters
    ----------
    encoder, config
        As for `TokenAttention`.
    """

    def __init__(self, encoder: Encoder, config: InpainterModelConfig) -> None:
        super().__init__(encoder, config)
        hidden, width = config.cross_attn_hidden, config.cross_attn_latent_dim
        self.neighbor_proj = nn.Linear(N_INPUTS + self.code_width, hidden)
        self.query_proj_local = nn.Linear(self.code_width, hidden)
        self.no_neighbour = nn.Parameter(torch.zeros(hidden))
        self.pred_mlp = nn.Sequential(
            nn.LayerNorm(hidden + width),
            nn.Linear(hidden + width, hidden),
            nn.GELU(),
            nn.Linear(hidden, len(config.predict_channels)),
        )

    def forward(self, tokens_BTD: torch.Tensor, events: MaskedEvents) -> torch.Tensor:
        """Return predictions (B, 4760, C) of hidden sensors, 0 elsewhere."""
        places = hidden_places(events.is_hidden)
        codes = self.codes()
        # Times need more digits than bfloat16 has.
        with torch.autocast(tokens_BTD.device.type, enabled=False):
            nearby_BMC = self._from_neighbours(events, codes.to(events.values), places)
        tokens = self.from_tokens(tokens_BTD, codes, places)
        joined = torch.cat((nearby_BMC, tokens.to(nearby_BMC)), dim=2)
        return scattered(last_in_full(self.pred_mlp, joined), places)

    def _from_neighbours(
        self, events: MaskedEvents, codes_SP: torch.Tensor, places: HiddenPlaces
    ) -> torch.Tensor:
        """Return the mean of the visible neighbours' vectors (B, M, C).

        A neighbour's vector W x + P has a part P that only depends on which sensor it is, and so
        its weight exp(q (W x + P)) follows from a table over pairs of neighbours.

        Rows are looked up with `embedding`: the gradient of an index adds up in an order that
        depends on the threads, and a training would not end twice with the same weights.
        """
        weight = self.neighbor_proj.weight
        own, places_part = weight[:, :N_INPUTS], weight[:, N_INPUTS:]
        fixed_SC = F.linear(codes_SP, places_part, self.neighbor_proj.bias)
        query_SC = self.query_proj_local(codes_SP) / fixed_SC.shape[1] ** 0.5
        fixed_SK = torch.einsum("sc,skc->sk", query_SC, F.embedding(self.knn_indices, fixed_SC))
        slope_SX = query_SC @ own
        ids_BM, nearest_BMK = places.ids, self.knn_indices[places.ids]
        values_BMKX = picked(events.values, nearest_BMK)
        slope_BMX = F.embedding(ids_BM, slope_SX)
        logits = F.embedding(ids_BM, fixed_SK) + (values_BMKX * slope_BMX[:, :, None]).sum(dim=3)
        weights = visible_softmax(logits, ~picked(events.is_blind, nearest_BMK))[..., None]
        mean_values = (weights * values_BMKX).sum(dim=2)
        mean_fixed = (weights * F.embedding(nearest_BMK, fixed_SC)).sum(dim=2)
        has_any = (weights > 0).any(dim=2)
        return torch.where(has_any, F.linear(mean_values, own) + mean_fixed, self.no_neighbour)


def position_code(
    position_cm: npt.NDArray[np.float64], width: int, *, is_legacy: bool
) -> npt.NDArray[np.float64]:
    """Return sines and cosines of positions.

    Parameters
    ----------
    position_cm
        (N, 3).
    width
        Of the code; a multiple of 6.
    is_legacy
        Double the frequency from band to band, beyond what the sensors can sample.

    Returns
    -------
    ndarray
        (N, width): for x, then y, then z, all sines and then all cosines from slow to fast.
    """
    band = np.arange(width // 6)
    growth = 2.0
    if not is_legacy:
        growth = (_LONGEST_CM / _SHORTEST_CM) ** (1 / max(1, len(band) - 1))
    phase = position_cm[:, :, None] * (2 * np.pi / _LONGEST_CM) * growth**band
    return np.concatenate((np.sin(phase), np.cos(phase)), axis=2).reshape(len(position_cm), width)


def token_kinds(encoder: Encoder) -> list[int]:
    """Return for each token the code of its face, or a number of its own from 6 on."""
    codes = {name: int(face) for face, name in FACE_NAMES.items()}
    codes |= {"outer_coarse": codes["outer"], "outer_center": codes["outer"]}
    for name in encoder.token_names:
        codes.setdefault(name, max(codes.values()) + 1)
    return [codes[name] for name in encoder.token_names]


def _heads(x_BNC: torch.Tensor) -> torch.Tensor:
    """Return (B, heads, N, C / heads)."""
    return torch.unflatten(x_BNC, 2, (_N_HEADS, -1)).transpose(1, 2)
