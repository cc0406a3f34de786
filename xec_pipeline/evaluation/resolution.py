"""Estimators of resolution and bias, each with a statistical uncertainty.

All take residuals (predicted minus true) or distances as an array of shape (n_events,). Values that
are not finite are left out and not counted. Too few events give NaN, never an exception. Quantiles
interpolate linearly between order statistics.

"68 %" in figures and tables is 68.27 %, the content of one Gaussian standard deviation, so that a
half width is a sigma. The metrics of a training (`*_68pct`, `val_resolution_deg`, see
`training.metrics`) are the 68th percentile of |residual|; for a Gaussian that is 0.6 % less.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import curve_fit
from scipy.special import ndtr

Values = NDArray[np.float64]

COVERAGE: Final = 0.6827
"""Fraction of a Gaussian within one standard deviation."""
_TAIL: Final = (1 - COVERAGE) / 2
_N_RESAMPLES: Final = 200
_MIN_FOR_ERROR: Final = 5
_MIN_FOR_CORE_FIT: Final = 50


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its uncertainty and how it was obtained; NaN where it cannot be."""

    value: float
    error: float
    n: int
    estimator: str

    def scaled(self, factor: float) -> "Estimate":
        """Return the estimate in another unit."""
        return Estimate(
            value=self.value * factor,
            error=self.error * abs(factor),
            n=self.n,
            estimator=self.estimator,
        )

    def numbers(self) -> dict[str, Any]:
        """Return the fields as a dictionary."""
        return {
            "value": self.value,
            "error": self.error,
            "n": self.n,
            "estimator": self.estimator,
        }


Estimator = Callable[[Values], Estimate]


def finite(values: ArrayLike) -> Values:
    """Return the finite entries as a float64 array of one axis."""
    array = np.asarray(values, dtype=np.float64).ravel()
    kept: Values = array[np.isfinite(array)]
    return kept


def half_width_68(residual: ArrayLike) -> Estimate:
    """Return half the width of the central 68.27 % interval of the residuals.

    Parameters
    ----------
    residual
        Predicted minus true value, shape (n_events,).

    Returns
    -------
    Estimate
        In the unit of `residual`. NaN for fewer than two events; the error needs five.

    Notes
    -----
    (q(84.135 %) - q(15.865 %)) / 2. It is sigma for a Gaussian, and does not see a common bias. The
    uncertainty comes from order statistics: the rank of a quantile fluctuates binomially by
    sqrt(n p (1 - p)), and the values of the two quantiles are correlated by p / (1 - p).
    """
    values = np.sort(finite(residual))
    name = "68 % half width"
    if len(values) < 2:
        return _unknown(len(values), name)
    low, high = np.quantile(values, (_TAIL, 1 - _TAIL))
    low_error, high_error = _quantile_error(values, _TAIL), _quantile_error(values, 1 - _TAIL)
    correlation = _TAIL / (1 - _TAIL)
    variance = low_error**2 + high_error**2 - 2 * correlation * low_error * high_error
    return Estimate(
        value=float(high - low) / 2,
        error=math.sqrt(variance) / 2,
        n=len(values),
        estimator=name,
    )


def containment_68(residual: ArrayLike) -> Estimate:
    """Return the distance within which 68.27 % of the predictions lie: the quantile of |residual|.

    Unlike the half width it includes a bias. For a distance or opening angle it is the containment
    radius. The uncertainty comes from order statistics as in `half_width_68`.
    """
    values = np.sort(np.abs(finite(residual)))
    name = "68 % quantile of |residual|"
    if not len(values):
        return _unknown(0, name)
    return Estimate(
        value=float(np.quantile(values, COVERAGE)),
        error=_quantile_error(values, COVERAGE),
        n=len(values),
        estimator=name,
    )


def median_bias(residual: ArrayLike) -> Estimate:
    """Return the median residual; uncertainty from order statistics."""
    values = np.sort(finite(residual))
    if not len(values):
        return _unknown(0, "median")
    return Estimate(
        value=float(np.median(values)),
        error=_quantile_error(values, 0.5),
        n=len(values),
        estimator="median",
    )


def mean_bias(residual: ArrayLike) -> Estimate:
    """Return the mean and its standard error (sample standard deviation over sqrt(n))."""
    values = finite(residual)
    if not len(values):
        return _unknown(0, "mean")
    error = float(values.std(ddof=1)) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return Estimate(value=float(values.mean()), error=error, n=len(values), estimator="mean")


