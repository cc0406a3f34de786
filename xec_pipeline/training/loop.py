"""The training loop. It knows batches, losses and ranks, and no task: stages plug in."""

import contextlib
import dataclasses
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch
from torch import nn

from xec_pipeline.errors import TrainingDivergedError
from xec_pipeline.training.checkpoint import Checkpoint
from xec_pipeline.training.checkpoint_files import CheckpointFiles
from xec_pipeline.training.compatibility import require_same_inputs
from xec_pipeline.training.distributed import DistContext
from xec_pipeline.training.guard import Step, StepGuard, StopSignal
from xec_pipeline.training.loss_balance import objective_of
from xec_pipeline.training.network import compiled, wrapped_for_ranks
from xec_pipeline.training.optim import clip_gradients
from xec_pipeline.training.reporting import Reporter
from xec_pipeline.training.seeding import seed_epoch
from xec_pipeline.training.stage import (
    CarriesSums,
    ScalesTargets,
    Stage,
    StageBatch,
    Table,
    Validation,
)
from xec_pipeline.training.state import EpochSums, TrainedRun, TrainState
from xec_pipeline.training.system_metrics import (
    EpochClock,
    memory_metrics,
    reset_peak,
    throughput_metrics,
)
from xec_pipeline.training.tracking import Tracker

PredictionSink = Callable[[int, Table], None]

