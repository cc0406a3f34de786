"""Batches for training and prediction: the same number on every rank, prepared ahead."""

# B events of a batch, S sensors

import contextlib
import queue
import sys
import threading
from collections.abc import Generator, Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xec_pipeline.data.codec import N_FEATURES
from xec_pipeline.data.epoch_plan import event_order, n_steps, piece_bounds
from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline.detector.sensors import N_SENSORS
from xec_pipeline.errors import DataError

_CPU: Final = torch.device("cpu")
_CACHED_EVENTS: Final = 16
"""Events decoded at a time, so that they are still in the processor's cache when squared."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some events.

    `npho_BS` are photons with NaN for a dead sensor, `time_ns_BS` relative times with NaN where not
    measured, both float32. `index_B` are event numbers in the shards (int64, on the CPU), `targets`
    the rows of the arrays given to `EventBatches`. `n_total` counts the events of this step over
    all ranks: a loss that is summed over the batch, divided by `n_total` and summed over ranks is
    the mean over events.
    """

    npho_BS: Tensor
    time_ns_BS: Tensor
    index_B: Tensor
    n_total: int
    targets: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return the number of events on this rank."""
        return len(self.index_B)


@dataclass(frozen=True)
class EventBatches:
    """The events of a shard set as batches, epoch by epoch.

    Every event appears exactly once per epoch over all ranks, and every rank makes the same number
    of steps; batches differ by at most one event in size. The events of a step depend on
    `batch_size * world_size`, `seed` and `epoch` only.

    Parameters
    ----------
    shards
        Events.
    targets
        Arrays of shape (n_events, ...) by name; their rows come with each batch.
    batch_size
        Largest number of events per step and rank.
    events
        Numbers of the events to use, default all.
    rank, world_size
        This process, and how many there are.
    seed
        Root of the shuffling.
    prefetch
        Batches prepared ahead.
    device
        Where the tensors of a batch end up; 16-bit values cross to a GPU and are decoded there.

    Raises
    ------
    DataError
        If no event is left.
    """

    shards: ShardSet
    targets: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    _: KW_ONLY
    batch_size: int
    events: NDArray[np.integer[Any]] | None = None
    rank: int = 0
    world_size: int = 1
    seed: int = 0
    prefetch: int = 2
    device: torch.device = _CPU

    def __post_init__(self) -> None:
        if not self.n_events:
            raise DataError(
                f"{self.shards.path}: none of its {self.shards.n_events} events is selected"
            )

    @property
    def n_events(self) -> int:
        """Number of events over all ranks."""
        return self.shards.n_events if self.events is None else len(self.events)

    @property
    def n_steps(self) -> int:
        """Number of batches in an epoch, the same on every rank."""
        return n_steps(self.n_events, self.batch_size, self.world_size)

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return self.n_steps

    def epoch(
        self, epoch: int = 0, *, shuffle: bool = True, first_step: int = 0
    ) -> Generator[Batch, None, None]:
        """Go through the batches of one epoch.

        Parameters
        ----------
        epoch
            Number of the epoch; decides the order.
        shuffle
            False for the order of the files.
        first_step
            Steps to skip, for resuming in the middle.

        Yields
        ------
        Batch
            On the device. The tensors belong to the receiver.
        """
        steps = self._steps(epoch, shuffle=shuffle)[first_step:]
        with contextlib.closing(_ahead(map(self._reader.read, steps), self.prefetch)) as ready:
            for rows in ready:
                yield rows.to_batch(self.device)

    @cached_property
    def _reader(self) -> "_Reader":
        return _Reader(self)

    def _steps(self, epoch: int, *, shuffle: bool) -> list["_Step"]:
        """Return this rank's share of every step."""
        n_events, world_size = self.n_events, self.world_size
        events = np.arange(n_events) if self.events is None else self.events.astype(np.int64)
        if shuffle:
            events = events[event_order(n_events, seed=self.seed, epoch=epoch)]
        bounds = piece_bounds(n_events, self.batch_size, world_size)
        totals = np.diff(bounds[::world_size])
        mine = range(self.rank, len(bounds) - 1, world_size)
        return [
            _Step(events[bounds[piece] : bounds[piece + 1]], int(total))
            for piece, total in zip(mine, totals, strict=True)
        ]


@dataclass(frozen=True)
class _Step:
    """Which events to read, and how many all ranks read."""

    index: NDArray[np.int64]
    n_total: int


