"""Every ROOT branch, once: Monte Carlo files and all variants of real-data files.

Energies in files are in GeV, lengths in cm, angles in degree, times of sensors in s. The unit of
`timeTruth` and `timeReco` is ns unless `data.truth_time_unit` says otherwise. A float of 1e10 means
"not measured"; readers treat every value that is not finite or above 9e9 in magnitude like that.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.detector.sensors import N_SENSORS
from xec_pipeline.units import INVALID, INVALID_ABOVE

SCHEMA_VERSION: Final = 1
NPHE_FOR_TIME: Final = 50.0
"""A sensor may define the earliest time of the event above this many photo-electrons."""
PHOTONS_PER_NPHE: Final = 1 / 0.12
"""Photons per photo-electron (12 % detection efficiency), for files without `nphe`."""

Group = Literal["identity", "sensor", "derived", "reconstruction", "truth", "calibration", "limit"]
_PER_SENSOR: Final = (N_SENSORS,)


@dataclass(frozen=True, kw_only=True)
class Branch:
    """One branch of the input tree.

    `invalid` is the value that stands for "not measured"; None if there is no such value.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    unit: str
    meaning: str
    invalid: float | None
    group: Group

    @property
    def is_per_sensor(self) -> bool:
        """Whether there is one value per sensor."""
        return self.shape == _PER_SENSOR

    @property
    def numpy_dtype(self) -> np.dtype[np.generic]:
        """Element type in the file."""
        return np.dtype(self.dtype)

    @property
    def fill(self) -> float:
        """Value of a column that the file lacks: NaN, or -1 for integers."""
        return float("nan") if self.numpy_dtype.kind == "f" else -1