_SECONDS_BETWEEN_REPORTS: Final = 0.5
_CARRIED: Final = "stage/"
"""Prefix of a stage's own sums among those of an unfinished epoch."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class EpochEnd:
    """A completed epoch, seen from rank 0 when its checkpoints are written.

    Attributes
    ----------
    checkpoint
        The state; its tensors change with the next step.
    model
        Network that was validated: the average if there is one.
    is_best, is_last
        Whether no epoch was better, and whether none follows.
    """

    checkpoint: Checkpoint
    model: nn.Module
    is_best: bool
    is_last: bool


EpochSink = Callable[[EpochEnd], None]


@dataclasses.dataclass(frozen=True, kw_only=True)
class FitResult:
    """How a training ended.

    Attributes
    ----------
    epoch
        Completed epochs.
    best_epoch, best_val
        Epoch with the smallest validation loss, and that loss.
    best_metrics, best_table
        Numbers of the best epoch and, on rank 0, its predictions; these are None if an earlier
        process trained that epoch.
    was_stopped
        True if SIGTERM came before the last epoch; the state is in the last checkpoint.
    """

    epoch: int
    best_epoch: int
    best_val: float
    best_metrics: Mapping[str, float]
    best_table: Table | None
    was_stopped: bool


class Trainer:
    """Trains one stage.

    Parameters
    ----------
    stage
        What is trained.
    run
        Its configuration.
    dist
        The ranks.
    reporter, tracker
        Who hears of it.
    stop
        Wish to stop early.
    on_best
        Called on rank 0 with epoch and predictions after each new best epoch.
    on_epoch
        Called on rank 0 after each epoch.

    Attributes
    ----------
    state
        Weights, average, optimizer, schedule, counters.
    """

    def __init__(
        self,
        stage: Stage,
        run: TrainedRun,
        dist: DistContext,
        *,
        reporter: Reporter,
        tracker: Tracker,
        stop: StopSignal | None = None,
        on_best: PredictionSink | None = None,
        on_epoch: EpochSink | None = None,
    ) -> None:
        self._stage, self._run, self._dist = stage, run, dist
        self._reporter, self._tracker = reporter, tracker
        self._on_best, self._on_epoch = on_best, on_epoch
        self._files = CheckpointFiles(run.run_dir, str(stage.describe()["kind"]))
        self._accumulate = run.training.grad_accum_steps
        self._steps_per_epoch = math.ceil(stage.n_batches / self._accumulate)
        self.state = TrainState(stage.model, run, dist, objective_of(stage))
        self._guard = StepGuard(dist, stop or StopSignal(), stage.event_names)
        self._ddp = wrapped_for_ranks(stage.model, dist)
        self._network = compiled(self._ddp or stage.model, run.training, dist)
        self._best_table: Table | None = None

    def resume(self, checkpoint: Checkpoint, path: Path, *, is_own: bool = False) -> None:
        """Go on from `checkpoint`, which was read from `path`, as the run's options say.

        `is_own` tells that the run itself was broken off there; see `TrainState.resume`.

        Raises
        ------
        CheckpointError
            If weights, inputs or targets differ from those of the run.
        """
        about = self._stage.describe()
        require_same_inputs(checkpoint, about, path)
        self.state.resume(
            checkpoint,
            path,
            steps_per_epoch=self._steps_per_epoch,
            val_data=about.get("data", {}).get("val"),
            is_own=is_own,
        )
        self._restore_sums(checkpoint.epoch_sums)
        if isinstance(self._stage, ScalesTargets):
            self._stage.take_targets(checkpoint.target_statistics, path)

    def fit(self) -> FitResult:
        """Train until the last epoch, or until asked to stop.

        Raises
        ------
        TrainingDivergedError
            On all ranks, if a loss is not finite on any.
        OutputError
            If a checkpoint cannot be written.
        """
        progress = self.state.progress
        was_stopped = False
        while progress.epoch < self._run.training.epochs and not was_stopped:
            was_stopped = self._epoch(progress.epoch + 1)
        return FitResult(
            epoch=progress.epoch,
            best_epoch=progress.best_epoch,
            best_val=progress.best_val,
            best_metrics=self.state.best_metrics,
            best_table=self._best_table,
            was_stopped=was_stopped,
        )

    def _epoch(self, epoch: int) -> bool:
        """Train and validate one epoch; return whether it was left in its middle."""
        clock = EpochClock()
        reset_peak(self._dist.device)
        if self._train(epoch, clock):
            stopped = self._checkpoint(self._epoch_sums())
            self._on_main(lambda: self._files.write(stopped))
            return True
        unvalidated = self._checkpoint(self._epoch_sums())
        self._on_main(lambda: self._files.write_trained(unvalidated))
        trained = self.state.sums.over_ranks(self._dist)
        trained_seconds = clock.elapsed()
        validation = self._stage.validate(self.state.best_model)
        if self._run.training.profile:
            self._reporter.log(clock.profile(clock.elapsed() - trained_seconds))
        if not math.isfinite(validation.loss):
            self._on_main(self._files.take_back)
            raise TrainingDivergedError(
                f"epoch {epoch}: the validation loss is {validation.loss}; "
                f"{self._files.path('last').name} is from before this epoch"
            )
        self._close_epoch(epoch, trained, validation, clock)
        return False

    def _train(self, epoch: int, clock: EpochClock) -> bool:
        """Make the steps of an epoch that are still to be made; return whether asked to stop."""
        state, progress = self.state, self.state.progress
        if progress.step == 0:
            state.sums = EpochSums(self._dist.device)
            seed_epoch(self._run.training.seed, epoch, self._dist.rank)
        self._network.train()
        report = _Throttle(self._reporter, epoch, self._steps_per_epoch)
        batches = self._stage.batches(epoch, progress.step * self._accumulate)
        with contextlib.closing(batches):
            for group in groups(batches, self._accumulate):
                n_events = sum(batch.n_total for batch in group)
                clock.loaded(len(group), n_events)
                step = self._gradient(epoch, group)
                wants_stop = self._guard.must_stop(step)
                self._update(step)
                clock.stepped()
                report.step(step, clock)
                if wants_stop:
                    self._guard.finish()  # weights that are not finite must not be saved
                    return True
        self._guard.finish()
        return False

    def _gradient(self, epoch: int, group: Sequence[StageBatch]) -> Step:
        """Make the gradient of one optimizer step: of the mean over all events of all ranks."""
        n_total = sum(batch.n_total for batch in group)
        losses = []
        for number, batch in enumerate(group, start=1):
            with self._sync(is_last=number == len(group)):
                event_losses = self._stage.event_losses(self._network, batch)
                # DDP takes the mean over ranks; with this factor that is the mean over events, also
                # if the ranks hold different numbers of them.
                loss = event_losses.sum() * (self._dist.world_size / n_total)
                loss.backward()  # type: ignore[no-untyped-call]  # torch gives backward no types
            losses.append(event_losses.detach())
        # DDP knows the model only.
        self._dist.mean_(self.state.objective_gradients())
        return Step(
            epoch=epoch,
            number=self.state.progress.step + 1,
            losses=torch.cat(losses),
            events=torch.cat([batch.index_B for batch in group]),
            gradient_norm=clip_gradients(
                self.state.trained_weights(), self._run.training.grad_clip
            ),
        )

    def _sync(self, *, is_last: bool) -> contextlib.AbstractContextManager[None]:
        """Let ranks exchange gradients only after the last batch of a step."""
        if self._ddp is None or is_last:
            return contextlib.nullcontext()
        held: contextlib.AbstractContextManager[None] = self._ddp.no_sync()
        return held

    def _update(self, step: Step) -> None:
        state, progress = self.state, self.state.progress
        state.schedule.apply(
            state.optimizer, progress.epoch + progress.step / self._steps_per_epoch
        )
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        if state.ema is not None:
            state.ema.update(state.model)
        state.sums.add(step.losses, step.gradient_norm)
        progress.step += 1
        progress.global_step += 1

    def _close_epoch(
        self,
        epoch: int,
        trained: Mapping[str, float],
        validation: Validation,
        clock: EpochClock,
    ) -> None:
        progress = self.state.progress
        progress.epoch, progress.step = epoch, 0
        metrics = self._epoch_metrics(trained, validation, clock)
        self.state.schedule.observe(epoch, validation.loss)
        is_best = validation.loss < progress.best_val
        if is_best:
            progress.best_val, progress.best_epoch = validation.loss, epoch
            self._best_table, self.state.best_metrics = validation.table, metrics
        # Before the checkpoint: an epoch that is not told of is trained again, not left out.
        self._tracker.epoch(epoch, metrics)
        checkpoint, copies = self._checkpoint({}), self._copies(epoch, is_best=is_best)
        self._on_main(lambda: self._files.write(checkpoint, copies))
        if self._dist.is_main:
            self._tell(checkpoint, is_best=is_best)
            if is_best and self._on_best is not None and validation.table is not None:
                self._on_best(epoch, validation.table)
        self._reporter.epoch(epoch, self._run.training.epochs, metrics)

    def _tell(self, checkpoint: Checkpoint, *, is_best: bool) -> None:
        if self._on_epoch is None:
            return
        is_last = checkpoint.epoch >= self._run.training.epochs
        model = self.state.best_model
        self._on_epoch(
            EpochEnd(checkpoint=checkpoint, model=model, is_best=is_best, is_last=is_last)
        )

    def _epoch_metrics(
        self, trained: Mapping[str, float], validation: Validation, clock: EpochClock
    ) -> dict[str, float]:
        return {
            "train/loss": trained["loss"] / trained["events"],
            "train/grad_norm_max": trained["gradient_norm_max"],
            "val/loss": validation.loss,
            "lr": self.state.optimizer.param_groups[0]["lr"],
            **validation.metrics,
            **throughput_metrics(clock),
            **memory_metrics(self._dist.device),
        }

    def _epoch_sums(self) -> dict[str, float]:
        """Return the sums of an unfinished epoch over all ranks."""
        sums = self.state.sums.over_ranks(self._dist)
        if isinstance(self._stage, CarriesSums):
            carried = self._stage.carried_sums()
            sums |= {f"{_CARRIED}{name}": value for name, value in carried.items()}
        return sums

    def _restore_sums(self, sums: Mapping[str, float]) -> None:
        """Give the stage its sums of the epoch that goes on, on rank 0; they are added later."""
        carried = {
            name.removeprefix(_CARRIED): value
            for name, value in sums.items()
            if name.startswith(_CARRIED)
        }
        goes_on = self.state.progress.step > 0 and self._dist.is_main
        if goes_on and carried and isinstance(self._stage, CarriesSums):
            self._stage.restore_sums(carried)

    def _checkpoint(self, sums: Mapping[str, float]) -> Checkpoint:
        """Return the state; every rank takes part."""
        return self.state.to_checkpoint(
            {**self._stage.describe(), "mlflow_run_id": self._tracker.run_id},
            sums=sums,
            steps_per_epoch=self._steps_per_epoch,
        )

    def _on_main(self, change: Callable[[], None]) -> None:
        """Change files on rank 0, while the others wait.

        Else a rank could leave, and end the others, while a file is still being written.
        """
        if self._dist.is_main:
            change()
        self._dist.barrier()

    def _copies(self, epoch: int, *, is_best: bool) -> list[str]:
        """Return which checkpoints an epoch leaves beside the last one."""
        copies = ["best"] if is_best else []
        if epoch % self._run.checkpoint.save_interval == 0:
            copies.append(f"epoch_{epoch}")
        return copies


class _Throttle:
    """Passes on a step now and then; reading a loss makes the processor wait for the GPU."""

    def __init__(self, reporter: Reporter, epoch: int, n_steps: int) -> None:
        self._reporter, self._epoch, self._n_steps = reporter, epoch, n_steps
        self._next = time.monotonic() + _SECONDS_BETWEEN_REPORTS

    def step(self, step: Step, clock: EpochClock) -> None:
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _SECONDS_BETWEEN_REPORTS
        clock.look_at(step.losses.device)
        self._reporter.progress(
            self._epoch,
            step.number,
            self._n_steps,
            loss=float(step.losses.mean()),
            events_per_s=clock.n_events / clock.elapsed(),
        )


def groups(batches: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """Yield lists of `size` successive batches; the last list holds what is left."""
    iterator = iter(batches)
    while group := list(itertools.islice(iterator, size)):
        yield group
