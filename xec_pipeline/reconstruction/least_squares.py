"""Many small non-linear least-squares fits at once, by the method of Levenberg and Marquardt.

The variances may depend on the expectation. They are held fixed within a step and follow the model
from step to step, so the minimum solves sum (n - m) dm / V(m) = 0: no bias toward data that
fluctuated down, and no reward for large variances. After some steps they stay as they are, so that
a fit cannot swing between two sets of variances. Shapes: B fits, N data, K parameters.
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
_REWEIGHTED_ITERATIONS: Final = 12
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
    search = _Search(model, variance, data, np.clip(start, limits.lowest, limits.highest))
    for iteration in range(_MAX_ITERATIONS):
        rows = np.flatnonzero(search.is_moving)
        if not rows.size:
            break
        if iteration < _REWEIGHTED_ITERATIONS:
            search.reweight(rows)
        search.step(rows, limits)
    return search.result()


class _Search:
    """Where all fits stand."""

    def __init__(self, model: Model, variance: Variance, data: Values, start: Values) -> None:
        self._model, self._variance, self._data = model, variance, data
        self._parameters = start
        self._everyone = np.arange(len(data))
        self._expected, self._slope = model(start, self._everyone)
        self._weight = np.empty_like(data)
        self._damping = np.full(len(data), _FIRST_DAMPING)
        self.is_moving = np.ones(len(data), dtype=bool)

    def reweight(self, rows: Numbers) -> None:
        """Take the variances from the present expectations."""
        self._weight[rows] = 1.0 / self._variance(self._expected[rows], rows)

    def step(self, rows: Numbers, limits: Limits) -> None:
        """Try one step of the fits `rows`; take it where chi2 does not grow."""
        data, weight, old = self._data[rows], self._weight[rows], self._parameters[rows]
        residual = data - self._expected[rows]
        step = _damped_step(self._slope[:, rows], weight, residual, self._damping[rows])
        step = np.clip(step, -limits.largest_step, limits.largest_step)
        new = np.clip(old + step, limits.lowest, limits.highest)
        expected, slope = self._model(new, rows)
        better = _chi2(weight, data - expected) <= _chi2(weight, residual)
        taken = rows[better]
        self._parameters[taken], self._expected[taken] = new[better], expected[better]
        self._slope[:, taken] = slope[:, better]
        self._damping[rows] *= np.where(better, 1 / _DAMPING_FACTOR, _DAMPING_FACTOR)
        has_arrived = (np.abs(new - old) < limits.tolerance).all(axis=1)
        self.is_moving[rows] = ~has_arrived & (self._damping[rows] < _STUCK_DAMPING)

    def result(self) -> Minimum:
        """Return where the fits stand, with the variances of their expectations."""
        self.reweight(self._everyone)
        return Minimum(
            parameters=self._parameters,
            chi2=_chi2(self._weight, self._data - self._expected),
            curvature=np.einsum("kbn,bn->bk", self._slope**2, self._weight),
            is_converged=~self.is_moving,
        )


def _chi2(weight: Values, residual: Values) -> Values:
    chi2: Values = np.einsum("bn,bn,bn->b", weight, residual, residual)
    return chi2


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
