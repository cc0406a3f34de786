"""A Gaussian fitted to the centre of a distribution, and what of it an estimate can be."""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import least_squares
from scipy.special import ndtr

from xec_pipeline.evaluation.resolution import (
    Estimate,
    Values,
    finite,
    half_width_68,
    median_bias,
    unknown,
)

MIN_FOR_CORE_FIT: Final = 50
_MEAN: Final = "Gaussian core mean"
_SIGMA: Final = "Gaussian core sigma"
CORE: Final = (_MEAN, _SIGMA)
"""Names of the estimators of a fit."""
_LARGEST_LOG: Final = 5.0
"""Of the fitted over the start width; farther away there was no peak to fit."""


@dataclass(frozen=True, kw_only=True)
class CoreFit:
    """A Gaussian fitted to the centre of a residual distribution."""

    mean: Estimate
    sigma: Estimate
    chi2: float
    ndf: int
    low: float
    high: float
    amplitude: float
    """Events under the whole Gaussian."""
    note: str = ""
    """Why there is no fit, or empty."""

    def density(self, x: ArrayLike) -> Values:
        """Return the fitted events per unit of x."""
        pull = (np.asarray(x, dtype=np.float64) - self.mean.value) / self.sigma.value
        scale = self.amplitude / (self.sigma.value * math.sqrt(2 * math.pi))
        density: Values = scale * np.exp(-0.5 * pull**2)
        return density

    def numbers(self) -> dict[str, Any]:
        """Return the fit as a dictionary."""
        return {
            "mean": self.mean.numbers(),
            "sigma": self.sigma.numbers(),
            "chi2": self.chi2,
            "ndf": self.ndf,
            "range": [self.low, self.high],
            "note": self.note,
        }


def gaussian_core(residual: ArrayLike, *, half_widths: float = 2.0) -> CoreFit:
    """Fit a Gaussian within `half_widths` 68 % half widths of the median.

    Returns
    -------
    CoreFit
        With NaN and a note if there are fewer than 50 events, no width, or no convergence.

    Notes
    -----
    Least squares on the bin contents of a histogram over the range, against the Gaussian's integral
    in each bin. The weights are the expected contents of a first fit, because weights from observed
    contents pull the fit below the data.
    """
    values = finite(residual)
    if len(values) < MIN_FOR_CORE_FIT:
        return _no_core_fit(len(values), f"fewer than {MIN_FOR_CORE_FIT} events")
    centre, width = median_bias(values).value, half_width_68(values).value
    # Equal numbers that went through float32 or text differ in their last digits.
    if width <= 1e-12 * abs(centre) or not width > 0:
        return _no_core_fit(len(values), "no width")
    n_bins = int(np.clip(len(values) / 25, 8, 50))
    # In units of the half width, so that the fit sees numbers of order one.
    scaled = (values - centre) / width
    contents, edges = np.histogram(scaled, n_bins, (-half_widths, half_widths))
    try:
        fitted, covariance, expected = _fit_twice(edges, contents)
    except (RuntimeError, ValueError, np.linalg.LinAlgError) as error:
        return _no_core_fit(len(values), f"fit failed: {error}")
    mean_error, log_error = np.sqrt(np.diag(covariance))[:2]
    sigma = width * math.exp(fitted[1])
    n = int(contents.sum())
    return CoreFit(
        mean=_estimate(centre + width * fitted[0], width * mean_error, n, _MEAN),
        sigma=_estimate(sigma, sigma * log_error, n, _SIGMA),
        chi2=float(((contents - expected) ** 2 / np.maximum(expected, 1.0)).sum()),
        ndf=n_bins - 3,
        low=float(centre + width * edges[0]),
        high=float(centre + width * edges[-1]),
        amplitude=float(fitted[2]),
    )


def core_sigma(residual: ArrayLike) -> Estimate:
    """Return the width of the Gaussian core; NaN where it cannot be fitted."""
    return gaussian_core(residual).sigma


def core_mean(residual: ArrayLike) -> Estimate:
    """Return the mean of the Gaussian core; NaN where it cannot be fitted."""
    return gaussian_core(residual).mean


def _fit_twice(edges: Values, contents: NDArray[Any]) -> tuple[Values, Values, Values]:
    """Return (mean, ln sigma, amplitude), their covariance, and the expected contents."""
    fitted = np.array([0.0, 0.0, contents.sum()], dtype=np.float64)
    covariance = np.eye(3)
    expected = contents.astype(np.float64)
    for _ in range(2):
        fitted, covariance = _fit(edges, contents, fitted, np.sqrt(np.maximum(expected, 1.0)))
        expected = _contents(edges, fitted)
    return fitted, covariance, expected


def _fit(
    edges: Values, contents: NDArray[Any], start: Values, error: Values
) -> tuple[Values, Values]:
    found = least_squares(
        lambda p: (_contents(edges, p) - contents) / error,
        start,
        jac=lambda p: _slopes(edges, p) / error[:, None],
        method="lm",
        x_scale=(1.0, 1.0, max(start[2], 1.0)),
    )
    if not found.success or not found.x[2] > 0 or abs(found.x[1]) > _LARGEST_LOG:
        raise RuntimeError(found.message if not found.success else "no peak")
    return found.x, np.linalg.inv(found.jac.T @ found.jac)


def _contents(edges: Values, parameters: Values) -> Values:
    below: Values = ndtr(_pull(edges, parameters))
    contents: Values = parameters[2] * np.diff(below)
    return contents


def _slopes(edges: Values, parameters: Values) -> Values:
    """Return the derivatives of the contents, shape (n_bins, 3)."""
    pull, amplitude = _pull(edges, parameters), parameters[2]
    density = np.exp(-0.5 * pull**2) / math.sqrt(2 * math.pi)
    by_mean = -amplitude * np.diff(density) * _inverse_sigma(parameters)
    by_log_sigma = -amplitude * np.diff(density * pull)
    return np.stack([by_mean, by_log_sigma, np.diff(ndtr(pull))], axis=1)


def _pull(edges: Values, parameters: Values) -> Values:
    pull: Values = (edges - parameters[0]) * _inverse_sigma(parameters)
    return pull


def _inverse_sigma(parameters: Values) -> float:
    # The minimizer may try any step before it turns back.
    return math.exp(-min(max(parameters[1], -2 * _LARGEST_LOG), 2 * _LARGEST_LOG))


def _estimate(value: float, error: float, n: int, estimator: str) -> Estimate:
    return Estimate(value=float(value), error=float(error), n=n, estimator=estimator)


def _no_core_fit(n: int, note: str) -> CoreFit:
    return CoreFit(
        mean=unknown(n, _MEAN),
        sigma=unknown(n, _SIGMA),
        chi2=math.nan,
        ndf=0,
        low=math.nan,
        high=math.nan,
        amplitude=math.nan,
        note=note,
    )
