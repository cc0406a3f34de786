"""Charge and time of the sensors, given their mean light.

Charge: n ~ Poisson(mean), q = n + sqrt(n g^2 + p^2) N(0, 1) with the relative width g of one
photo-electron and the pedestal p. Time: mean arrival plus noise of variance a^2 / q + b^2; below
a threshold there is no time.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.config.simulation import PileupConfig, ResponseConfig
from xec_pipeline.simulation.instrument import Instrument
from xec_pipeline.simulation.sampling import MAX_MEAN, draw_normal, draw_poisson
from xec_pipeline.units import INVALID

Array = NDArray[np.float32]

BRIGHT_PE = MAX_MEAN
"""From this mean on, count, gain and pedestal are one normal number with the Poisson skewness."""


@dataclass(frozen=True, kw_only=True)
class Pulses:
    """Mean light of B events and when it arrives.

    `photoelectrons`: (B, 4760) mean of all light; `time_ns`: (B, 4760) mean time of the pulse
    that is timed; `timed_share`: (B, 4760) share of the light in that pulse, None for all of it.
    """

    photoelectrons: Array
    time_ns: Array
    timed_share: Array | None = None


def overlay(pileup: PileupConfig, first: Pulses, second: Pulses) -> Pulses:
    """Add the light of a second photon in the same events.

    Notes
    -----
    A sensor sees one pulse if the two arrive within `merge_ns`: all light, the earlier time.
    Otherwise the brighter pulse is timed, with its own share of the light.
    """
    total = first.photoelectrons + second.photoelectrons
    is_merged = np.abs(first.time_ns - second.time_ns) < pileup.merge_ns
    is_first = first.photoelectrons >= second.photoelectrons
    brighter = np.where(is_first, first.photoelectrons, second.photoelectrons)
    brighter_time = np.where(is_first, first.time_ns, second.time_ns)
    return Pulses(
        photoelectrons=total,
        time_ns=np.where(is_merged, np.minimum(first.time_ns, second.time_ns), brighter_time),
        timed_share=np.where(is_merged, np.float32(1.0), brighter / total),
    )


def draw_charge(mean: Array, instrument: Instrument, rng: np.random.Generator) -> Array:
    """Draw the charge of sensors.

    Parameters
    ----------
    mean
        Mean photo-electrons, shape (B, 4760).
    instrument
        Noise of the sensors.
    rng
        Source of the random numbers.

    Returns
    -------
    ndarray
        Photo-electrons, (B, 4760) float32; may be negative by the pedestal.

    Notes
    -----
    Exact below `BRIGHT_PE`. Above it a Poisson count is its mean plus a normal number z and (z^2
    - 1) / 6, which gives the right mean, variance and skewness.
    """
    is_bright = mean >= BRIGHT_PE
    count = draw_poisson(np.where(is_bright, np.float32(0.0), mean), rng)
    normal = draw_normal(mean.shape, rng)
    np.copyto(count, mean, where=is_bright)
    variance = count * (instrument.gain_variance + is_bright.astype(np.float32))
    variance += instrument.pedestal_variance
    charge: Array = np.sqrt(variance, out=variance)
    charge *= normal
    charge += count
    charge += is_bright * (normal * normal - np.float32(1.0)) * np.float32(1.0 / 6.0)
    return charge


def draw_time(
    pulses: Pulses, charge: Array, response: ResponseConfig, rng: np.random.Generator
) -> Array:
    """Draw the time of sensors.

    Parameters
    ----------
    pulses
        Mean times and the share of the light that is timed.
    charge
        Photo-electrons of all light, shape (B, 4760).
    response
        Time noise and threshold.
    rng
        Source of the random numbers.

    Returns
    -------
    ndarray
        Time [ns], (B, 4760) float32; 1e10 below the threshold.
    """
    timed = charge if pulses.timed_share is None else charge * pulses.timed_share
    # Row numbers instead of a mask: three look-ups of the few sensors that have a time.
    rows = np.flatnonzero(timed >= response.threshold_pe)
    q = timed.ravel()[rows]
    sigma = np.sqrt(
        np.float32(response.time_noise_ns**2) / q + np.float32(response.time_floor_ns**2)
    )
    time = np.full_like(charge, INVALID)
    time.ravel()[rows] = pulses.time_ns.ravel()[rows] + sigma * draw_normal((q.size,), rng)
    return time