def sigma_eff(residual: ArrayLike, *, seed: int = 0) -> Estimate:
    """Return half the width of the shortest interval that holds 68.27 % of the values.

    Parameters
    ----------
    residual
        Shape (n_events,).
    seed
        Of the bootstrap (200 resamples) that gives the uncertainty.
    """
    values = np.sort(finite(residual))
    n, name = len(values), "shortest 68 % interval / 2"
    if n < 2:
        return _unknown(n, name)
    error = math.nan
    if n >= _MIN_FOR_ERROR:
        ranks = np.random.default_rng(seed).integers(0, n, (_N_RESAMPLES, n))
        resampled = np.sort(values[ranks], axis=1)
        error = float(_shortest_half_width(resampled).std(ddof=1))
    value = float(_shortest_half_width(values[None])[0])
    return Estimate(value=value, error=error, n=n, estimator=name)


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
    centre, width = median_bias(values).value, half_width_68(values).value
    if len(values) < _MIN_FOR_CORE_FIT:
        return _no_core_fit(len(values), f"fewer than {_MIN_FOR_CORE_FIT} events")
    if width <= 0:
        return _no_core_fit(len(values), "no width")
    reach = half_widths * width
    n_bins = int(np.clip(len(values) / 25, 8, 50))
    contents, edges = np.histogram(values, n_bins, (centre - reach, centre + reach))
    try:
        fitted, covariance, expected = _fit_twice(edges, contents, (centre, width, len(values)))
    except (RuntimeError, ValueError) as error:
        return _no_core_fit(len(values), f"fit failed: {error}")
    errors = np.sqrt(np.diag(covariance))
    chi2 = float(((contents - expected) ** 2 / np.maximum(expected, 1.0)).sum())
    n = int(contents.sum())
    return CoreFit(
        mean=Estimate(value=fitted[0], error=errors[0], n=n, estimator="Gaussian core mean"),
        sigma=Estimate(value=fitted[1], error=errors[1], n=n, estimator="Gaussian core sigma"),
        chi2=chi2,
        ndf=n_bins - 3,
        low=float(edges[0]),
        high=float(edges[-1]),
        amplitude=fitted[2],
    )


def _fit_twice(
    edges: Values, contents: NDArray[Any], start: tuple[float, float, float]
) -> tuple[list[float], Values, Values]:
    def content(edge: Values, mean: float, sigma: float, amplitude: float) -> Values:
        below: Values = ndtr((edge - mean) / sigma)
        return amplitude * np.diff(below)

    bounds = ([-np.inf, 1e-6 * start[1], 0], np.inf)
    expected = np.maximum(contents.astype(np.float64), 1.0)
    fitted, covariance = np.asarray(start, dtype=np.float64), np.eye(3)
    for _ in range(2):
        fitted, covariance = curve_fit(
            content,
            edges,
            contents,
            p0=fitted,
            sigma=np.sqrt(np.maximum(expected, 1.0)),
            absolute_sigma=True,
            bounds=bounds,
        )
        expected = content(edges, *fitted)
    return [float(value) for value in fitted], covariance, expected


def _no_core_fit(n: int, note: str) -> CoreFit:
    return CoreFit(
        mean=_unknown(n, "Gaussian core mean"),
        sigma=_unknown(n, "Gaussian core sigma"),
        chi2=math.nan,
        ndf=0,
        low=math.nan,
        high=math.nan,
        amplitude=math.nan,
        note=note,
    )


def _quantile_error(values: Values, fraction: float) -> float:
    """Return half the distance between the values one binomial deviation around the quantile."""
    n = len(values)
    if n < _MIN_FOR_ERROR:
        return math.nan
    shift = math.sqrt(fraction * (1 - fraction) / n)
    around = np.clip([fraction - shift, fraction + shift], 0, 1)
    low, high = np.quantile(values, around)
    return float(high - low) / 2


def _shortest_half_width(values: Values) -> Values:
    """Return half of the shortest interval of each row of sorted values."""
    n = values.shape[1]
    inside = max(math.ceil(COVERAGE * n) - 1, 1)
    half: Values = (values[:, inside:] - values[:, : n - inside]).min(axis=1) / 2
    return half


def _unknown(n: int, estimator: str) -> Estimate:
    return Estimate(value=math.nan, error=math.nan, n=n, estimator=estimator)
