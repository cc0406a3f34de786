"""The physical limit of one event: how well any method can know it from what its sensors show.

Given parameters and latents the sensors are independent, so their information adds up. With what is
known beforehand, the inverse is the covariance of the best estimate, as far as the light is linear
in the parameters over this width (Laplace's approximation). No theorem says that nothing can be
better, but a fit of the full likelihood reaches it, and does not surpass it.
"""

from typing import Final

import numpy as np
import torch
from scipy.special import ndtr

from xec_pipeline.config.simulation import SimulationConfig
from xec_pipeline.errors import ConfigError
from xec_pipeline.simulation.instrument import Instrument, build_instrument
from xec_pipeline.simulation.light import one_thread
from xec_pipeline.simulation.limits import parameters as numbers
from xec_pipeline.simulation.limits.charge_information import ChargeInformation, Values
from xec_pipeline.simulation.limits.light_slopes import ExactLight

LIMITS: Final = ("energy", "u", "v", "w", "time", "theta", "phi", "emission_time")
"""What `EventLimits.limits` returns, in MeV, cm, ns and degree; time is that of the interaction."""
_N_DIRECT: Final = 5


class EventLimits:
    """Limits of the events of one configuration.

    Parameters
    ----------
    config
        How the events were simulated.
    instrument
        The sensors; a dead one tells nothing. By default those of the configuration.

    Raises
    ------
    ConfigError
        If events may have a second photon, or the pedestal noise is next to nothing.
    """

    def __init__(self, config: SimulationConfig, instrument: Instrument | None = None) -> None:
        if config.pileup.probability > 0:
            raise ConfigError(
                "the physical limit of events with a second photon is not known; simulate events "
                f"without pile-up (pileup.probability is {config.pileup.probability})"
            )
        sensors = build_instrument(config) if instrument is None else instrument
        self._config = config
        self._alive = ~sensors.is_dead
        self._efficiency = sensors.efficiency.astype(np.float64)
        self._gain = sensors.gain_variance.astype(np.float64)
        self._pedestal = sensors.pedestal_variance.astype(np.float64)
        self._light = ExactLight(config.light, sensors.geometry)
        self._charge_information = ChargeInformation(config.response)
        self._prior = numbers.prior_information(config.beam)

    def limits(self, events: Values) -> Values:
        """Return the limits of n events.

        Parameters
        ----------
        events
            See `parameters.event_parameters`, shape (n, 18).

        Returns
        -------
        ndarray
            Standard deviations, shape (n, 8), columns as in `LIMITS`; infinite where nothing is
            known.
        """
        with one_thread():
            rows = [self._of_one(event) for event in events]
        return np.array(rows).reshape(-1, len(LIMITS))

    def information(self, event: Values) -> Values:
        """Return what the living sensors tell of one event's parameters, (18,) to (18, 18).

        Notes
        -----
        Sum over sensors of I(mu) grad mu grad mu^T for the charges and, for the times, of
        P(hit) / (a^2 / mu + b^2) grad t grad t^T with the probability P to pass the threshold.
        """
        mean, mean_slopes, time_slopes = self.mean_and_slopes(event)
        charge = mean_slopes * (self._alive * self._charge_information(mean))
        timing = time_slopes * (self._alive * self._time_weight(mean))
        total: Values = _product(charge, mean_slopes.T) + _product(timing, time_slopes.T)
        symmetric: Values = (total + total.T) / 2
        return symmetric

    def mean_and_slopes(self, event: Values) -> tuple[Values, Values, Values]:
        """Return the mean photo-electrons of one event and the derivatives of light and time.

        Parameters
        ----------
        event
            Parameters, shape (18,).

        Returns
        -------
        mean, mean_slopes, time_slopes
            Shapes (4760,), (18, 4760), (18, 4760). The light is differentiated by the light points
            analytically, and these by the parameters by central differences.
        """
        log_photons, quantities = numbers.point_quantities(self._config, event[None])
        moved_log, moved = numbers.point_quantities(self._config, numbers.shifted(event))
        by_parameter = numbers.slopes(moved)
        position, share, path = np.split(quantities[0], (9, 12))
        light = self._light.slopes(position.reshape(3, 3), share, path)
        emitted = np.exp(log_photons[0]) * self._efficiency
        mean = emitted * light.fraction
        mean_slopes = emitted * _product(by_parameter, light.fraction_slopes)
        mean_slopes += numbers.slopes(moved_log)[:, None] * mean
        time_slopes = _product(by_parameter, light.delay_slopes)
        time_slopes[numbers.TIME] += 1.0
        time_slopes[numbers.CLOCK] += self._config.response.clock_jitter_ns
        return mean, mean_slopes, time_slopes

    def _time_weight(self, mean: Values) -> Values:
        """Return the information of every sensor's time [1/ns2], (4760,)."""
        response = self._config.response
        width = np.sqrt(mean * (1.0 + self._gain) + self._pedestal)
        is_hit = ndtr((mean - response.threshold_pe) / width)
        variance = response.time_noise_ns**2 / np.maximum(mean, 1.0) + response.time_floor_ns**2
        weight: Values = is_hit / variance
        return weight

    def _of_one(self, event: Values) -> Values:
        covariance = posterior_covariance(self.information(event), self._prior)
        emission = numbers.emission(self._config.beam, numbers.shifted(event))
        used = slice(numbers.FIRST_LATENT)  # latents have no part in the emission
        slopes, known = numbers.slopes(emission)[used], covariance[used, used]
        with np.errstate(invalid="ignore"):
            derived = np.einsum("pi,pq,qi->i", slopes, known, slopes)
        derived[np.isnan(derived)] = np.inf  # infinity times nothing
        widths: Values = np.sqrt(np.concatenate([np.diag(covariance)[:_N_DIRECT], derived]))
        return widths


def _product(left: Values, right: Values) -> Values:
    # By torch, which `one_thread` governs: numpy's library would start threads for nothing.
    result: Values = (torch.from_numpy(left) @ torch.from_numpy(right)).numpy()
    return result


def posterior_covariance(information: Values, prior: Values) -> Values:
    """Return the covariance of the best estimate.

    Parameters
    ----------
    information
        What the sensors tell, shape (P, P).
    prior
        What is known beforehand, the diagonal of shape (P,).

    Returns
    -------
    ndarray
        Shape (P, P); a parameter of which nothing is known has an infinite variance.
    """
    total = information + np.diag(prior)
    known = np.flatnonzero(np.diag(total) > 0)
    covariance = np.zeros_like(total)
    np.fill_diagonal(covariance, np.inf)
    # Parameters have different units; unit diagonals keep the inverse exact.
    scale = 1.0 / np.sqrt(np.diag(total)[known])
    inverse = np.linalg.inv(total[np.ix_(known, known)] * np.outer(scale, scale))
    covariance[np.ix_(known, known)] = inverse * np.outer(scale, scale)
    return covariance
