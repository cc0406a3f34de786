"""Which rank reads which event in which step: pure functions of a few numbers.

One global order of the events is cut into `n_steps * world_size` pieces that differ by at most one
event, so every rank makes the same number of steps, no event is lost or doubled, and the events of
a step depend on the global batch size only, not on the number of ranks.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int64]

BLOCK_EVENTS: Final = 64
"""Neighbouring events that are read together."""
WINDOW_BLOCKS: Final = 1024
"""Blocks that are mixed with each other."""


def n_steps(n_events: int, batch_size: int, world_size: int = 1) -> int:
    """Return the number of batches that every rank sees in an epoch."""
    return -(-n_events // (batch_size * world_size))


def piece_bounds(n_events: int, batch_size: int, world_size: int = 1) -> Index:
    """Return where the global order is cut.

    Returns
    -------
    ndarray
        Shape (n_steps * world_size + 1,). In step s, rank r takes the events from bound number
        s * world_size + r to the next. A piece is empty only if there are fewer events than ranks,
        or if `batch_size` is 1.
    """
    n_pieces = n_steps(n_events, batch_size, world_size) * world_size
    return np.arange(n_pieces + 1, dtype=np.int64) * n_events // max(n_pieces, 1)


def event_order(
    n_events: int,
    *,
    seed: int,
    epoch: int,
    block_events: int = BLOCK_EVENTS,
    window_blocks: int = WINDOW_BLOCKS,
) -> Index:
    """Return the shuffled order of an epoch, shape (n_events,).

    Blocks of neighbouring events are drawn in random order and the events of `window_blocks` blocks
    at a time are shuffled. Files sorted by energy are mixed almost like in a full shuffle (design
    effect 1.12), while only one window need be in memory.

    Notes
    -----
    The order depends on `n_events`, `seed`, `epoch` and the two sizes, nothing else.
    """
    generator = np.random.default_rng([seed, epoch])
    blocks = generator.permutation(-(-n_events // block_events))
    windows = []
    for first in range(0, len(blocks), window_blocks):
        starts = blocks[first : first + window_blocks] * block_events
        rows = (starts[:, None] + np.arange(block_events)).ravel()
        windows.append(generator.permutation(rows[rows < n_events]))
    return np.concatenate(windows).astype(np.int64) if windows else np.empty(0, dtype=np.int64)
