"""What the loop needs of the thing it trains."""

import dataclasses
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeAlias, runtime_checkable

from numpy.typing import NDArray
from torch import Tensor, nn

Table: TypeAlias = dict[str, NDArray[Any]]
"""Columns of equal length by name, one row per event."""


class StageBatch(Protocol):
    """The part of a batch that the loop looks at."""

    @property
    def index_B(self) -> Tensor:  # noqa: N802 - batches name their axes
        """Event numbers on this rank."""

    @property
    def n_total(self) -> int:
        """Events of the batch over all ranks."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Validation:
    """What a validation found.

    Attributes
    ----------
    loss
        Training objective on the validation events, the same number on all ranks.
    metrics
        Further numbers by MLflow name, on rank 0.
    table
        Predictions of every event once, on rank 0; None elsewhere.
    """

    loss: float
    metrics: Mapping[str, float]
    table: Table | None


class Stage(Protocol):
    """A model with its events and its objective."""

    @property
    def model(self) -> nn.Module:
        """The model on its device, not wrapped."""

    @property
    def n_batches(self) -> int:
        """Batches of an epoch, the same on every rank."""

    def batches(self, epoch: int, first: int) -> Generator[Any, None, None]:
        """Go through the training batches of `epoch` (from 1) of this rank, from batch `first`."""

    def event_losses(self, network: nn.Module, batch: Any) -> Tensor:
        """Return the objective of each event of the batch; its mean over events is minimized.

        `network` is the model, wrapped for several ranks or compiled.
        """

    def validate(self, model: nn.Module) -> Validation:
        """Look at every validation event once, over all ranks, with `model` in evaluation mode."""

    def event_names(self, events: Sequence[int]) -> list[str]:
        """Return what a person calls these training events."""

    def describe(self) -> dict[str, Any]:
        """Return what checkpoints of this stage hold beside the state."""


@runtime_checkable
class ScalesTargets(Protocol):
    """A stage whose network learns targets in units that were measured on the training events."""

    def take_targets(self, statistics: Mapping[str, Any], path: Path) -> None:
        """Use the units of the checkpoint `path` instead, which its weights have learned."""


@runtime_checkable
class CarriesSums(Protocol):
    """A stage that sums more than the loss over an epoch, which may be broken off and go on."""

    def carried_sums(self) -> dict[str, float]:
        """Return the sums of the epoch so far over all ranks; every rank must call it."""

    def restore_sums(self, sums: Mapping[str, float]) -> None:
        """Begin the rest of an epoch with what `carried_sums` gave; for one rank."""
