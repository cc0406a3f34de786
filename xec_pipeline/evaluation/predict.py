"""Predictions of a trained network for the events of shards."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from xec_pipeline.config.run import RegressorRun
from xec_pipeline.data.dataset import EventBatches
from xec_pipeline.errors import ConfigError
from xec_pipeline.evaluation.networks import Predictor
from xec_pipeline.training.distributed import DistContext
from xec_pipeline.training.stages.regressor_events import RegressorEvents, prediction_columns


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What came out, on rank 0."""

    table: dict[str, NDArray[Any]] | None
    """Columns of a prediction table; None on the other ranks."""
    n_events: int
    seconds: float

    @property
    def events_per_s(self) -> float:
        """Events of all ranks in a second of wall-clock time."""
        return self.n_events / max(self.seconds, 1e-9)


def only_tasks(run: RegressorRun, tasks: tuple[str, ...]) -> RegressorRun:
    """Return `run` with these tasks enabled and no other.

    Raises
    ------
    ConfigError
        If a task is not one that the run trained.
    """
    foreign = [task for task in tasks if task not in run.tasks.active]
    if foreign or not tasks:
        raise ConfigError(
            f"run {run.name} does not predict {', '.join(foreign) or 'nothing'}; "
            f"its tasks: {', '.join(run.tasks.active)}"
        )
    return run.with_tasks(tasks)


def predict_events(
    predictor: Predictor,
    events: RegressorEvents,
    run: RegressorRun,
    dist: DistContext,
    *,
    on_progress: Callable[[int], object] | None = None,
) -> Predicted:
    """Predict every chosen event once, over all ranks.

    Parameters
    ----------
    predictor
        Network.
    events
        Events.
    run
        Says which tasks are wanted, how large a batch is, and which time is the true one.
    dist
        The ranks; each predicts its share, rank 0 gathers.
    on_progress
        Told the number of events done by this rank.
    """
    batches = EventBatches(
        events.shards,
        {},
        events=events.chosen,
        batch_size=run.data.batch_size,
        rank=dist.rank,
        world_size=dist.world_size,
        prefetch=run.data.prefetch_factor,
        device=dist.device,
    )
    parts: list[Mapping[str, NDArray[Any]]] = []
    started, n_done = time.perf_counter(), 0
    bar = tqdm(total=len(events.chosen), unit="event", disable=None if dist.is_main else True)
    with bar:
        for batch in batches.epoch(shuffle=False):
            parts.append({"index": batch.index_B.numpy(), **predictor(batch)})
            n_done += len(batch)
            bar.update(batch.n_total)
            if on_progress is not None:
                on_progress(n_done)
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    gathered = dist.gather_arrays(joined)
    seconds = time.perf_counter() - started
    table = prediction_columns(events, gathered, run) if gathered is not None else None
    return Predicted(table=table, n_events=len(events.chosen), seconds=seconds)
