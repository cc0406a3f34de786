"""Random numbers from the identity of an event, and the sensors that they choose."""

from typing import Final

import numpy as np
import torch

_WORD_BITS: Final = 64
_DIGITS: Final = 53
"""Bits of the noise: as many as float64 holds."""
_SPREAD: Final = 0x9E3779B97F4A7C15
_MIX: Final = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_LAST_SHIFT: Final = 31
_BINS_PER_OCTAVE: Final = 4
_OCTAVES: Final = 20
_COUNT_TOLERANCE: Final = 1e-9
"""Keeps products such as 0.29 * 100 = 28.999... from losing a sensor."""


def event_keys(seed: int, draw: int, run_B: torch.Tensor, event_B: torch.Tensor) -> torch.Tensor:
    """Return an int64 random word for each event (B,).

    Parameters
    ----------
    seed
        Root of all masks.
    draw
        Number of the draw, such as an epoch.
    run_B, event_B
        Identity of the events, integers.
    """
    key_B = torch.full_like(run_B, _signed(seed), dtype=torch.int64)
    for word in (torch.full_like(key_B, draw), run_B.long(), event_B.long()):
        key_B = _mixed(key_B + _signed(_SPREAD) ^ word)
    return key_B


def sensor_noise(key_B: torch.Tensor, n_sensors: int) -> torch.Tensor:
    """Return uniform random numbers in [0, 1) for each sensor of each event (B, S), float64.

    Notes
    -----
    Counter mode of splitmix64 (Steele, Lea and Flood 2014), with the event's word as the start.
    """
    counter_S = torch.arange(1, n_sensors + 1, device=key_B.device) * _signed(_SPREAD)
    words_BS = _mixed(key_B[:, None] + counter_S)
    return _shifted(words_BS, _WORD_BITS - _DIGITS).double() * 2.0**-_DIGITS


def share_of(alive_BS: torch.Tensor, ratio: float) -> torch.Tensor:
    """Return floor(ratio * live sensors) of each event (B,); 0.29 of 100 are 29."""
    return torch.floor(alive_BS.sum(dim=1).double() * ratio + _COUNT_TOLERANCE).long()


def hide_first(
    place_BS: torch.Tensor, alive_BS: torch.Tensor, count_B: torch.Tensor
) -> torch.Tensor:
    """Return (B, S), true for the `count_B` live sensors of each event with the smallest places.

    Where an event has fewer live sensors, all of them; of equal places, the first.
    """
    place_BS = place_BS.masked_fill(~alive_BS, float("inf"))
    count_B = torch.minimum(count_B, alive_BS.sum(dim=1))
    if place_BS.device.type == "cpu" and count_B.any():
        # NumPy sorts ten times as fast as torch. Equal places, which hardly occur, are all taken.
        sorted_BS = torch.from_numpy(np.sort(place_BS.numpy(), axis=1))
        limit_B1 = sorted_BS.gather(1, (count_B - 1).clamp_min(0)[:, None])
        hidden_BS = (place_BS <= limit_B1) & alive_BS & (count_B > 0)[:, None]
        if torch.equal(hidden_BS.sum(dim=1), count_B):
            return hidden_BS
    order_BS = place_BS.argsort(dim=1, stable=True)
    is_first_BS = torch.arange(place_BS.shape[1], device=place_BS.device) < count_B[:, None]
    return torch.zeros_like(alive_BS).scatter(1, order_BS, is_first_BS)


def npho_bins(npho_BS: torch.Tensor) -> torch.Tensor:
    """Return for photons (B, S) their bin of ln(npho): equally wide from 1 photon, 4 per octave.

    Everything below 1 photon is in bin 0. The edges are numbers of a table and not
    computed where the photons are, because logarithms differ in the last digit between devices.
    """
    edges = 2.0 ** (np.arange(_BINS_PER_OCTAVE * _OCTAVES + 1) / _BINS_PER_OCTAVE)
    table = torch.as_tensor(edges, device=npho_BS.device)
    return torch.bucketize(npho_BS.contiguous(), table, right=True)


def places_in_turn(
    bin_BS: torch.Tensor, noise_BS: torch.Tensor, tie_BS: torch.Tensor
) -> torch.Tensor:
    """Return places (B, S) that go round the bins: one random sensor of each bin, then the second.

    The first n places then hold as many sensors of one bin as of any other, except that poor bins
    run out; empty bins play no part. The last, incomplete turn takes bins at random.

    Parameters
    ----------
    bin_BS
        Bins of the sensors, integers.
    noise_BS
        Uniform random numbers that order the sensors of a bin.
    tie_BS
        Others, that order the bins within a turn. The same would favour rich bins, whose smallest
        numbers are smaller.
    """
    order_BS = noise_BS.argsort(dim=1, stable=True)
    order_BS = order_BS.gather(1, bin_BS.gather(1, order_BS).argsort(dim=1, stable=True))
    sorted_BS = bin_BS.gather(1, order_BS).contiguous()
    turn_BS = torch.arange(bin_BS.shape[1], device=bin_BS.device) - torch.searchsorted(
        sorted_BS, sorted_BS
    )
    return torch.empty_like(turn_BS).scatter_(1, order_BS, turn_BS) + tie_BS


def _mixed(words: torch.Tensor) -> torch.Tensor:
    """Return the words with their bits mixed; arithmetic is modulo 2^64."""
    for shift, factor in _MIX:
        words = (words ^ _shifted(words, shift)) * _signed(factor)
    return words ^ _shifted(words, _LAST_SHIFT)


def _shifted(words: torch.Tensor, n_bits: int) -> torch.Tensor:
    """Return the words shifted right with zeros coming in; int64 would repeat the sign."""
    return (words >> n_bits) & ((1 << (_WORD_BITS - n_bits)) - 1)


def _signed(word: int) -> int:
    """Return the int64 with the bits of an unsigned word."""
    word %= 1 << _WORD_BITS
    return word - (1 << _WORD_BITS) if word >> (_WORD_BITS - 1) else word
