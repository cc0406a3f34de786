"""A unified head that predicts the light of a hidden sensor relative to that of its neighbours.

Photon counts span four decades, while their ratio to the mean of the neighbours hardly depends on
the energy. With m the mean of the visible neighbours, weighted by 1 / distance^2, and f a few
photons, about the variance of the pedestal over the variance per photon,

    neighbour n enters as r_n = sqrt((n + f) / (m + f)) - 1,
    the prediction is  sqrt(mu) = sqrt(m) + delta sqrt(m + f).

Square roots of counts have the same noise everywhere. When all counts grow by a factor and are far
above f, the r_n and delta stay and the prediction grows by that factor.
"""

from typing import Final, NamedTuple

import numpy as np
import torch
from torch import nn

from xec_pipeline.config.inpainter import InpainterModelConfig
from xec_pipeline.config.normalization import NormalizationConfig
from xec_pipeline.detector.faces import FACE_NAMES, face_of_sensor
from xec_pipeline.detector.geometry import Geometry, ideal_geometry
from xec_pipeline.models.cross_attention import MaskedEvents, TokenAttention
from xec_pipeline.models.encoder_base import Encoder
from xec_pipeline.models.inpainter_attention import picked
from xec_pipeline.models.inpainter_heads import last_in_full, start_at_zero, two_layers
from xec_pipeline.models.input_norm import InputNormalizer, Light, normalized_root
from xec_pipeline.models.light_shape import LearnedScale, LightShape, Shape
from xec_pipeline.models.places import HiddenPlaces, hidden_places, scattered
from xec_pipeline.units import NS_PER_S

_FLOOR: Final = 10.0
"""f [photons]."""
_OFFSET_UNIT_CM: Final = 5.0
_NEAR_CM: Final = 4.0
_FAR_CM: Final = 30.0
_MAX_RATIO: Final = 4.0
"""Bound on r_n: a neighbour 25 times as bright as the mean says no more than that."""
_MAX_DELAY_NS: Final = 5.0
_FIRST_PRIOR: Final = 1000.0
"""Photons that the shape of the whole face counts for, before training."""
_TINY: Final = 1e-6
_N_LEVELS: Final = 9


class Surroundings(NamedTuple):
    """What the visible neighbours of the hidden sensors show.

    Attributes
    ----------
    expected
        m [photons], (B, M).
    ratio
        r_n, 0 where the neighbour is hidden or dead, (B, M, K).
    features
        All that the perceptron sees of them, (B, M, F).
    time_ns
        Mean time of the timed ones [ns], (B, M).
    """

    expected: torch.Tensor
    ratio: torch.Tensor
    features: torch.Tensor
    time_ns: torch.Tensor


