"""The regressor as a stage: its events and targets, its objective, its validation."""

from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from xec_pipeline.config.run import RegressorRun
from xec_pipeline.config.tasks import TasksConfig
from xec_pipeline.data.dataset import Batch, EventBatches
from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline.errors import CheckpointError
from xec_pipeline.models.input_norm import InputNormalizer
from xec_pipeline.models.regressor import build_regressor
from xec_pipeline.models.target_scaling import TargetScaling
from xec_pipeline.revision import git_revision
from xec_pipeline.training.distributed import DistContext
from xec_pipeline.training.loss_balance import balanced, build_balance
from xec_pipeline.training.losses import TargetUnits, check_loss, event_loss, validating
from xec_pipeline.training.metrics import task_metrics
from xec_pipeline.training.network import mixed_precision
from xec_pipeline.training.seeding import seed_weights
from xec_pipeline.training.stage import Table, Validation
from xec_pipeline.training.stages.regressor_events import (
    RegressorEvents,
    prediction_columns,
    sample_weights,
    select_events,
)
from xec_pipeline.training.transfer import PretrainedEncoder, load_encoder

_WEIGHT: Final = "sample_weight"
"""Name under which the weights of events come with the batches."""


class RegressorStage:
    """Trains encoder and heads on true energies, times, positions and angles.

    Parameters
    ----------
    run
        Configuration.
    dist
        The ranks.
    train, val
        Shards of the training and the validation events.
    encoder
        Pre-trained weights to begin with; None for random ones.

    Attributes
    ----------
    model
        The regressor on the device of this rank.
    scaling
        Mean and width of the training targets, the same on all ranks.
    objective
        Weights of the tasks if they are learned, else None.

    Raises
    ------
    DataError
        If a task has no truth among the training or the validation events.
    CheckpointError
        If the pre-trained encoder does not fit.

    Notes
    -----
    The objective is the sum over tasks of weight times the mean loss over the events that have a
    truth for the task. An event's share is therefore weight / (labelled fraction) times its loss,
    and 0 for a task of which it knows nothing. Learned weights (`LossBalance`) and the weights of
    events act in training only: validation always takes the given weights of the tasks and counts
    all events alike, so that its loss can be compared between epochs. For the same reason it takes
    gaussian_nll with beta = 0, the plain likelihood, whatever beta the training has.
    """

    def __init__(
        self,
        run: RegressorRun,
        dist: DistContext,
        train: ShardSet,
        val: ShardSet,
        encoder: PretrainedEncoder | None = None,
    ) -> None:
        self._run, self._dist = run, dist
        for task in run.tasks.active:
            check_loss(task, run.tasks[task])
        self._train, self._val = select_events(train, run), select_events(val, run)
        self._scored = validating(run.tasks)
        self.scaling = TargetScaling.from_targets(self._train.chosen_targets(), run.tasks)
        self.scaling.to(dist.device)
        self._normalizer = InputNormalizer(run.normalization).to(dist.device)
        seed_weights(run.training.seed)
        model = build_regressor(run)
        self._encoder_source: dict[str, Any] = {}
        if encoder is not None:
            load_encoder(model.backbone, encoder, run)
            self._encoder_source = {"encoder_source": dict(encoder.source)}
        self.model: nn.Module = model.to(dist.device)
        balance = build_balance(run)
        self.objective = balance.to(dist.device) if balance is not None else None
        self._labelled_shares = {
            task: count / len(self._train.chosen)
            for task, count in self._train.count_labelled().items()
        }
        self._n_validated = self._val.count_labelled()
        self._train_batches = self._batches_of(self._train, sample_weights(self._train, run))
        self._val_batches = self._batches_of(self._val, None)

    @property
    def n_batches(self) -> int:
        """Training batches of an epoch, the same on every rank."""
        return self._train_batches.n_steps

    @property
    def n_events(self) -> int:
        """Training events over all ranks."""
        return self._train_batches.n_events

    @property
    def validation_shards(self) -> ShardSet:
        """Shards of the validation events."""
        return self._val.shards

    def batches(self, epoch: int, first: int) -> Generator[Batch, None, None]:
        """Go through the shuffled training batches of this rank, from batch `first`."""
        yield from self._train_batches.epoch(epoch, first_step=first)

    def event_losses(self, network: nn.Module, batch: Batch) -> Tensor:
        """Return each event's share of the objective, (B,) float32."""
        npho = self._with_dropout(batch.npho_BS)
        inputs = self._normalizer.from_ns(npho, batch.time_ns_BS)
        with mixed_precision(self._run.training, self._dist):
            outputs = network(inputs)
        shares = {
            task: loss / self._labelled_shares[task]
            for task, loss in self._task_losses(outputs, batch, self._run.tasks).items()
        }
        if _WEIGHT in batch.targets:
            shares = {task: share * batch.targets[_WEIGHT] for task, share in shares.items()}
        weights = {task: self._run.tasks[task].weight for task in shares}
        return balanced(self.objective, shares, weights)

    @torch.no_grad()
    def validate(self, model: nn.Module) -> Validation:
        """Look at every validation event once, in float32."""
        model.eval()
        losses = dict.fromkeys(self._run.tasks.active, 0.0)
        parts: list[Mapping[str, Tensor]] = []
        for batch in self._val_batches.epoch(shuffle=False):
            outputs = model(self._normalizer.from_ns(batch.npho_BS, batch.time_ns_BS))
            for task, loss in self._task_losses(outputs, batch, self._scored).items():
                losses[task] += float(loss.sum(dtype=torch.float64))
            parts.append({"index": batch.index_B, **self._restored(outputs)})
        means = self._validation_means(losses)
        total = sum(self._run.tasks[task].weight * mean for task, mean in means.items())
        arrays = {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}
        gathered = self._dist.gather_arrays(arrays)
        table = prediction_columns(self._val, gathered, self._run) if gathered is not None else None
        metrics = {f"val/loss_{task}": mean for task, mean in means.items()}
        if self.objective is not None:
            metrics |= self.objective.metrics()
        return Validation(loss=total, metrics=metrics | self._physics(table), table=table)

    def constant_losses(self) -> dict[str, float]:
        """Return the loss `val/loss` of a network that answers with the mean of the training.

        What a network has learned shows in how far its own loss is below. Only for one rank.
        """
        total = 0.0
        for task, values in self._val.chosen_targets().items():
            target = self.scaling.standardize(task, torch.from_numpy(values).to(self._dist.device))
            target = target[torch.isfinite(target).all(dim=1)]
            has_sigma = self._scored[task].loss_fn == "gaussian_nll"
            answer = target.new_zeros(len(target), target.shape[1] * (2 if has_sigma else 1))
            loss = event_loss(answer, target, self._scored[task], self._units(task))
            total += self._run.tasks[task].weight * float(loss.mean(dtype=torch.float64))
        return {"val/loss": total}

    def take_targets(self, statistics: Mapping[str, Any], path: Path) -> None:
        """Standardize targets as the network of checkpoint `path` has learned them.

        Raises
        ------
        CheckpointError
            If the file does not say how, or a target was regressed as a logarithm in one only.
        """
        for task in self._run.tasks.active:
            if task not in statistics:
                raise CheckpointError(f"{path}: no target statistics of task '{task}'")
            log, own = bool(statistics[task]["log"]), self._run.tasks[task].log_transform
            if log != own:
                raise CheckpointError(
                    f"{path}: tasks.{task}.log_transform is {log} in the file, {own} in the run"
                )
        self.scaling = TargetScaling(statistics).to(self._dist.device)

    def event_names(self, events: Sequence[int]) -> list[str]:
        """Return run, event and place in the file of training events."""
        return self._train.names(events)

    def describe(self) -> dict[str, Any]:
        """Return what makes the weights usable without this process."""
        return {
            "kind": "regressor",
            "normalization": self._run.normalization.model_dump(),
            "target_statistics": self.scaling.statistics(),
            "layout": self._run.model.layout,
            "data": {
                "train": self._train.shards.data_version,
                "val": self._val.shards.data_version,
            },
            "git_revision": git_revision(),
            **self._encoder_source,
        }

    def _batches_of(
        self, events: RegressorEvents, weights: NDArray[np.float32] | None
    ) -> EventBatches:
        return EventBatches(
            events.shards,
            events.targets if weights is None else {**events.targets, _WEIGHT: weights},
            events=events.chosen,
            batch_size=self._run.data.batch_size,
            rank=self._dist.rank,
            world_size=self._dist.world_size,
            seed=self._run.training.seed,
            prefetch=self._run.data.prefetch_factor,
            device=self._dist.device,
        )

    def _with_dropout(self, npho: Tensor) -> Tensor:
        """Mark sensors dead at random, as `training.channel_dropout_rate` says."""
        rate = self._run.training.channel_dropout_rate
        if rate == 0:
            return npho
        return npho.masked_fill(torch.rand_like(npho) < rate, float("nan"))

    def _task_losses(
        self, outputs: Mapping[str, Tensor], batch: Batch, tasks: TasksConfig
    ) -> dict[str, Tensor]:
        """Return the loss of each event by task, (B,), 0 where the event has no truth for it."""
        losses = {}
        for task, output in outputs.items():
            target = self.scaling.standardize(task, batch.targets[task])
            has_truth = torch.isfinite(target).all(dim=1)
            # A placeholder keeps NaN out of the gradient of events that do not count.
            target = torch.where(has_truth[:, None], target, 0.0)
            loss = event_loss(output, target, tasks[task], self._units(task))
            losses[task] = torch.where(has_truth, loss, 0.0)
        return losses

    def _units(self, task: str) -> TargetUnits:
        return TargetUnits(
            self.scaling.get_buffer(f"mean_{task}"), self.scaling.get_buffer(f"scale_{task}")
        )

    def _restored(self, outputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return predictions in internal units on the CPU, `<task>` and `sigma_<task>`."""
        restored: dict[str, Tensor] = {}
        for task, output in outputs.items():
            physical = self.scaling.restore(task, output)
            restored[task] = physical["value"].cpu()
            if "sigma" in physical:
                restored[f"sigma_{task}"] = physical["sigma"].cpu()
        return restored

    def _validation_means(self, losses: Mapping[str, float]) -> dict[str, float]:
        """Return the mean loss over all labelled events of all ranks, by task."""
        sums = self._dist.sum_over_ranks(losses)
        return {task: sums[task] / self._n_validated[task] for task in losses}

    def _physics(self, table: Table | None) -> dict[str, float]:
        metrics: dict[str, float] = {}
        for task in self._run.tasks.active if table is not None else ():
            metrics |= task_metrics(task, table or {})
        return metrics
