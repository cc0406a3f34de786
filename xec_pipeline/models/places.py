"""Where sensors are: among tokens, among the cells of faces, and in lists of hidden ones."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
import torch

from xec_pipeline.detector.faces import Face, sensors_of_face
from xec_pipeline.detector.layout import Layout
from xec_pipeline.models.encoder_base import Encoder

_ALSO_READ: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType({"inner": ("window",)})
"""Tokens that a face reads beside its own, where the encoder has them: the window shows the
brightest part of the inner face more finely."""


class HiddenPlaces(NamedTuple):
    """The hidden places of B events, as lists of the same length M.

    Attributes
    ----------
    ids
        Places (B, M), ascending; an event with fewer than M of them lists visible ones at the end.
    is_hidden
        False for those (B, M).
    mask
        What they were made from (B, N).
    """

    ids: torch.Tensor
    is_hidden: torch.Tensor
    mask: torch.Tensor


def hidden_places(is_hidden_BN: torch.Tensor) -> HiddenPlaces:
    """List the hidden places of each event; M is their largest number, and at least 1."""
    n_places = is_hidden_BN.shape[1]
    # Places with visible ones moved behind: distinct numbers, so that sorting needs no stability.
    later_BN = n_places * (~is_hidden_BN).long()
    order_BN = (torch.arange(n_places, device=later_BN.device) + later_BN).sort(dim=1).values
    longest = is_hidden_BN.sum(dim=1).max().clamp_min(1)
    ids_BM = order_BN[:, :longest] % n_places
    return HiddenPlaces(ids_BM, is_hidden_BN.gather(1, ids_BM), is_hidden_BN)


def scattered(values_BMC: torch.Tensor, places: HiddenPlaces) -> torch.Tensor:
    """Return (B, N, C) with the values at the hidden places and 0 elsewhere."""
    kept = values_BMC * places.is_hidden[..., None].to(values_BMC)
    n_values = kept.shape[2]
    # Made from the mask, because an exporter may take a shape for a constant.
    zeros_BN = places.mask.to(kept) * 0.0
    ids_BMC = places.ids[..., None].repeat(1, 1, n_values)
    return zeros_BN[..., None].repeat(1, 1, n_values).scatter(1, ids_BMC, kept)


def token_numbers(encoder: Encoder, face: str) -> list[int]:
    """Return the numbers of the tokens that tell about a face, its own first."""
    own = "outer_coarse" if face == "outer" and face not in encoder.token_names else face
    names = (own, *(n for n in _ALSO_READ.get(face, ()) if n in encoder.token_names))
    return [encoder.token_names.index(name) for name in names]


def cell_of_sensor(layout: Layout) -> torch.Tensor:
    """Return for every sensor its place among the cells of inner, us, ds, top, bot and outer."""
    faces = (layout.inner, layout.us, layout.ds, layout.top, layout.bottom)
    sensors = np.concatenate([*(ids.reshape(-1) for ids in faces), sensors_of_face(Face.OUTER)])
    return torch.as_tensor(np.argsort(sensors))
