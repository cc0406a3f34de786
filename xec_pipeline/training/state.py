"""The state of a training: what changes from step to step, and its way to disk and back."""

import dataclasses
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from xec_pipeline.config.file_names import checkpoint_file
from xec_pipeline.config.output import CheckpointConfig
from xec_pipeline.config.training import TrainingConfig
from xec_pipeline.errors import CheckpointError
from xec_pipeline.training.checkpoint import Checkpoint, load_weights
from xec_pipeline.training.distributed import DistContext
from xec_pipeline.training.ema import Ema
from xec_pipeline.training.optim import build_optimizer
from xec_pipeline.training.schedule import Schedule
from xec_pipeline.training.seeding import restore_rng_state, rng_state

_log = logging.getLogger(__name__)


class TrainedRun(Protocol):
    """What the loop needs to know of a run's configuration, of whatever kind."""

    @property
    def training(self) -> TrainingConfig:
        """How it learns."""

    @property
    def checkpoint(self) -> CheckpointConfig:
        """What is kept."""

    @property
    def run_dir(self) -> Path:
        """Where it is kept."""

    def digest(self) -> str:
        """Return a hash of all that decides the weights."""

    def model_dump(self) -> dict[str, Any]:
        """Return the configuration as plain values."""


@dataclasses.dataclass
class Progress:
    """How far a training is.

    Attributes
    ----------
    epoch
        Completed epochs.
    step
        Optimizer steps done of the epoch that has begun.
    global_step
        Optimizer steps done in all.
    best_val, best_epoch
        Smallest validation loss and its epoch.
    """

    epoch: int = 0
    step: int = 0
    global_step: int = 0
    best_val: float = float("inf")
    best_epoch: int = 0


class EpochSums:
    """Running sums of an epoch on one rank; they stay on the device until asked for."""

    def __init__(self, device: torch.device) -> None:
        self._loss = torch.zeros((), dtype=torch.float64, device=device)
        self._norm = torch.zeros((), dtype=torch.float64, device=device)
        self._n_events = 0

    @classmethod
    def restored(cls, sums: Mapping[str, float], device: torch.device) -> "EpochSums":
        """Return sums that begin with what `over_ranks` gave."""
        made = cls(device)
        made._loss += sums["loss"]
        made._norm += sums["gradient_norm_max"]
        made._n_events = int(sums["events"])
        return made

    def add(self, losses: Tensor, gradient_norm: Tensor) -> None:
        """Add one step: the losses of its events, and the norm of its gradient."""
        self._loss += losses.sum(dtype=torch.float64)
        self._norm = torch.maximum(self._norm, gradient_norm.to(self._norm))
        self._n_events += len(losses)

    def over_ranks(self, dist: DistContext) -> dict[str, float]:
        """Return loss and events summed over the ranks, and the largest gradient norm."""
        total = dist.sum_over_ranks({"loss": float(self._loss), "events": float(self._n_events)})
        return total | {"gradient_norm_max": float(dist.maximum_(self._norm.clone()))}


