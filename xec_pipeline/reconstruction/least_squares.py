"""Many small non-linear least-squares fits at once, by the method of Levenberg and Marquardt.

The variances may depend on the expectation. They are held fixed within a step and follow the model
from step to step, so the minimum solves sum (n - m) dm / V(m) = 0: no bias toward data that
fluctuated down, and no reward for large variances. Shapes: B fits, N data, K parameters.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]
Model = Callable[[Values, Numbers], tuple[Values, Values]]
"""Parameters (n, K) and numbers (n,) of some fits to expectations (n, N), derivatives (K, n, N)."""
Variance = Callable[[Values, Numbers], Values]
"""Expectations (n, N) and numbers (n,) of some fits to variances (n, N); infinite to leave out."""

_FIRST_DAMPING: Final = 1e-2
_DAMPING_FACTOR: Final = 5.0
_STUCK_DAMPING: Final = 1e8
_MAX_ITERATIONS: Final = 40
_RIDGE: Final = 1e-12


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Ranges of the parameters and of one step, each of shape (K,).

    A fit has converged when no parameter moves by more than `tolerance`.
    """

    lowest: Values
    highest: Values
    largest_step: Values
    tolerance: Values


@dataclass(frozen=True, kw_only=True)
class Minimum:
    """Where the fits ended.

    `parameters`: (B, K); `chi2`: (B,); `curvature`: (B, K), sum of derivative squared over
    variance, the inverse variance of a parameter while the others stand still; `is_converged`:
    (B,).
    """

    parameters: Values
    chi2: Values
    curvature: Values
    is_converged: Flags


def minimise(
    model: Model, variance: Variance, data: Values, start: Values, limits: Limits
) -> Minimum:
    """Fit models to data.

    Parameters
    ----------
    model, variance
        Called for the fits that still move.
    data
        Shape (B, N), finite.
    start
        Parameters, shape (B, K).
    limits
        Of parameters and steps.
    """
    everyone = np.arange(len(data))
    parameters = np.clip(start, limits.lowest, limits.highest)
    expected, slope = model(parameters, everyone)
    damping = np.full(len(data), _FIRST_DAMPING)
    is_moving = np.ones(len(data), dtype=bool)
    for _ in range(_MAX_ITERATIONS):
        rows = np.flatnonzero(is_moving)
        if not rows.size:
            break
        old = parameters[rows]
        weight = 1.0 / variance(expected[rows], rows)
        residual = data[rows] - expected[rows]
        step = _damped_step(slope[:, rows], weight, residual, damping[rows])
        step = np.clip(step, -limits.largest_step, limits.largest_step)
        new = np.clip(old + step, limits.lowest, limits.highest)
        new_expected, new_slope = model(new, rows)
        before, after = _chi2(weight, residual), _chi2(weight, data[rows] - new_expected)
        better = after <= before
        taken = rows[better]
        parameters[taken], expected[taken] = new[better], new_expected[better]
        slope[:, taken] = new_slope[:, better]
        damping[rows] *= np.where(better, 1 / _DAMPING_FACTOR, _DAMPING_FACTOR)
        has_arrived = (np.abs(new - old) < limits.tolerance).all(axis=1)
        is_moving[rows] = ~has_arrived & (damping[rows] < _STUCK_DAMPING)
    weight = 1.0 / variance(expected, everyone)
    return Minimum(
        parameters=parameters,
        chi2=_chi2(weight, data - expected),
        curvature=np.einsum("kbn,bn->bk", slope**2, weight),
        is_converged=~is_moving,
    )


def _chi2(weight: Values, residual: Values) -> Values:
    return np.einsum("bn,bn,bn->b", weight, residual, residual)


def _damped_step(slope: Values, weight: Values, residual: Values, damping: Values) -> Values:
    """Return Marquardt's step: curvatures grow by the factor 1 + damping; shape (B, K)."""
    weighted = slope * weight
    matrix = np.einsum("kbn,lbn->bkl", weighted, slope, optimize=True)
    gradient = np.einsum("kbn,bn->bk", weighted, residual)
    diagonal = np.einsum("bkk->bk", matrix)
    diagonal *= 1.0 + damping[:, None]
    diagonal += _RIDGE
    step: Values = np.linalg.solve(matrix, gradient[..., None])[..., 0]
    return step
