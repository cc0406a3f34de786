"""Checks of what was read: a value that cannot be used is an error that says where it stands."""

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.data.root_io import EventChunk
from xec_pipeline.errors import NonFiniteDataError

_LIMIT: Final = 3


def count_nonfinite(chunk: EventChunk, branch: str, policy: Literal["error", "dead"]) -> int:
    """Return how many values of a sensor branch are NaN or infinite.

    Parameters
    ----------
    chunk
        Events that hold `branch` with shape (N, S).
    branch
        Name of the branch.
    policy
        `error` to refuse such values, `dead` to count them (they are then taken as dead sensors).

    Raises
    ------
    NonFiniteDataError
        With policy `error`: names file, branch, entry and sensor of the first, and how many there
        are.
    """
    values: NDArray[np.generic] = chunk.arrays[branch]
    # One sum is not finite if any term is not; the exact search runs only then.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum(dtype=np.float64)):
            return 0
    bad = np.argwhere(~np.isfinite(values))
    if len(bad) and policy == "error":
        raise NonFiniteDataError(_describe(chunk, branch, bad))
    return len(bad)


def _describe(chunk: EventChunk, branch: str, bad: NDArray[np.intp]) -> str:
    values = chunk.arrays[branch]
    places = [
        f"entry {chunk.start + row}, sensor {sensor}: {values[row, sensor]}"
        for row, sensor in bad[:_LIMIT].tolist()
    ]
    more = f" and {len(bad) - _LIMIT} more nearby" if len(bad) > _LIMIT else ""
    return (
        f"{chunk.path}: branch '{branch}', {'; '.join(places)}{more}; expected a finite number, "
        "or 1e10 for a dead sensor. Set data.nonfinite: dead to take such sensors as dead"
    )
