"""Fast random numbers in float32: Poisson numbers of small mean, and normal numbers.

The usual generators work one number at a time, in double precision; half the time of a simulated
event would be spent in them. These work on whole arrays, and are as exact as float32 allows.
"""

import functools
import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]

MAX_MEAN = 16.0
"""Means of Poisson numbers must be below this."""

_STEPS_PER_UNIT = 16
_COLUMN_BITS = 6
_COLUMNS = 1 << _COLUMN_BITS
_FRACTION_BITS = 32 - _COLUMN_BITS
_FRACTION_MASK = np.uint32((1 << _FRACTION_BITS) - 1)
_WORD_SCALE = 2.0**32
_MAX_EXTRA = 4
_PIECE = 1 << 15


def draw_normal(shape: tuple[int, ...], rng: np.random.Generator) -> Array:
    """Draw standard-normal numbers.

    Parameters
    ----------
    shape
        Shape of the result.
    rng
        Source of the random numbers.

    Notes
    -----
    Box and Muller: sqrt(-2 ln u) times sine and cosine of a uniform angle. With u from 32 bits the
    largest number is 6.8.
    """
    size = math.prod(shape)
    half = (size + 1) // 2
    words = _random_words(rng, 2 * half)
    radius = words[:half].astype(np.float32)
    # Half a step keeps the logarithm finite.
    radius += np.float32(0.5)
    radius *= np.float32(1.0 / _WORD_SCALE)
    np.log(radius, out=radius)
    radius *= np.float32(-2.0)
    np.sqrt(radius, out=radius)
    angle = words[half:].astype(np.float32)
    angle *= np.float32(2.0 * math.pi / _WORD_SCALE)
    normal = np.empty(2 * half, dtype=np.float32)
    np.multiply(np.cos(angle), radius, out=normal[:half])
    np.multiply(np.sin(angle), radius, out=normal[half:])
    return normal[:size].reshape(shape)


def draw_poisson(mean: Array, rng: np.random.Generator) -> Array:
    """Draw one Poisson number for each mean.

    Parameters
    ----------
    mean
        Any shape, 0 <= mean < 16.
    rng
        Source of the random numbers.

    Returns
    -------
    ndarray
        Whole numbers as float32, in the shape of `mean`.

    Notes
    -----
    A count of mean m is the sum of two independent counts of means g and m - g. With g on a grid
    just below m the first comes from a table (alias method: one random word, two look-ups), and
    the second is nearly always zero. Probabilities are right to 1e-8.
    """
    flat = mean.ravel()
    pieces = [
        _draw_piece(flat[start : start + _PIECE], rng) for start in range(0, flat.size, _PIECE)
    ]
    return np.concatenate(pieces).reshape(mean.shape)


def _draw_piece(mean: Array, rng: np.random.Generator) -> Array:
    threshold, alias = _tables()
    words = _random_words(rng, 2 * mean.size)
    first, second = words[: mean.size], words[mean.size :]
    row = (mean * np.float32(_STEPS_PER_UNIT)).astype(np.int64)
    column = (first >> np.uint32(_FRACTION_BITS)).astype(np.int64)
    cell = (row << _COLUMN_BITS) + column
    stays = (first & _FRACTION_MASK) < threshold.take(cell)
    count = np.where(stays, column.astype(np.float32), alias.take(cell))
    _add_rest(count, mean - row.astype(np.float32) * np.float32(1 / _STEPS_PER_UNIT), second)
    return count


def _add_rest(count: Array, mean: Array, words: NDArray[np.uint32]) -> None:
    """Add Poisson numbers of means below 1/16 to `count`: at least k if uniform < P(>= k)."""
    # P(>= 1) is below the mean, so one comparison settles all but a few of them.
    candidates = np.flatnonzero(words < (mean * np.float32(_WORD_SCALE)).astype(np.uint32))
    few = mean[candidates].astype(np.float64)
    uniform = words[candidates] / _WORD_SCALE
    term = np.exp(-few)
    below = term.copy()
    for k in range(1, _MAX_EXTRA + 1):
        count[candidates] += uniform < 1.0 - below
        term *= few / k
        below += term


def _random_words(rng: np.random.Generator, size: int) -> NDArray[np.uint32]:
    words = rng.integers(0, 1 << 64, (size + 1) // 2, dtype=np.uint64)
    return words.view(np.uint32)[:size]


@functools.cache
def _tables() -> tuple[NDArray[np.uint32], Array]:
    """Return thresholds and aliases for all means of the grid, flat: mean times 64 plus column."""
    means = np.arange(int(MAX_MEAN) * _STEPS_PER_UNIT) / _STEPS_PER_UNIT
    rows = [_alias_row(_probabilities(mean)) for mean in means]
    stay = np.concatenate([row[0] for row in rows]) * (1 << _FRACTION_BITS)
    return np.rint(stay).astype(np.uint32), np.concatenate([row[1] for row in rows])


def _probabilities(mean: float) -> NDArray[np.float64]:
    """Return the probabilities of the counts 0 to 63."""
    ratios = mean / np.arange(1, _COLUMNS)
    terms = np.concatenate([[1.0], np.cumprod(ratios)])
    total: float = terms.sum()
    return terms / total


def _alias_row(probabilities: NDArray[np.float64]) -> tuple[NDArray[np.float64], Array]:
    """Share columns of equal width between at most two counts each, after Walker and Vose."""
    scaled = probabilities * _COLUMNS
    stay, alias = np.ones(_COLUMNS), np.arange(_COLUMNS, dtype=np.float32)
    small = [i for i in range(_COLUMNS) if scaled[i] < 1.0]
    large = [i for i in range(_COLUMNS) if scaled[i] >= 1.0]
    while small and large:
        low, high = small.pop(), large[-1]
        stay[low], alias[low] = scaled[low], high
        scaled[high] -= 1.0 - scaled[low]
        if scaled[high] < 1.0:
            small.append(large.pop())
    return stay, alias
