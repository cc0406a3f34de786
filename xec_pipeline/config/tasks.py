"""What the regressor predicts."""

from typing import Final, Literal

from pydantic import Field

from xec_pipeline.config.section import Section

TASK_NAMES: Final = ("angle", "energy", "timing", "uvwFI")

LossName = Literal[
    "smooth_l1",
    "huber",
    "l1",
    "mse",
    "l2",
    "relative_l1",
    "relative_smooth_l1",
    "relative_mse",
    "relative_l2",
    "gaussian_nll",
    "cosine",
]


class TaskConfig(Section):
    """One regression target. The loss acts on the standardized target."""

    enabled: bool = False
    """Train a head for this target."""
    loss_fn: LossName = "smooth_l1"
    """Element loss; gaussian_nll also predicts the uncertainty."""
    loss_beta: float = Field(default=1.0, ge=0)
    """Knee of smooth_l1 in standard deviations; variance exponent of gaussian_nll in training.

    Validation takes gaussian_nll with exponent 0.
    """
    weight: float = Field(default=1.0, ge=0)
    """Weight in the sum over tasks."""
    log_transform: bool = False
    """Regress ln(target)."""


class TimingTaskConfig(TaskConfig):
    """The time head."""

    reference: Literal["emission", "interaction"] = "interaction"
    """At the target (`timeTruth`), or at the first interaction (plus |xyzTruth - xyzVTX| / c)."""
    origin: Literal["first_sensor", "none"] = "first_sensor"
    """What the network's time counts from: the earliest sensor time of the event, or nothing, as in
    networks of the earlier system."""


class TasksConfig(Section):
    """The targets by name."""

    angle: TaskConfig = TaskConfig()
    """Emission angles theta, phi [deg] (`emiAng`)."""
    energy: TaskConfig = TaskConfig()
    """Photon energy (`energyTruth`)."""
    timing: TimingTaskConfig = TimingTaskConfig()
    """Photon time (`timeTruth`), regressed relative to `time_min_used`."""
    uvwFI: TaskConfig = TaskConfig()
    """First interaction point u, v, w [cm] (`uvwTruth`)."""

    @property
    def active(self) -> tuple[str, ...]:
        """Names of the enabled tasks, in contract order."""
        return tuple(name for name in TASK_NAMES if self[name].enabled)

    def __getitem__(self, name: str) -> TaskConfig:
        """Return the task called `name`."""
        task: TaskConfig = getattr(self, name)
        return task
