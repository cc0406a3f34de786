"""What trainings that hide sensors have in common: events without truth, masks, predictions."""

import abc
import dataclasses
from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, ClassVar, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from xec_pipeline.config.inpainter import InpainterRun
from xec_pipeline.config.mae import MaeRun
from xec_pipeline.data.dataset import Batch, EventBatches
from xec_pipeline.data.identity import event_identity
from xec_pipeline.data.selection import fiducial_mask
from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline.errors import DataError
from xec_pipeline.models.input_norm import InputNormalizer
from xec_pipeline.models.masking import FIXED_DRAW, SensorMasks
from xec_pipeline.revision import git_revision
from xec_pipeline.training.distributed import DistContext
from xec_pipeline.training.intensity import fit_intensity_weights
from xec_pipeline.training.masked_losses import (
    FeatureLoss,
    MaskedLoss,
    SensorTruth,
    sensor_truth,
    visible_means,
)
from xec_pipeline.training.masked_metrics import MaskedSums, MaskedTotals
from xec_pipeline.training.network import mixed_precision
from xec_pipeline.training.seeding import seed_weights
from xec_pipeline.training.stage import Validation
from xec_pipeline.training.stages.event_names import event_names

_IDENTITY: Final = ("run", "event")


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskedBatch:
    """Some events with the sensors that are hidden.

    Attributes
    ----------
    index_B, n_total
        As in `Batch`.
    truth
        What the sensors hold.
    is_hidden
        Which of them are hidden.
    weight
        Weights of the events.
    """

    index_B: Tensor  # noqa: N815 - as in every batch
    n_total: int
    truth: SensorTruth
    is_hidden: Tensor
    weight: Tensor


@dataclasses.dataclass(frozen=True, kw_only=True)
class MaskedPrediction:
    """Some events with what the network saw and predicted, on the CPU.

    Attributes
    ----------
    event, run, entry, index
        Event number, run number, position in the file and in the sample (B,).
    npho
        Photons as measured (B, 4760); NaN where dead.
    truth, masked_input
        Normalized npho and time (B, 4760, 2): complete, and with the sentinels where hidden.
    is_masked
        Which sensors were hidden (B, 4760).
    pred
        Normalized predictions (B, 4760, C).
    """

    event: NDArray[np.integer[Any]]
    run: NDArray[np.integer[Any]]
    entry: NDArray[np.integer[Any]]
    index: NDArray[np.integer[Any]]
    npho: NDArray[np.float32]
    truth: NDArray[np.float32]
    masked_input: NDArray[np.float32]
    is_masked: NDArray[np.bool_]
    pred: NDArray[np.float32]


