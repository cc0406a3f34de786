"""Every regression target, once: where it comes from, its components, its columns and units.

Internal units are MeV, cm, ns and degree. A target value is NaN where the file holds no truth.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.config.run import RegressorRun
from xec_pipeline.config.tasks import TASK_NAMES
from xec_pipeline.data.schema import is_valid
from xec_pipeline.errors import ConfigError, did_you_mean
from xec_pipeline.units import (
    MEV_PER_GEV,
    NS_PER_S,
    PS_PER_NS,
    SPEED_OF_LIGHT_CM_PER_NS,
)

Columns = Mapping[str, NDArray[np.generic]]
Values = NDArray[np.float64]

_FAR_CM: Final = 900.0
"""Positions beyond this are failed reconstructions (the analyzer writes -1000 cm)."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """What one task predicts.

    `csv_scale` and `figure_scale` multiply an internal value to give the unit of the prediction
    table and of the figures. `branches` must be in the ROOT file; `interaction_branches` are needed
    in addition if the time refers to the first interaction.
    """

    name: str
    branches: tuple[str, ...]
    columns: tuple[str, ...]
    unit: str
    csv_unit: str
    csv_scale: float
    figure_unit: str
    figure_scale: float
    labels: tuple[str, ...]
    interaction_branches: tuple[str, ...] = ()

    @property
    def n_components(self) -> int:
        """Number of values predicted per event."""
        return len(self.columns)

    @property
    def csv_true(self) -> tuple[str, ...]:
        """Names of the truth columns in the prediction table."""
        return tuple(f"true_{column}" for column in self.columns)

    @property
    def csv_pred(self) -> tuple[str, ...]:
        """Names of the prediction columns in the prediction table."""
        return tuple(f"pred_{column}" for column in self.columns)

    @property
    def csv_sigma(self) -> tuple[str, ...]:
        """Names of the columns with the predicted uncertainty, if the head has one."""
        return tuple(f"pred_sigma_{column}" for column in self.columns)

    def required_branches(self, timing_reference: str) -> tuple[str, ...]:
        """Return the branches needed when times refer to `emission` or `interaction`."""
        extra = self.interaction_branches if timing_reference == "interaction" else ()
        return self.branches + extra


TARGETS: Final[dict[str, Target]] = {
    "angle": Target(
        name="angle",
        branches=("emiAng",),
        columns=("theta", "phi"),
        unit="deg",
        csv_unit="deg",
        csv_scale=1.0,
        figure_unit="deg",
        figure_scale=1.0,
        labels=(r"$\theta$", r"$\phi$"),
    ),
    "energy": Target(
        name="energy",
        branches=("energyTruth",),
        columns=("energy",),
        unit="MeV",
        csv_unit="GeV",
        csv_scale=1 / MEV_PER_GEV,
        figure_unit="MeV",
        figure_scale=1.0,
        labels=("E",),
    ),
    "timing": Target(
        name="timing",
        branches=("timeTruth", "time_min_used"),
        columns=("timing",),
        unit="ns",
        csv_unit="s",
        csv_scale=1 / NS_PER_S,
        figure_unit="ps",
        figure_scale=PS_PER_NS,
        labels=("t",),
        interaction_branches=("xyzTruth", "xyzVTX"),
    ),
    "uvwFI": Target(
        name="uvwFI",
        branches=("uvwTruth",),
        columns=("u", "v", "w"),
        unit="cm",
        csv_unit="cm",
        csv_scale=1.0,
        figure_unit="cm",
        figure_scale=1.0,
        labels=("u", "v", "w"),
    ),
}
"""Targets by task name, in contract order."""


def target_named(task: str) -> Target:
    """Return the target of `task`; raise ConfigError naming the nearest if there is none."""
    try:
        return TARGETS[task]
    except KeyError:
        raise ConfigError(
            f"unknown task '{task}'{did_you_mean(task, TASK_NAMES)}; tasks: {', '.join(TASK_NAMES)}"
        ) from None


def target_values(task: str, columns: Columns, run: RegressorRun) -> Values:
    """Return the true values of one task.

    Parameters
    ----------
    task
        One of the task names.
    columns
        Event columns as in the ROOT file or in shards, each of shape (N,) or (N, k).
    run
        Its `data.truth_time_unit` and `tasks.timing.reference` decide what the time means.

    Returns
    -------
    ndarray
        Shape (N, k), float64, in MeV, ns (absolute), cm or degree. NaN where there is no truth.
    """
    if target_named(task).name == "timing":
        return absolute_time_ns(columns, run)[:, None]
    if task == "energy":
        return _measured(columns["energyTruth"])[:, None] * MEV_PER_GEV
    values = _measured(columns[TARGETS[task].branches[0]])
    if task == "uvwFI":
        values[np.abs(values).max(axis=1) > _FAR_CM] = np.nan
    values[~np.isfinite(values).all(axis=1)] = np.nan
    return values


def absolute_time_ns(columns: Columns, run: RegressorRun) -> Values:
    """Return the true time [ns], shape (N,), at the target or at the first interaction.

    The interaction is later by the photon's flight, |xyzTruth - xyzVTX| / c.
    """
    factor = NS_PER_S if run.data.truth_time_unit == "s" else 1.0
    time_ns = _measured(columns["timeTruth"]) * factor
    if run.tasks.timing.reference == "interaction":
        path_cm = _measured(columns["xyzTruth"]) - _measured(columns["xyzVTX"])
        time_ns = time_ns + np.sqrt((path_cm**2).sum(axis=1)) / SPEED_OF_LIGHT_CM_PER_NS
    return time_ns


def time_offset_ns(columns: Columns, run: RegressorRun) -> Values:
    """Return what the network's time of each event counts from [ns], shape (N,).

    It is the time that was subtracted from every sensor, or 0 with `tasks.timing.origin: none`.
    """
    subtracted = first_sensor_ns(columns)
    return subtracted if run.tasks.timing.origin == "first_sensor" else np.zeros_like(subtracted)


def first_sensor_ns(columns: Columns) -> Values:
    """Return the time that was subtracted from all sensors of an event [ns], shape (N,)."""
    return _measured(columns["time_min_used"]) * NS_PER_S


def timing_training_target(absolute_ns: Values, columns: Columns, run: RegressorRun) -> Values:
    """Return what the time head learns [ns]: the absolute time minus the earliest sensor time.

    The sensors show times relative to the earliest one, so the event's offset cannot be seen in
    them and only this difference can be learned. Shapes (N, 1) or (N,) are kept.
    """
    offset = time_offset_ns(columns, run)
    return absolute_ns - offset.reshape(absolute_ns.shape)


def _measured(raw: NDArray[np.generic]) -> Values:
    """Return `raw` as a float64 copy with NaN for everything that is not a measurement."""
    values = np.array(raw, dtype=np.float64)
    values[~is_valid(values)] = np.nan
    return values