class TrainState:
    """Weights, their average, optimizer, schedule and counters.

    Parameters
    ----------
    model
        Unwrapped model on its device.
    run
        Configuration.
    dist
        The ranks.
    objective
        What the objective learns beside the model; None if nothing.
    """

    def __init__(
        self,
        model: nn.Module,
        run: TrainedRun,
        dist: DistContext,
        objective: nn.Module | None = None,
    ) -> None:
        config = run.training
        self.model = model
        self.objective = objective
        self.encoder_source: Mapping[str, Any] | None = None
        self.resumed_from: Mapping[str, Any] | None = None
        self.code_version: str | None = None
        self.progress = Progress()
        self.best_metrics: Mapping[str, float] = {}
        self.sums = EpochSums(dist.device)
        self.optimizer = build_optimizer(model, config, objective)
        self.schedule = Schedule(config)
        self.ema = Ema(model, config.ema_decay) if config.ema_decay is not None else None
        self._run = run
        self._dist = dist

    @property
    def best_model(self) -> nn.Module:
        """The averaged model if there is one: it validates and is exported."""
        return self.ema.model if self.ema is not None else self.model

    def trained_weights(self) -> Iterator[Tensor]:
        """Go through all that the optimizer changes."""
        return (weight for group in self.optimizer.param_groups for weight in group["params"])

    def objective_gradients(self) -> list[Tensor]:
        """Return the gradients of what the objective learns."""
        weights = self.objective.parameters() if self.objective is not None else ()
        return [weight.grad for weight in weights if weight.grad is not None]

    def to_checkpoint(
        self, description: Mapping[str, Any], *, sums: Mapping[str, float], steps_per_epoch: int
    ) -> Checkpoint:
        """Return the state as a checkpoint; every rank must call it.

        Parameters
        ----------
        description
            What the stage adds: kind, normalization, target statistics, layout, data versions,
            git revision, MLflow run.
        sums
            Running sums of the unfinished epoch, over all ranks; empty between epochs.
        steps_per_epoch
            Optimizer steps of an epoch.
        """
        progress = self.progress
        return Checkpoint(
            **{"encoder_source": self.encoder_source, **description},
            resumed_from=self.resumed_from,
            code_version=self.code_version,
            model_state_dict=self.model.state_dict(),
            ema_state_dict=self.ema.state_dict() if self.ema is not None else None,
            ema_updates=self.ema.n_updates if self.ema is not None else 0,
            objective_state_dict=None if self.objective is None else self.objective.state_dict(),
            optimizer_state_dict=self.optimizer.state_dict(),
            scheduler_state_dict=self.schedule.state_dict(),
            best_val=progress.best_val,
            best_epoch=progress.best_epoch,
            best_metrics=dict(self.best_metrics),
            epoch=progress.epoch,
            step_in_epoch=progress.step,
            steps_per_epoch=steps_per_epoch,
            global_step=progress.global_step,
            epoch_sums=dict(sums),
            config=self._run.model_dump(),
            config_digest=self._run.digest(),
            rng_state=tuple(self._dist.gather(rng_state(self._dist.device))),
        )

    def resume(
        self,
        checkpoint: Checkpoint,
        path: Path,
        *,
        steps_per_epoch: int,
        val_data: str | None = None,
        is_own: bool = False,
    ) -> None:
        """Go on from `checkpoint`.

        Parameters
        ----------
        checkpoint, path
            The state, and its file.
        steps_per_epoch
            Optimizer steps of an epoch now.
        val_data
            Data version of the validation events now.
        is_own
            Whether the run itself was broken off there. Then it goes on as it was; else
            `checkpoint.{reset_epoch, refresh_lr}` say what is taken over.

        Raises
        ------
        CheckpointError
            If its weights do not fit the model.
        """
        load_weights(self.model, checkpoint.model_state_dict, path)
        self.encoder_source = checkpoint.encoder_source
        begins_again = self._run.checkpoint.reset_epoch and not is_own
        self.resumed_from = (
            checkpoint.resumed_from if is_own else checkpoint.origin(path, use_ema=not begins_again)
        )
        if begins_again:
            self._restart_average()
            return
        self._resume_average(checkpoint, path)
        self._resume_objective(checkpoint, path)
        self._resume_optimizer(checkpoint, path)
        self._resume_progress(checkpoint, steps_per_epoch)
        self.best_metrics = checkpoint.best_metrics
        if not self._has_best(checkpoint, path, val_data):
            self.progress.best_val, self.progress.best_epoch = float("inf"), 0
            self.best_metrics = {}
        self._resume_schedule(checkpoint, path, refresh=not is_own)

    def _restart_average(self) -> None:
        if self.ema is not None:
            self.ema.load_state_dict(self.model.state_dict(), 0)

    def _resume_average(self, checkpoint: Checkpoint, path: Path) -> None:
        if self.ema is None:
            return
        if checkpoint.ema_state_dict is None:
            _log.info("%s holds no averaged weights; the average starts from its weights", path)
            self._restart_average()
            return
        load_weights(self.ema.model, checkpoint.ema_state_dict, path)
        self.ema.n_updates = checkpoint.ema_updates

    def _resume_objective(self, checkpoint: Checkpoint, path: Path) -> None:
        saved = dict(checkpoint.objective_state_dict or {})
        own = self.objective.state_dict() if self.objective is not None else {}
        if saved.keys() != own.keys():
            raise CheckpointError(
                f"{path}: its objective learned {', '.join(sorted(saved)) or 'nothing'}, this run "
                f"learns {', '.join(sorted(own)) or 'nothing'}. Set the same tasks and "
                "loss_balance, or give --reset_epoch, which takes the network's weights only"
            )
        if self.objective is not None:
            load_weights(self.objective, saved, path)

    def _resume_optimizer(self, checkpoint: Checkpoint, path: Path) -> None:
        if checkpoint.optimizer_state_dict is None:
            _log.warning("%s holds no optimizer state; the optimizer starts afresh", path)
            return
        # The moments are taken over; decay, betas and the like stay as configured now.
        own = [
            {key: value for key, value in group.items() if key != "params"}
            for group in self.optimizer.param_groups
        ]
        try:
            self.optimizer.load_state_dict(dict(checkpoint.optimizer_state_dict))
        except ValueError as error:
            raise CheckpointError(
                f"{path}: optimizer state does not fit: {error}; --reset_epoch takes weights only"
            ) from None
        for group, options in zip(self.optimizer.param_groups, own, strict=True):
            group.update(options)

    def _has_best(self, checkpoint: Checkpoint, path: Path, val_data: str | None) -> bool:
        """Return whether the best epoch is in the run's folder and was found on these events."""
        folder = self._run.run_dir
        best = folder / checkpoint_file(checkpoint.kind, "best")
        return is_within(path, folder) and best.exists() and checkpoint.data.get("val") == val_data

    def _resume_progress(self, checkpoint: Checkpoint, steps_per_epoch: int) -> None:
        self.progress = Progress(
            epoch=checkpoint.epoch,
            step=checkpoint.step_in_epoch,
            global_step=checkpoint.global_step,
            best_val=checkpoint.best_val,
            best_epoch=checkpoint.best_epoch,
        )
        if not self.progress.step:
            return
        is_same = len(checkpoint.rng_state) == self._dist.world_size
        is_same = is_same and checkpoint.steps_per_epoch == steps_per_epoch
        if checkpoint.step_in_epoch == checkpoint.steps_per_epoch:
            self.progress.step = steps_per_epoch  # all are made; only the validation was broken off
        elif not is_same:
            _log.warning("batches or ranks differ from before: epoch begins again")
            self.progress.global_step -= self.progress.step
            self.progress.step = 0
            return
        if self._dist.is_main:  # they are added over the ranks at the end of the epoch
            self.sums = EpochSums.restored(checkpoint.epoch_sums, self._dist.device)
        if is_same:
            restore_rng_state(checkpoint.rng_state[self._dist.rank], self._dist.device)

    def _resume_schedule(self, checkpoint: Checkpoint, path: Path, *, refresh: bool) -> None:
        if refresh and self._run.checkpoint.refresh_lr:
            done = checkpoint.step_in_epoch if self.progress.step else 0
            begun = self.progress.epoch + done / max(checkpoint.steps_per_epoch, 1)
            self.schedule = Schedule(self._run.training, start_epoch=begun)
            return
        if checkpoint.scheduler_state_dict is None:
            _log.info("%s holds no schedule; the configured one goes on from its epoch", path)
            return
        try:
            differs = self.schedule.load_state_dict(checkpoint.scheduler_state_dict)
        except KeyError as error:
            raise CheckpointError(
                f"{path}: its schedule lacks {error}; --refresh_lr begins the configured one"
            ) from None
        if differs:
            _log.warning(
                "the learning rate goes on as before, not as configured now; "
                "--refresh_lr begins the configured schedule"
            )


def is_within(path: Path, run_dir: Path) -> bool:
    """Return whether a checkpoint lies in a run's folder itself."""
    return path.resolve().parent == run_dir.resolve()
