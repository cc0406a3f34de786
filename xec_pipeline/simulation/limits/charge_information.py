"""What the charge of one sensor tells about its mean: its Fisher information.

The charge q of a sensor with the mean mu has the density p(q) = sum over n of Poisson(n; mu) times
Normal(q; n, n g^2 + p^2), with the relative width g of one photo-electron and the pedestal p. The
information is the integral of (dp/dmu)^2 / p. Counting without noise would give 1 / mu.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from xec_pipeline.config.simulation import ResponseConfig
from xec_pipeline.detector.sensors import N_SIPM
from xec_pipeline.errors import ConfigError

Values = NDArray[np.float64]

BRIGHT_PE: Final = 60.0
"""From this mean on, a normal charge of the same mean and variance tells as much to 1 %."""
_FAINT_PE: Final = 1e-3
_GRID_POINTS: Final = 160
_LEAST_PEDESTAL_PE: Final = 0.05
_STEPS_PER_PEDESTAL: Final = 6
_REACH: Final = 9.0
"""Standard deviations beyond which densities are taken for nothing."""
_TINY: Final = 1e-300


def exact_information(mean: Values, gain_variance: float, pedestal_variance: float) -> Values:
    """Return the information of one charge by integration.

    Parameters
    ----------
    mean
        Mean photo-electrons, above 0; shape (M,). Meant for at most some hundred.
    gain_variance
        Relative variance of one photo-electron.
    pedestal_variance
        In photo-electrons squared, above 0.

    Returns
    -------
    ndarray
        Shape (M,), in 1 / photo-electrons squared.
    """
    highest = float(mean.max())
    count = np.arange(int(highest + 1.5 * _REACH * np.sqrt(highest) + 25))
    variance = count * gain_variance + pedestal_variance
    pedestal = np.sqrt(pedestal_variance)
    charge = np.arange(
        -_REACH * pedestal,
        count[-1] + _REACH * np.sqrt(variance[-1]),
        pedestal / _STEPS_PER_PEDESTAL,
    )
    shape = np.exp(-0.5 * (charge[:, None] - count) ** 2 / variance)
    shape /= np.sqrt(2 * np.pi * variance)
    poisson = np.exp(count * np.log(mean)[:, None] - mean[:, None] - gammaln(count + 1.0))
    density = poisson @ shape.T
    slope = (poisson * (count / mean[:, None] - 1.0)) @ shape.T
    possible = density > _TINY
    integrand = np.where(possible, slope**2 / np.where(possible, density, 1.0), 0.0)
    information: Values = np.trapezoid(integrand, charge, axis=1)
    return information


def normal_information(mean: Values, gain_variance: float, pedestal_variance: float) -> Values:
    """Return the information of a normal charge whose mean and variance depend on `mean`.

    Notes
    -----
    1 / V + (dV/dmu / V)^2 / 2 with V = mu (1 + g^2) + p^2.
    """
    growth = 1.0 + gain_variance
    variance = mean * growth + pedestal_variance
    information: Values = 1.0 / variance + 0.5 * (growth / variance) ** 2
    return information


class ChargeInformation:
    """Information of the charges of all sensors, from tables that are made once.

    Parameters
    ----------
    response
        Noise of SiPMs and PMTs.

    Raises
    ------
    ConfigError
        If a pedestal is below 0.05 photo-electrons: its charge is no smooth number.
    """

    def __init__(self, response: ResponseConfig) -> None:
        noise = (
            (response.gain_spread_sipm, response.pedestal_sipm),
            (response.gain_spread_pmt, response.pedestal_pmt),
        )
        if min(pedestal for _, pedestal in noise) < _LEAST_PEDESTAL_PE:
            raise ConfigError(
                "the physical limit needs response.pedestal_sipm and pedestal_pmt of at least "
                f"{_LEAST_PEDESTAL_PE} photo-electrons, got {noise[0][1]} and {noise[1][1]}"
            )
        self._variances = [(gain**2, pedestal**2) for gain, pedestal in noise]
        mean = np.geomspace(_FAINT_PE, BRIGHT_PE, _GRID_POINTS)
        self._log_mean = np.log(mean)
        self._log_tables = [np.log(exact_information(mean, *pair)) for pair in self._variances]

    def __call__(self, mean: Values) -> Values:
        """Return the information of every sensor, (4760,) to (4760,).

        Means below 0.001, which diffuse light does not allow, count as 0.001.
        """
        kinds = (slice(None, N_SIPM), slice(N_SIPM, None))
        return np.concatenate([self._of_kind(k, mean[kind]) for k, kind in enumerate(kinds)])

    def _of_kind(self, kind: int, mean: Values) -> Values:
        log_faint = np.interp(
            np.log(np.maximum(mean, _FAINT_PE)), self._log_mean, self._log_tables[kind]
        )
        bright = normal_information(mean, *self._variances[kind])
        return np.where(mean < BRIGHT_PE, np.exp(log_faint), bright)
