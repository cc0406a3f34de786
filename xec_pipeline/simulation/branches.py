"""Toy events as branches of the MC files: names, units, types and sentinels of the contract.

Energies are GeV, positions cm, sensor times s, emission times ns, angles degree. 1e10 is "not
measured". The conventional reconstruction is not run here: its branches hold 1e10, and
`solid_angle`, which is seen from the reconstructed point, holds 0.
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
        Photo-electrons and times (1e10 for none), shape (B, 4760); overwritten.
    efficiency
        Photo-electrons per photon, shape (4760,).
    is_dead
        Shape (4760,).
    """
    npho = charge / efficiency
    has_time = time_ns < INVALID_ABOVE
    time_s = np.where(has_time, time_ns * np.float32(1.0 / NS_PER_S), _INVALID)
    if config.rounding:
        npho, charge = (round_mantissa(a, config.npho_bits) for a in (npho, charge))
        time_s = round_time(time_s, config.time_grid_ps)
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
    brightest, npho_max = _extreme(-values.npho, (values.npho >= 0) & (values.npho < 1e9))
    has_time = values.time_s < INVALID_ABOVE
    earliest, time_min = _extreme(values.time_s, has_time & (values.nphe > MIN_TIMED_PE))
    npho_max = np.where(npho_max < INVALID_ABOVE, -npho_max, _INVALID)
    branches: Branches = {
        "ch_npho_max": brightest,
        "ch_time_min": earliest,
        "npho_max_used": npho_max,
        "time_min_used": time_min,
        "npho": values.npho,
        "relative_time": _relative_time(config, values.time_s, has_time, time_min),
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
    """Round float32 values to `bits` mantissa bits, to nearest; 1e10 stays 1e10."""
    dropped = _MANTISSA_BITS - bits
    if dropped == 0:
        return values
    half, mask = np.uint32(1 << (dropped - 1)), np.uint32(0xFFFFFFFF >> dropped << dropped)
    rounded = ((values.view(np.uint32) + half) & mask).view(np.float32)
    return np.where(values > INVALID_ABOVE, values, rounded)


def round_time(time_s: Array, grid_ps: float) -> Array:
    """Round times in seconds to a grid in picoseconds; 1e10 stays 1e10."""
    grid_s = np.float32(grid_ps / PS_PER_NS / NS_PER_S)
    return np.where(time_s > INVALID_ABOVE, time_s, np.rint(time_s / grid_s) * grid_s)


def _extreme(values: Array, may_win: NDArray[np.bool_]) -> tuple[NDArray[np.int16], Array]:
    """Sensor number and value of the smallest allowed value of each event; -1 and 1e10 for none."""
    allowed = np.where(may_win, values, _INVALID)
    number = allowed.argmin(axis=1)
    smallest = np.take_along_axis(allowed, number[:, None], axis=1)[:, 0]
    found = np.take_along_axis(may_win, number[:, None], axis=1)[:, 0]
    return np.where(found, number, -1).astype(np.int16), smallest


def _relative_time(
    config: SimulationConfig, time_s: Array, has_time: NDArray[np.bool_], time_min: Array
) -> Array:
    is_valid = has_time & (time_min < INVALID_ABOVE)[:, None]
    relative = np.where(is_valid, time_s - time_min[:, None], _INVALID)
    return round_time(relative, config.time_grid_ps) if config.rounding else relative


def _relative_npho(config: SimulationConfig, npho: Array, npho_max: Array) -> Array:
    is_valid = (npho < 1e9) & (npho_max < INVALID_ABOVE)[:, None]
    # A maximum of zero photons would divide by zero; nothing is relative to it.
    is_valid &= npho_max[:, None] > 0
    ratio = np.divide(npho, npho_max[:, None], out=np.full_like(npho, INVALID), where=is_valid)
    return round_mantissa(ratio, config.npho_bits) if config.rounding else ratio