class MaskedStage(abc.ABC):
    """Trains a network to tell hidden sensors from visible ones.

    Parameters
    ----------
    run
        Configuration.
    build
        Makes the untrained network.
    loss
        Its objective.
    dist
        The ranks.
    train, val
        Shards of the training and the validation events; no truth is needed.

    Attributes
    ----------
    model
        The network on the device of this rank.

    Raises
    ------
    DataError
        If no event is inside the fiducial cut.
    ConfigError
        If the configured masks would hide nothing.

    Notes
    -----
    Sensors are hidden by their photon count alone: a sensor without a usable time is hidden, shown
    and predicted like any other, and only its time is left out of the loss. The masks of training
    differ from epoch to epoch, those of validation are always the same.
    """

    kind: ClassVar[str]
    """What is trained, as checkpoints name it."""

    def __init__(
        self,
        run: MaeRun | InpainterRun,
        build: Callable[[], nn.Module],
        loss: MaskedLoss,
        dist: DistContext,
        train: ShardSet,
        val: ShardSet,
    ) -> None:
        self._run, self._loss, self._dist = run, loss, dist
        self._train, self._val = train, val
        train_events = _spread(_chosen(train, run), run.data.max_events)
        self._val_events = _spread(_chosen(val, run), run.data.max_val_events)
        self._train_batches = self._batches_of(train, train_events)
        self._val_batches = self._batches_of(val, self._val_events)
        self._normalizer = InputNormalizer(run.normalization).to(dist.device)
        self._masks = SensorMasks.from_run(run)
        self._event_weights = fit_intensity_weights(
            self._train_batches, dist, run.training.intensity_reweighting
        )
        self._train_sums = self._sums()
        seed_weights(run.training.seed)
        self.model: nn.Module = build().to(dist.device)

    def _event_losses(
        self,
        model: nn.Module,  # noqa: ARG002 - it may have learned weights of the features
        losses: Mapping[str, FeatureLoss],
    ) -> Tensor:
        """Return the objective of each event (B,), not weighted."""
        return self._loss.event_losses(losses)

    @abc.abstractmethod
    def _face_losses(self, totals: MaskedTotals, prefix: str) -> dict[str, float]:
        """Return the losses of the faces."""

    @abc.abstractmethod
    def _masked_input(self, model: nn.Module, masked: MaskedBatch) -> Tensor:
        """Return the input of `model` with sentinels where hidden (B, 4760, 2)."""

    @property
    def n_batches(self) -> int:
        """Training batches of an epoch, the same on every rank."""
        return self._train_batches.n_steps

    @property
    def n_events(self) -> int:
        """Training events over all ranks."""
        return self._train_batches.n_events

    @property
    def n_val_events(self) -> int:
        """Validation events over all ranks."""
        return len(self._val_events)

    @property
    def validation_shards(self) -> ShardSet:
        """Shards of the validation events."""
        return self._val

    def batches(self, epoch: int, first: int) -> Generator[MaskedBatch, None, None]:
        """Go through the shuffled training batches of this rank, from batch `first`."""
        if first == 0:
            self._train_sums = self._sums()
        for batch in self._train_batches.epoch(epoch, first_step=first):
            yield self._masked(batch, epoch, self._run.training.channel_dropout_rate)

    def event_losses(self, network: nn.Module, batch: MaskedBatch) -> Tensor:
        """Return the weighted loss of each event, (B,) float32."""
        with mixed_precision(self._run.training, self._dist):
            prediction = network(batch.truth.x, batch.is_hidden)
        return self._losses(self.model, prediction, batch, self._train_sums)

    @torch.no_grad()
    def validate(self, model: nn.Module) -> Validation:
        """Look at every validation event once, in float32, with masks that never change.

        The metrics also tell of the training events of the epoch. There is no table: `predict`
        gives the predictions of single sensors.

        Those of training events are left out if the epoch goes on from a file without its sums.
        """
        model.eval()
        sums = self._sums()
        for batch in self._val_batches.epoch(shuffle=False):
            masked = self._masked(batch, FIXED_DRAW, 0.0)
            prediction = model(masked.truth.x, masked.is_hidden)
            self._losses(model, prediction, masked, sums)
        totals = sums.over_ranks(self._dist)
        metrics = totals.losses("val/") | self._face_losses(totals, "val/")
        if self._run.training.track_mae_rmse:
            metrics |= totals.errors("val/")
        metrics |= self._training_metrics()
        return Validation(loss=totals.loss, metrics=metrics, table=None)

    @torch.no_grad()
    def constant_losses(self) -> dict[str, float]:
        """Return `val/<feature>_loss` of a prediction without a network, for one rank.

        It is the same for all hidden sensors of an event: the mean of those that can be seen.
        """
        sums = self._sums()
        batches = self._batches_of(self._val, self._val_events, alone=True)
        for batch in batches.epoch(shuffle=False):
            masked = self._masked(batch, FIXED_DRAW, 0.0)
            truth, is_hidden = masked.truth, masked.is_hidden
            guess = visible_means(truth, is_hidden, self._run.model.predict_channels)
            losses = self._loss.feature_losses(guess, truth, is_hidden)
            event_loss = masked.weight * self._loss.event_losses(losses)
            sums.add(event_loss, masked.weight, losses, truth, is_hidden)
        found = sums.over_ranks(DistContext()).losses("val/")
        return {
            name: found[name]
            for name in (f"val/{feature}_loss" for feature in self._run.model.predict_channels)
        }

    @torch.no_grad()
    def predict(
        self, model: nn.Module, n_events: int | None = None
    ) -> Generator[MaskedPrediction, None, None]:
        """Predict validation events in the order of the files; for one rank.

        They are the first `n_events`, or all, of those that `validate` looks at, with equal masks.
        """
        model.eval()
        batches = self._batches_of(self._val, self._val_events[:n_events], alone=True)
        entries = np.asarray(self._val.columns["entry"])
        for batch in batches.epoch(shuffle=False):
            masked = self._masked(batch, FIXED_DRAW, 0.0)
            x, is_hidden = masked.truth.x, masked.is_hidden
            yield MaskedPrediction(
                event=batch.targets["event"].cpu().numpy(),
                run=batch.targets["run"].cpu().numpy(),
                entry=entries[batch.index_B.numpy()],
                index=batch.index_B.numpy(),
                npho=batch.npho_BS.cpu().numpy(),
                truth=x.cpu().numpy(),
                masked_input=self._masked_input(model, masked).cpu().numpy(),
                is_masked=is_hidden.cpu().numpy(),
                pred=model(x, is_hidden).float().cpu().numpy(),
            )

    def carried_sums(self) -> dict[str, float]:
        """Return the sums of the epoch so far over all ranks; every rank must call it."""
        return dict(self._train_sums.over_ranks(self._dist).sums)

    def restore_sums(self, sums: Mapping[str, float]) -> None:
        """Begin the rest of an epoch with what `carried_sums` gave, on one rank."""
        self._train_sums = MaskedSums.restored(
            sums, self._run.model.predict_channels, self._dist.device
        )

    def event_names(self, events: Sequence[int]) -> list[str]:
        """Return run, event and place in the file of training events."""
        return event_names(self._train, events)

    def describe(self) -> dict[str, Any]:
        """Return what makes the weights usable without this process."""
        return {
            "kind": self.kind,
            "normalization": self._run.normalization.model_dump(),
            "layout": self._run.model.layout,
            "data": {"train": self._train.data_version, "val": self._val.data_version},
            "git_revision": git_revision(),
        }

    def _batches_of(
        self, shards: ShardSet, events: NDArray[np.int64], *, alone: bool = False
    ) -> EventBatches:
        return EventBatches(
            shards,
            event_identity(shards),
            events=events,
            batch_size=self._run.data.batch_size,
            rank=0 if alone else self._dist.rank,
            world_size=1 if alone else self._dist.world_size,
            seed=self._run.training.seed,
            prefetch=self._run.data.prefetch_factor,
            device=self._dist.device,
        )

    def _masked(self, batch: Batch, draw: int, dropout: float) -> MaskedBatch:
        """Return the batch with its masks; `dropout` marks sensors dead before."""
        npho = batch.npho_BS
        if dropout > 0:
            npho = npho.masked_fill(torch.rand_like(npho) < dropout, float("nan"))
        x = self._normalizer.from_ns(npho, batch.time_ns_BS)
        truth = sensor_truth(x, npho, self._run.normalization, self._run.time_threshold)
        run, event = (batch.targets[name] for name in _IDENTITY)
        weights = self._event_weights
        return MaskedBatch(
            index_B=batch.index_B,
            n_total=batch.n_total,
            truth=truth,
            is_hidden=self._masks.draw(draw, run, event, truth.npho, truth.alive),
            weight=x.new_ones(len(batch)) if weights is None else weights(batch.npho_BS),
        )

    def _losses(
        self, model: nn.Module, prediction: Tensor, batch: MaskedBatch, sums: MaskedSums
    ) -> Tensor:
        """Return the weighted loss of each event and add it to `sums`."""
        losses = self._loss.feature_losses(prediction, batch.truth, batch.is_hidden)
        event_loss = batch.weight * self._event_losses(model, losses)
        sums.add(event_loss, batch.weight, losses, batch.truth, batch.is_hidden)
        return event_loss

    def _sums(self) -> MaskedSums:
        return MaskedSums(self._run.model.predict_channels, self._dist.device)

    def _training_metrics(self) -> dict[str, float]:
        """Return what is known of the training events; nothing if not all are in the sums."""
        totals = self._train_sums.over_ranks(self._dist)
        if totals.n_events != self.n_events:
            return {}
        metrics = totals.losses("train/")
        if self._run.training.track_metrics:
            metrics |= self._face_losses(totals, "train/")
        return metrics | (totals.errors("train/") if self._run.training.track_mae_rmse else {})


def _chosen(shards: ShardSet, run: MaeRun | InpainterRun) -> NDArray[np.int64]:
    """Return the numbers of the events inside the fiducial cut, which needs a true position."""
    cut = run.data.fiducial
    if not cut.enabled:
        return np.arange(shards.n_events)
    chosen = np.flatnonzero(fiducial_mask(shards.columns["uvwTruth"], cut))
    if not len(chosen):
        raise DataError(f"{shards.path}: no event is inside the fiducial cut {cut}")
    return chosen


def _spread(events: NDArray[np.int64], most: int | None) -> NDArray[np.int64]:
    """Return at most `most` of the events, evenly spaced."""
    if most is None or len(events) <= most:
        return events
    return events[np.arange(most) * len(events) // most]