def is_valid(values: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return where `values` hold a measurement: finite and at most 9e9 in magnitude."""
    # A comparison with NaN is false, so one test covers NaN, both infinities and the marker 1e10.
    valid: NDArray[np.bool_] = np.abs(values) <= INVALID_ABOVE
    return valid


def _branches() -> Iterator[Branch]:
    yield from _identity()
    yield from _sensor()
    yield from _derived()
    yield from _truth()
    yield from _reconstruction()
    yield from _calibration()


def _identity() -> Iterator[Branch]:
    for name, meaning in (("run", "run number"), ("event", "event number inside the run")):
        yield Branch(
            name=name,
            shape=(),
            dtype="int32",
            unit="",
            meaning=meaning,
            invalid=None,
            group="identity",
        )


def _sensor() -> Iterator[Branch]:
    rows = (
        ("npho", "photon", "photons per sensor; slightly negative near zero", INVALID),
        ("nphe", "photo-electron", "photo-electrons per sensor", INVALID),
        ("time", "s", "pulse time", INVALID),
        ("relative_npho", "", "npho / npho_max_used", INVALID),
        ("relative_time", "s", "time - time_min_used; negative for faint early sensors", INVALID),
        ("solid_angle", "4 pi", "solid angle seen from xyzRecoFI, as a fraction of 4 pi", 0.0),
    )
    for name, unit, meaning, invalid in rows:
        yield Branch(
            name=name,
            shape=_PER_SENSOR,
            dtype="float32",
            unit=unit,
            meaning=meaning,
            invalid=invalid,
            group="sensor",
        )
    yield Branch(
        name="npho_mean",
        shape=_PER_SENSOR,
        dtype="float32",
        unit="photon",
        meaning="true mean of npho, dead sensors included (toy detector, on request)",
        invalid=None,
        group="sensor",
    )
    yield Branch(
        name="dead",
        shape=_PER_SENSOR,
        dtype="bool",
        unit="",
        meaning="sensor is marked bad in this run",
        invalid=None,
        group="sensor",
    )


def _derived() -> Iterator[Branch]:
    for name, meaning in (
        ("ch_npho_max", "sensor with the largest npho"),
        ("ch_time_min", "sensor with the earliest accepted time"),
    ):
        yield Branch(
            name=name,
            shape=(),
            dtype="int16",
            unit="",
            meaning=meaning,
            invalid=-1,
            group="derived",
        )
    yield _float("npho_max_used", (), "photon", "largest valid npho", "derived")
    yield _float("time_min_used", (), "s", "earliest time of a sensor with nphe > 50", "derived")


def _truth() -> Iterator[Branch]:
    yield _float(
        "energyTruth", (), "GeV", "true photon energy (pi0 kinematics in CEX data)", "truth"
    )
    yield _float("timeTruth", (), "ns", "true emission time at the target", "truth")
    yield _float("uvwTruth", (3,), "cm", "true first interaction in u, v, w", "truth")
    yield _float("xyzTruth", (3,), "cm", "true first interaction", "truth")
    yield _float("xyzVTX", (3,), "cm", "production vertex on the target", "truth")
    yield _float("emiVec", (3,), "", "unit vector from xyzVTX to the first interaction", "truth")
    yield _float("emiAng", (2,), "deg", "theta and phi of emiVec", "truth")


def _reconstruction() -> Iterator[Branch]:
    yield _float("xyzRecoFI", (3,), "cm", "reconstructed first interaction", "reconstruction")
    yield _float("xyzRecoLC", (3,), "cm", "reconstructed light centre", "reconstruction")
    yield _float(
        "uvwRecoFI", (3,), "cm", "reconstructed first interaction in u, v, w", "reconstruction"
    )
    yield _float("uvwRecoLC", (3,), "cm", "reconstructed light centre in u, v, w", "reconstruction")
    yield _float("energyReco", (), "GeV", "energy from the total light", "reconstruction")
    yield _float("timeReco", (), "ns", "calorimeter time minus flight time", "reconstruction")


def _calibration() -> Iterator[Branch]:
    yield _float("Ebgo", (), "GeV", "energy in the BGO crystals opposite", "calibration")
    yield _float("Angle", (), "deg", "opening angle of the two photons", "calibration")
    for name, meaning in (("nDead", "number of dead sensors"), ("gstatus", "status of the photon")):
        yield Branch(
            name=name,
            shape=(),
            dtype="int32",
            unit="",
            meaning=meaning,
            invalid=None,
            group="calibration",
        )


def _limit() -> Iterator[Branch]:
    yield from _identity()
    yield _float("lim_E", (), "GeV", "limit of the photon energy", "limit")
    for name in ("u", "v", "w"):
        yield _float(f"lim_{name}", (), "cm", f"limit of {name} of the first interaction", "limit")
    yield _float("lim_t", (), "ns", "limit of the time of the first interaction", "limit")
    yield _float("lim_t_emission", (), "ns", "limit of the emission time, vertex unseen", "limit")
    for name in ("theta", "phi"):
        yield _float(f"lim_{name}", (), "deg", f"limit of {name} of emiVec", "limit")
    yield _float("w", (), "cm", "true depth, as uvwTruth", "limit")
    yield _float("t_FI", (), "ns", "true time of the first interaction", "limit")


def _float(name: str, shape: tuple[int, ...], unit: str, meaning: str, group: Group) -> Branch:
    return Branch(
        name=name,
        shape=shape,
        dtype="float32",
        unit=unit,
        meaning=meaning,
        invalid=INVALID,
        group=group,
    )


BRANCHES: Final[dict[str, Branch]] = {branch.name: branch for branch in _branches()}
"""All branches by name."""
SENSOR_BRANCHES: Final = tuple(b.name for b in BRANCHES.values() if b.is_per_sensor)
"""Branches with one value per sensor."""
COLUMN_BRANCHES: Final = tuple(b.name for b in BRANCHES.values() if not b.is_per_sensor)
"""Branches kept as columns of the shards: everything that is not per sensor."""
TRUTH_COLUMNS: Final = tuple(b.name for b in BRANCHES.values() if b.group == "truth")
"""Columns that hold the answer."""
LIMIT_BRANCHES: Final[dict[str, Branch]] = {branch.name: branch for branch in _limit()}
"""Branches of the tree `limits` in a file of its own, one entry per event: one standard deviation
that no method can resolve better; see `data.limit_files`."""
