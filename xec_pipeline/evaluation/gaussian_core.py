"""A Gaussian fitted to the centre of a distribution, and what of it an estimate can be."""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtr

from xec_pipeline.evaluation.resolution import (
    Estimate,
    Values,
    centre_and_width,
    finite,
    unknown,
)

MIN_FOR_CORE_FIT: Final = 50
_MEAN: Final = "Gaussian core mean"
_SIGMA: Final = "Gaussian core sigma"
CORE: Final = (_MEAN, _SIGMA)
"""Names of the estimators of a fit."""
_MAX_STEPS: Final = 50
_SMALLEST_STEP: Final = 1e-6
_LARGEST_LOG: Final = 3.0
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
    Maximum likelihood of Poisson contents of a histogram over the range, against the Gaussian's
    integral in each bin; chi2 is Pearson's. The uncertainties come from the expected information.
    The range follows the events, which adds a few percent to them below 200 events, not included.
    """
    values = finite(residual)
    if len(values) < MIN_FOR_CORE_FIT:
        return _no_core_fit(len(values), f"fewer than {MIN_FOR_CORE_FIT} events")
    centre, width = centre_and_width(values)
    if not width > 0:
        return _no_core_fit(len(values), "no width")
    n_bins = int(np.clip(len(values) / 25, 8, 50))
    # In units of the half width, so that the fit sees numbers of order one.
    scaled = (values - centre) / width
    contents, edges = np.histogram(scaled, n_bins, (-half_widths, half_widths))
    fitted, covariance, is_found = _most_likely(edges, contents.astype(np.float64))
    if not is_found:
        return _no_core_fit(len(values), "the fit did not converge")
    mean_error, log_error = np.sqrt(np.diag(covariance))[:2]
    sigma, expected = width * math.exp(fitted[1]), _expected(edges, fitted)
    n = int(contents.sum())
    return CoreFit(
        mean=_estimate(centre + width * fitted[0], width * mean_error, n, _MEAN),
        sigma=_estimate(sigma, sigma * log_error, n, _SIGMA),
        chi2=float(((contents - expected) ** 2 / expected).sum()),
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


def _most_likely(edges: Values, contents: Values) -> tuple[Values, Values, bool]:
    """Return (mean, ln sigma, amplitude), their covariance, and if the fit converged.

    Fisher scoring: Newton's method with the expected instead of the observed second derivatives,
    which is stable and ready after three steps as a rule.
    """
    fitted, information = np.array([0.0, 0.0, max(contents.sum(), 1.0)]), np.eye(3)
    for _ in range(_MAX_STEPS):
        expected, slopes = _expected(edges, fitted), _slopes(edges, fitted)
        information = slopes.T @ (slopes / expected[:, None])
        try:
            step = np.linalg.solve(information, slopes.T @ (contents / expected - 1))
        except np.linalg.LinAlgError:
            break
        fitted = fitted + np.clip(step, [-0.5, -0.5, -fitted[2] / 2], [0.5, 0.5, np.inf])
        if abs(fitted[1]) > _LARGEST_LOG:
            break
        if np.abs(step[:2]).max() < _SMALLEST_STEP:
            return fitted, np.asarray(np.linalg.inv(information), dtype=np.float64), True
    return fitted, information, False


def _expected(edges: Values, parameters: Values) -> Values:
    contents: Values = parameters[2] * np.diff(ndtr(_pull(edges, parameters)))
    return np.maximum(contents, 1e-9)


def _slopes(edges: Values, parameters: Values) -> Values:
    """Return the derivatives of the contents, shape (n_bins, 3)."""
    pull, amplitude = _pull(edges, parameters), parameters[2]
    density = np.exp(-0.5 * pull**2) / math.sqrt(2 * math.pi)
    by_mean = -amplitude * np.diff(density) * math.exp(-parameters[1])
    by_log_sigma = -amplitude * np.diff(density * pull)
    return np.stack([by_mean, by_log_sigma, np.diff(ndtr(pull))], axis=1)


def _pull(edges: Values, parameters: Values) -> Values:
    pull: Values = (edges - parameters[0]) * math.exp(-parameters[1])
    return pull


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