class RelativeHead(TokenAttention):
    """Expected shape, neighbours relative to it, attention to the tokens, perceptron and kernel.

    The kernel is a weight for each neighbour's ratio, learned as a function of where the neighbours
    are; on a regular grid it is an interpolation formula. It and the perceptron start as no
    correction. Without a visible neighbour the face, or the detector, stands in.

    Parameters
    ----------
    encoder, config
        As for `TokenAttention`.
    normalization
        How the inputs were made, and the outputs are.
    """

    def __init__(
        self, encoder: Encoder, config: InpainterModelConfig, normalization: NormalizationConfig
    ) -> None:
        super().__init__(encoder, config)
        self.normalizer = InputNormalizer(normalization)
        self.n_outputs = len(config.predict_channels)
        n_neighbours, hidden = config.cross_attn_k, config.cross_attn_hidden
        self._add_tables(ideal_geometry())
        self.shape = LightShape(encoder, hidden)
        self.prior = LearnedScale([_FIRST_PRIOR] * len(FACE_NAMES))
        n_planes = 2 * self.n_outputs
        n_features = n_planes * n_neighbours + _N_LEVELS
        n_fixed = 3 * n_neighbours + self.code_width
        self.neighbor_proj = nn.Linear(n_features, hidden)
        self.place_proj = nn.Linear(n_fixed, hidden, bias=False)
        self.token_proj = nn.Linear(config.cross_attn_latent_dim, hidden, bias=False)
        self.pred_mlp = two_layers(hidden, hidden, self.n_outputs)
        self.kernel = two_layers(n_fixed, hidden, n_neighbours)
        start_at_zero(self.pred_mlp)
        start_at_zero(self.kernel)

    def forward(self, tokens_BTD: torch.Tensor, events: MaskedEvents) -> torch.Tensor:
        """Return predictions (B, 4760, C) of hidden sensors, 0 elsewhere."""
        places = hidden_places(events.is_hidden)
        codes_SP = self.codes()
        with torch.autocast(tokens_BTD.device.type, enabled=False):
            light = self.normalizer.light(events.values, events.is_blind)
            seen = self._surroundings(light, self.shape(tokens_BTD, light), places)
        fixed_SP = torch.cat((self.offsets.flatten(1), codes_SP), dim=1)
        tokens_BMC = self.from_tokens(tokens_BTD, codes_SP, places)
        x = self.neighbor_proj(seen.features) + self.token_proj(tokens_BMC)
        x = nn.functional.gelu(x + nn.functional.embedding(places.ids, self.place_proj(fixed_SP)))
        delta_BMC = last_in_full(self.pred_mlp, x)
        kernel_BMK = nn.functional.embedding(places.ids, self.kernel(fixed_SP))
        with torch.autocast(tokens_BTD.device.type, enabled=False):
            linear_BM = (kernel_BMK.to(delta_BMC) * seen.ratio).sum(dim=2)
            predicted = self._normalized(delta_BMC, linear_BM, seen)
        return scattered(predicted, places)

    def _normalized(
        self, delta_BMC: torch.Tensor, linear_BM: torch.Tensor, seen: Surroundings
    ) -> torch.Tensor:
        expected = seen.expected
        # The slope of a root at 0 is infinite, and there may be no light at all.
        root = expected.clamp_min(_TINY).sqrt()
        root = root + (delta_BMC[..., 0] + linear_BM) * (expected + _FLOOR).sqrt()
        outputs = [normalized_root(self.normalizer.config, root)]
        if self.n_outputs > 1:
            config = self.normalizer.config
            time_s = (seen.time_ns + delta_BMC[..., 1]) / NS_PER_S
            outputs.append(time_s / config.time_scale - config.time_shift)
        return torch.stack(outputs, dim=2)

    def _surroundings(self, light: Light, shape: Shape, places: HiddenPlaces) -> Surroundings:
        ids, nearest = places.ids, self.knn_indices[places.ids]
        npho, alive = picked(light.npho, nearest), picked(light.alive, nearest)
        share, share_nearby = shape.share.gather(1, ids), picked(shape.share, nearest)
        # Photons per share: around the sensor, or else of its face or of the detector.
        on_face = self._face_ratios(light.npho, shape.share * light.alive, ids)
        weights = self.closeness[ids] * alive
        prior = nn.functional.embedding(self.face_ids[ids], self.prior()[:, None])[..., 0]
        per_share = ((weights * npho).sum(dim=2) + prior) / (
            (weights * share_nearby).sum(dim=2) + prior / on_face.clamp_min(_TINY)
        )
        expected = per_share * share
        expected_nearby = per_share[..., None] * share_nearby
        ratio = ((npho + _FLOOR) / (expected_nearby + _FLOOR)).sqrt() - 1.0
        ratio = ratio.clamp_max(_MAX_RATIO) * alive
        planes = [ratio, alive]
        time_ns = torch.zeros_like(expected)
        if self.n_outputs > 1:
            time, timed = picked(light.time_ns, nearest), picked(light.timed, nearest)
            on_face = self._face_ratios(light.time_ns, light.timed, ids)
            time_ns = _ratio(npho * time * timed, npho * timed, on_face)
            delay = (time - time_ns[..., None]).clamp(-_MAX_DELAY_NS, _MAX_DELAY_NS)
            planes += [delay * timed, timed]
        steepness = (share_nearby.mean(dim=2) / share).log()
        noise = (_FLOOR / (expected + _FLOOR)).sqrt()
        levels = torch.stack((noise, steepness), dim=2)
        features = torch.cat((*planes, levels, self._directions(shape, ids)), dim=2)
        return Surroundings(expected, ratio, features, time_ns)

    def _directions(self, shape: Shape, ids_BM: torch.Tensor) -> torch.Tensor:
        """Return (B, M, 7): where the light comes from, along the axes of the sensor."""
        away_BMX = shape.center[:, None] - self.positions[ids_BM]
        away_BMX = (self.axes[ids_BM] * away_BMX[:, :, None]).sum(dim=3)
        distance = torch.linalg.vector_norm(away_BMX, dim=2, keepdim=True)
        near, far = away_BMX / (distance + _NEAR_CM), away_BMX / _FAR_CM
        return torch.cat((near, far, torch.log((distance + _NEAR_CM) / _FAR_CM)), dim=2)

    def _face_ratios(
        self, values_BS: torch.Tensor, weights_BS: torch.Tensor, ids_BM: torch.Tensor
    ) -> torch.Tensor:
        """Return (B, M) sum of values over sum of weights on the face, or else of all sensors."""
        values, weights = values_BS @ self.on_face, weights_BS @ self.on_face
        overall = values.sum(1, keepdim=True) / weights.sum(1, keepdim=True).clamp_min(_TINY)
        ratios = torch.where(weights > _TINY, values / weights.clamp_min(_TINY), overall)
        return ratios.gather(1, self.face_ids[ids_BM])

    def _add_tables(self, geometry: Geometry) -> None:
        neighbours = self.knn_indices.numpy()
        axes = np.stack((geometry.axis_u, geometry.axis_v, geometry.normal), axis=1)
        step = geometry.position_cm[neighbours] - geometry.position_cm[:, None]
        offsets = np.einsum("sax,skx->ska", axes, step) / _OFFSET_UNIT_CM
        squared = np.square(step).sum(axis=2)
        closeness = squared[:, :1] / squared
        on_face = np.eye(len(FACE_NAMES))[face_of_sensor()]
        self.positions: torch.Tensor
        self.axes: torch.Tensor
        self.offsets: torch.Tensor
        self.closeness: torch.Tensor
        self.on_face: torch.Tensor
        tables = {"positions": geometry.position_cm, "axes": axes, "offsets": offsets}
        tables |= {"closeness": closeness, "on_face": on_face}
        for name, table in tables.items():
            values = torch.tensor(table, dtype=torch.float32)
            self.register_buffer(name, values, persistent=False)


def _ratio(
    values_BMK: torch.Tensor, weights_BMK: torch.Tensor, otherwise_BM: torch.Tensor
) -> torch.Tensor:
    """Return sum of values over sum of weights; `otherwise_BM` where there is no weight."""
    total_BM = weights_BMK.sum(dim=2)
    ratio_BM = values_BMK.sum(dim=2) / total_BM.clamp_min(_TINY**2)
    return torch.where(total_BM > _TINY**2, ratio_BM, otherwise_BM)