@dataclass(frozen=True)
class _Rows:
    """What was read: 16-bit roots and times in page-locked memory, or decoded values."""

    values: Tensor
    index: Tensor
    n_total: int
    targets: dict[str, Tensor]

    def to_batch(self, device: torch.device) -> Batch:
        """Return the batch on `device`, decoded."""
        targets, values = self.targets, self.values
        if device.type != "cpu":
            targets = {name: t.to(device, non_blocking=True) for name, t in targets.items()}
            values = _decode(values.to(device, non_blocking=True).float())
        return Batch(
            npho_BS=values[:, 0],
            time_ns_BS=values[:, 1],
            index_B=self.index,
            n_total=self.n_total,
            targets=targets,
        )


def _decode(values: Tensor) -> Tensor:
    """Square the signed roots in place."""
    root_BS = values[:, 0]
    root_BS.mul_(root_BS.abs())
    return values


class _Reader:
    """Reads steps; keeps its buffers from epoch to epoch."""

    def __init__(self, batches: EventBatches) -> None:
        self._shards = batches.shards
        self._targets = {
            name: torch.from_numpy(np.array(values)) for name, values in batches.targets.items()
        }
        self._on_cpu = batches.device.type == "cpu"
        shape = (batches.batch_size, N_FEATURES, N_SENSORS)
        self._coded = _BufferPool(shape, np.dtype(np.float16))
        self._decoded = _BufferPool(shape, np.dtype(np.float32))

    def read(self, step: _Step) -> _Rows:
        """Read the events of a step."""
        index = torch.from_numpy(step.index.copy())
        return _Rows(
            values=self._decoded_rows(step.index)
            if self._on_cpu
            else self._pinned_rows(step.index),
            index=index,
            n_total=step.n_total,
            targets={name: target[index] for name, target in self._targets.items()},
        )

    def _decoded_rows(self, index: NDArray[np.int64]) -> Tensor:
        coded = self._shards.sensors(index, out=self._coded.take()[: len(index)])
        values = torch.from_numpy(self._decoded.take())[: len(index)]
        for first in range(0, len(index), _CACHED_EVENTS):
            rows = slice(first, first + _CACHED_EVENTS)
            _decode(values[rows].copy_(torch.from_numpy(coded[rows])))
        return values

    def _pinned_rows(self, index: NDArray[np.int64]) -> Tensor:
        # Torch hands out page-locked memory again only after the copies from it have ended.
        shape = (len(index), N_FEATURES, N_SENSORS)
        values = torch.empty(shape, dtype=torch.float16, pin_memory=True)
        self._shards.sensors(index, out=values.numpy())
        return values


class _BufferPool:
    """Arrays that are used again once nobody holds them.

    Fresh memory costs a page fault for every 4 kB, ten times more than filling memory that is
    already mapped. A tensor made by `torch.from_numpy` holds a reference to its array until the
    last view of it is gone, so the reference count tells whether an array is free.
    """

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._shape, self._dtype = shape, dtype
        self._arrays: list[NDArray[Any]] = []
        self._lock = threading.Lock()

    def take(self) -> NDArray[Any]:
        """Return an array that nobody else uses; its content is arbitrary."""
        with self._lock:
            for number in range(len(self._arrays)):
                # This name keeps the array from another thread when the lock is released.
                array = self._arrays[number]
                if sys.getrefcount(array) == _FREE:
                    return array
            array = np.empty(self._shape, self._dtype)
            self._arrays.append(array)
            return array


def _references_when_free(holder: list[object]) -> int:
    """Return the count of an object that a list and one name hold, as `take` sees it."""
    array = holder[0]
    return sys.getrefcount(array)


_FREE: Final = _references_when_free([object()])


class _Failure:
    def __init__(self, error: BaseException) -> None:
        self.error = error


_END: Final = object()


def _ahead(batches: Iterator[_Rows], n_ahead: int) -> Generator[_Rows, None, None]:
    """Yield from `batches`, which a thread draws up to `n_ahead` in advance."""
    ready: queue.Queue[Any] = queue.Queue(maxsize=n_ahead)
    stopped = threading.Event()
    thread = threading.Thread(target=_fill, args=(batches, ready, stopped), daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not _END:
            if isinstance(item, _Failure):
                raise item.error
            yield item
            del item
    finally:
        stopped.set()
        # The thread may wait for room; it looks at `stopped` after each refusal.
        thread.join()


def _fill(batches: Iterator[_Rows], ready: "queue.Queue[Any]", stopped: threading.Event) -> None:
    try:
        for batch in batches:
            if not _put(ready, batch, stopped):
                return
            del batch
        _put(ready, _END, stopped)
    except BaseException as error:  # noqa: BLE001 - handed to the reading thread, which raises it
        _put(ready, _Failure(error), stopped)


def _put(ready: "queue.Queue[Any]", item: object, stopped: threading.Event) -> bool:
    while not stopped.is_set():
        with contextlib.suppress(queue.Full):
            ready.put(item, timeout=0.05)
            return True
    return False
