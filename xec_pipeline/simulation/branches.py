"""Toy events as branches of the MC files: names, units, types and sentinels of the contract.

Energies are GeV, positions cm, sensor times s, emission times ns, angles degree. 1e10 is "not
measured". The conventional reconstruction is not part of the simulation: without one its branches
hold 1e10, and `solid_angle`, which is seen from the reconstructed point, holds 0.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.config.simulation import SimulationConfig
from xec_pipeline.detector.coordinates import direction_to_angles_deg, xyz_to_uvw
from xec_pipeline.simulation.truth import Photons
from xec_pipeline.units import INVALID, INVALID_ABOVE, MEV_PER_GEV, NS_PER_S, PS_PER_NS

Branches = dict[str, NDArray[Any]]
Array = NDArray[np.float32]

MIN_TIMED_PE = 50.0
"""Only sensors with more photo-electrons may set `time_min_used`."""

_INVALID = np.float32(INVALID)
_MANTISSA_BITS = 23


@dataclass(frozen=True, kw_only=True)
class SensorValues:
    """What the sensors of B events show, each (B, 4760); dead sensors and absent times are 1e10."""

    npho: Array
    nphe: Array
    time_s: Array


def sensor_values(
    config: SimulationConfig,
    charge: Array,
    time_ns: Array,
    *,
    efficiency: Array,
    is_dead: NDArray[np.bool_],
) -> SensorValues:
    """Calibrate, round and mask the drawn charges and times.

    Parameters
    ----------
    config
        Rounding.
    charge, time_ns
        Photo-electrons and times (1e10 for none), shape (B, 4760); may be overwritten.
    efficiency
        Photo-electrons per photon, shape (4760,).
    is_dead
        Shape (4760,).
    """
    npho = charge / efficiency
    has_no_time = time_ns > INVALID_ABOVE
    time_s = time_ns * np.float32(1.0 / NS_PER_S)
    if config.rounding:
        npho, charge = (round_mantissa(array, config.npho_bits) for array in (npho, charge))
        time_s = round_time(time_s, config.time_grid_ps)
    time_s[has_no_time] = _INVALID
    for values in (npho, charge, time_s):
        values[:, is_dead] = _INVALID
    return SensorValues(npho=npho, nphe=charge, time_s=time_s)


def truth_branches(photons: Photons) -> Branches:
    """Return the truth of photons under the names of the MC files."""
    columns = {
        "energyTruth": photons.energy_mev / MEV_PER_GEV,
        "timeTruth": photons.emission_ns,
        "xyzTruth": photons.conversion_cm,
        "uvwTruth": xyz_to_uvw(photons.conversion_cm),
        "xyzVTX": photons.vertex_cm,
        "emiVec": photons.direction,
        "emiAng": direction_to_angles_deg(photons.direction),
    }
    return {name: values.astype(np.float32) for name, values in columns.items()}


def sensor_branches(config: SimulationConfig, values: SensorValues) -> Branches:
    """Return the per-sensor branches and the numbers they are relative to.

    Notes
    -----
    The maximum is over sensors with 0 <= npho < 1e9; the minimum time over sensors with a time
    and more than 50 photo-electrons, so `relative_time` may be negative elsewhere. Ties go to the
    lowest number. If no sensor qualifies the number is -1, and the value and all relative ones
    1e10.
    """
    npho_max, brightest = _brightest(values.npho)
    time_min, earliest = _earliest(values)
    branches: Branches = {
        "ch_npho_max": brightest,
        "ch_time_min": earliest,
        "npho_max_used": npho_max,
        "time_min_used": time_min,
        "npho": values.npho,
        "relative_time": _relative_time(config, values.time_s, time_min),
    }
    if config.branches == "full":
        branches |= {"nphe": values.nphe, "time": values.time_s}
        branches["relative_npho"] = _relative_npho(config, values.npho, npho_max)
    return branches


def reconstruction_branches(n_events: int, n_sensors: int) -> Branches:
    """Return the branches of the conventional reconstruction, all "not measured"."""
    points = ("xyzRecoFI", "xyzRecoLC", "uvwRecoFI", "uvwRecoLC")
    branches: Branches = {name: np.full((n_events, 3), _INVALID) for name in points}
    branches |= {name: np.full(n_events, _INVALID) for name in ("energyReco", "timeReco")}
    branches["solid_angle"] = np.zeros((n_events, n_sensors), dtype=np.float32)
    return branches


def round_mantissa(values: Array, bits: int) -> Array:
    """Round float32 values to `bits` mantissa bits, to nearest; 1e10 must be put back after it."""
    dropped = _MANTISSA_BITS - bits
    if dropped == 0:
        return values.copy()
    words = values.view(np.uint32) + np.uint32(1 << (dropped - 1))
    words &= np.uint32(0xFFFFFFFF >> dropped << dropped)
    rounded: Array = words.view(np.float32)
    return rounded


def round_time(time_s: Array, grid_ps: float) -> Array:
    """Round times in seconds to a grid in picoseconds; 1e10 must be put back after it."""
    per_s = PS_PER_NS * NS_PER_S / grid_ps
    steps = time_s * np.float32(per_s)
    np.rint(steps, out=steps)
    steps *= np.float32(1.0 / per_s)
    return steps


def _brightest(npho: Array) -> tuple[Array, NDArray[np.int16]]:
    is_dead = npho > INVALID_ABOVE
    candidates = np.where(is_dead, np.float32(-1.0), npho)
    number = candidates.argmax(axis=1)
    largest = candidates[np.arange(len(npho)), number]
    return _or_none(largest, number, largest >= 0)


def _earliest(values: SensorValues) -> tuple[Array, NDArray[np.int16]]:
    candidates = np.where(values.nphe > np.float32(MIN_TIMED_PE), values.time_s, _INVALID)
    number = candidates.argmin(axis=1)
    smallest = candidates[np.arange(len(candidates)), number]
    return _or_none(smallest, number, smallest < INVALID_ABOVE)


def _or_none(
    value: Array, number: NDArray[np.intp], found: NDArray[np.bool_]
) -> tuple[Array, NDArray[np.int16]]:
    return np.where(found, value, _INVALID), np.where(found, number, -1).astype(np.int16)


def _relative_time(config: SimulationConfig, time_s: Array, time_min: Array) -> Array:
    relative = time_s - time_min[:, None]
    if config.rounding:
        relative = round_time(relative, config.time_grid_ps)
    relative[time_s > INVALID_ABOVE] = _INVALID
    relative[time_min > INVALID_ABOVE] = _INVALID
    return relative


def _relative_npho(config: SimulationConfig, npho: Array, npho_max: Array) -> Array:
    # A maximum of zero or none leaves nothing to be relative to.
    has_max = (npho_max > 0) & (npho_max < INVALID_ABOVE)
    divisor: Array = np.where(has_max, npho_max, np.float32(1.0))
    ratio = npho / divisor[:, None]
    if config.rounding:
        ratio = round_mantissa(ratio, config.npho_bits)
    ratio[npho > INVALID_ABOVE] = _INVALID
    ratio[~has_max] = _INVALID
    return ratio
