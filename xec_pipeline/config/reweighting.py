"""Which training events count more than others."""

from pydantic import Field, PositiveInt

from xec_pipeline.config.section import Section
from xec_pipeline.config.tasks import TASK_NAMES


class TaskReweighting(Section):
    """Weights that make the distribution of one target flat."""

    enabled: bool = False
    """Weigh events by the inverse population of their bin of this target."""
    nbins: int = Field(default=30, ge=1)
    """Bins of energy and timing, equally wide between the smallest and largest value."""
    nbins_2d: tuple[PositiveInt, PositiveInt] = (20, 20)
    """Bins of angle in theta and phi; the first number is that of u, v and w for uvwFI."""


class ReweightingConfig(Section):
    """Weights of the training events: a product over targets with mean 1. Validation has none."""

    angle: TaskReweighting = TaskReweighting()
    """In theta and phi."""
    energy: TaskReweighting = TaskReweighting()
    """In the photon energy."""
    timing: TaskReweighting = TaskReweighting()
    """In the time relative to the earliest sensor."""
    uvwFI: TaskReweighting = TaskReweighting()  # noqa: N815 - the name of the task
    """In u, v and w."""
    max_weight: float = Field(default=10.0, ge=1)
    """Largest weight of an event; what it cuts off is shared among the other events."""

    @property
    def active(self) -> tuple[str, ...]:
        """Names of the targets that make weights, in contract order."""
        return tuple(name for name in TASK_NAMES if self[name].enabled)

    def __getitem__(self, name: str) -> TaskReweighting:
        """Return the weights of the target called `name`."""
        section: TaskReweighting = getattr(self, name)
        return section

    def bins_of(self, name: str) -> tuple[int, ...]:
        """Return the number of bins along each component of the target called `name`."""
        section = self[name]
        if name == "angle":
            return section.nbins_2d
        return (section.nbins_2d[0],) * 3 if name == "uvwFI" else (section.nbins,)
