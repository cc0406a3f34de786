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
    """

    ids: torch.Tensor
    is_hidden: torch.Tensor


def hidden_places(is_hidden_BN: torch.Tensor) -> HiddenPlaces:
    """List the hidden places of each event; M is their largest number, and at least 1."""
    order_BN = (~is_hidden_BN).to(torch.uint8).argsort(dim=1, stable=True)
    longest = is_hidden_BN.sum(dim=1).max().clamp_min(1)
    ids_BM = order_BN[:, :longest]
    return HiddenPlaces(ids_BM, is_hidden_BN.gather(1, ids_BM))


def scattered(values_BMC: torch.Tensor, places: HiddenPlaces, n_places: int) -> torch.Tensor:
    """Return (B, N, C) with the values at the hidden places and 0 elsewhere."""
    kept = values_BMC * places.is_hidden[..., None].to(values_BMC)
    size = (*values_BMC.shape[:1], n_places, *values_BMC.shape[2:])
    index = places.ids[..., None].expand_as(kept)
    return torch.zeros(size, dtype=kept.dtype, device=kept.device).scatter(1, index, kept)


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
