"""Calibration: a polynomial in a few observables, fitted so that outliers do not pull it.

All terms up to the second order, and the cube of each observable. Observables are scaled to their
range in the calibration events; beyond it they count as the end of the range, so that an unusual
event is corrected like the nearest usual ones. Shapes: N events, F observables, T terms.
"""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

MIN_EVENTS: Final = 20
"""Fewer events calibrate nothing."""

_LARGEST_DEGREE: Final = 3
_EVENTS_PER_TERM: Final = 10
_RANGE: Final = (0.001, 0.999)
"""Quantiles that are the ends of an observable's range."""
_REWEIGHTINGS: Final = 5
_HUBER: Final = 2.0
"""Residuals count in full up to this many standard deviations, beyond it as their absolute."""
_SIGMA_PER_MAD: Final = 1.4826
_TINY: Final = 1e-30


@dataclass(frozen=True, kw_only=True)
class Polynomial:
    """A fitted polynomial; it is NaN where an observable is.

    Attributes
    ----------
    lowest, highest
        Range of each observable, shape (F,).
    degree
        3, or less if there were few events; 0 is a constant.
    coefficients
        Of the terms, shape (T,).
    """

    lowest: Values
    highest: Values
    degree: int
    coefficients: Values

    @classmethod
    def fit(cls, observables: Values, truth: Values) -> "Polynomial":
        """Fit by iterated least squares with Huber's weights; events with NaN are left out.

        Parameters
        ----------
        observables
            Shape (N, F).
        truth
            Shape (N,).

        Raises
        ------
        ValueError
            If fewer than 20 events have observables and truth.
        """
        is_known = np.isfinite(observables).all(axis=1) & np.isfinite(truth)
        n_known = int(is_known.sum())
        if n_known < MIN_EVENTS:
            raise ValueError(f"{n_known} events with light and truth, {MIN_EVENTS} are needed")
        known = observables[is_known]
        lowest, highest = np.quantile(known, _RANGE, axis=0)
        degree = _degree_for(n_known, known.shape[1])
        unfitted = cls(lowest=lowest, highest=highest, degree=degree, coefficients=np.empty(0))
        return replace(unfitted, coefficients=_solve(unfitted.terms(known), truth[is_known]))

    def __call__(self, observables: Values) -> Values:
        """Return the polynomial of observables, (N, F) to (N,)."""
        value: Values = self.terms(observables) @ self.coefficients
        return value

    def terms(self, observables: Values) -> Values:
        """Return the terms of observables, (N, F) to (N, T)."""
        width = self.highest - self.lowest
        width = np.where(width > 0, width, 1.0)
        # From -1 to 1, with which powers and their products stay comparable.
        scaled = 2 * (np.clip(observables, self.lowest, self.highest) - self.lowest) / width - 1
        terms = [np.prod(scaled[:, list(term)], axis=1) for term in _terms(self.degree, len(width))]
        return np.stack(terms, axis=1)

    def record(self) -> dict[str, Any]:
        """Return the constants for JSON, to nine digits."""
        return {
            "degree": self.degree,
            "lowest": _rounded(self.lowest),
            "highest": _rounded(self.highest),
            "coefficients": _rounded(self.coefficients),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Polynomial":
        """Return the polynomial of a `record`."""
        arrays = {
            name: np.array(record[name], dtype=np.float64)
            for name in ("lowest", "highest", "coefficients")
        }
        return cls(degree=int(record["degree"]), **arrays)


def _terms(degree: int, n_observables: int) -> list[tuple[int, ...]]:
    """Return which observables each term multiplies."""
    numbers = range(n_observables)
    terms = [
        term
        for order in range(min(degree, 2) + 1)
        for term in itertools.combinations_with_replacement(numbers, order)
    ]
    return terms + [(number,) * 3 for number in numbers if degree == _LARGEST_DEGREE]


def _degree_for(n_events: int, n_observables: int) -> int:
    """Return the largest degree that leaves ten events for each term."""
    return max(
        degree
        for degree in range(_LARGEST_DEGREE + 1)
        if degree == 0 or n_events >= _EVENTS_PER_TERM * len(_terms(degree, n_observables))
    )


def _solve(terms: Values, truth: Values) -> Values:
    coefficients = _least_squares(terms, truth, np.ones(len(truth)))
    for _ in range(_REWEIGHTINGS):
        distance = np.abs(truth - terms @ coefficients)
        knee = max(_HUBER * _SIGMA_PER_MAD * float(np.median(distance)), _TINY)
        weight = knee / np.maximum(distance, knee)
        coefficients = _least_squares(terms, truth, np.sqrt(weight))
    return coefficients


def _least_squares(terms: Values, truth: Values, root_weight: Values) -> Values:
    solved = np.linalg.lstsq(terms * root_weight[:, None], truth * root_weight)[0]
    coefficients: Values = solved.astype(np.float64)
    return coefficients


def _rounded(values: Values) -> list[float]:
    return [float(f"{value:.9g}") for value in values]
