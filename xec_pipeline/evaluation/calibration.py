"""Whether predicted uncertainties are right: pulls, and how often the truth lies within them."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri

from xec_pipeline.evaluation.resolution import COVERAGE, Values, finite

LEVELS: Final = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, COVERAGE, 0.8, 0.9, 0.9545, 0.99)
"""Nominal contents of the intervals; 0.6827 and 0.9545 are those of one and two sigma."""


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """How many true values lie in the central interval that should hold a given part of them."""

    nominal: Values
    """Contents by the predicted uncertainty, shape (n_levels,)."""
    observed: Values
    """Parts of the events, shape (n_levels,); NaN without events."""
    error: Values
    """Binomial deviation of the observed part if the uncertainties are right."""
    n: int

    def numbers(self) -> dict[str, Any]:
        """Return the arrays as lists."""
        return {
            "nominal": self.nominal.tolist(),
            "observed": self.observed.tolist(),
            "error": self.error.tolist(),
            "n": self.n,
        }

    def at(self, level: float) -> tuple[float, float]:
        """Return the observed part and its deviation at one of `LEVELS`."""
        place = LEVELS.index(level)
        return float(self.observed[place]), float(self.error[place])


def pulls(residual: ArrayLike, sigma: ArrayLike) -> Values:
    """Return residual over predicted uncertainty, NaN where that is not positive and finite.

    Parameters
    ----------
    residual, sigma
        Shape (n_events,), in the same unit.
    """
    width = np.asarray(sigma, dtype=np.float64)
    is_known = np.isfinite(width) & (width > 0)
    return np.asarray(residual, dtype=np.float64) / np.where(is_known, width, np.nan)


def coverage(pull: ArrayLike) -> Coverage:
    """Return the parts of the finite pulls, shape (n_events,), within Gaussian intervals."""
    sizes = np.sort(np.abs(finite(pull)))
    n, nominal = len(sizes), np.array(LEVELS)
    inside = np.searchsorted(sizes, ndtri((1 + nominal) / 2), side="right")
    return Coverage(
        nominal=nominal,
        observed=inside / n if n else np.full(len(nominal), np.nan),
        error=np.sqrt(nominal * (1 - nominal) / n) if n else np.full(len(nominal), np.nan),
        n=n,
    )
