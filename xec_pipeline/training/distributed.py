"""Ranks: who they are, how they add up, wait and gather. With one rank all of it is free."""

import dataclasses
import datetime as dt
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

# Long enough for rank 0 to build shards while the others wait; a rank that dies is noticed by the
# launcher, not by this.
_TIMEOUT = dt.timedelta(hours=2)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistContext:
    """A process among the ranks.

    Attributes
    ----------
    rank, world_size
        Number of this process and how many there are.
    local_rank
        Number of this process on its machine; chooses the GPU.
    device
        Where this rank computes.
    backend
        `gloo`, `nccl` or None for a single process without communication.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    device: torch.device = dataclasses.field(default_factory=lambda: torch.device("cpu"))
    backend: str | None = None

    @property
    def is_main(self) -> bool:
        """True for the rank that writes files and reports."""
        return self.rank == 0

    def sum_over_ranks(self, values: Mapping[str, float]) -> dict[str, float]:
        """Return each value summed over the ranks, in float64; all ranks must name the same ones.

        Raises
        ------
        RuntimeError
            If the names differ between ranks.
        """
        names = sorted(values)
        if self.backend is None:
            return {name: float(values[name]) for name in names}
        self._require_same(names)
        total = torch.tensor([values[name] for name in names], dtype=torch.float64)
        total = total.to(self.device)
        dist.all_reduce(total)
        return dict(zip(names, total.tolist(), strict=True))

    def maximum_(self, values: Tensor) -> Tensor:
        """Replace each entry by its maximum over the ranks, in place."""
        if self.backend is not None:
            dist.all_reduce(values, op=dist.ReduceOp.MAX)
        return values

    def mean_(self, values: Iterable[Tensor]) -> None:
        """Replace every tensor by its mean over the ranks, in place."""
        if self.backend is not None:
            for value in values:
                dist.all_reduce(value)
                value.div_(self.world_size)

    def gather(self, value: Any) -> list[Any]:
        """Return each rank's `value` (any picklable object), in the order of ranks, everywhere."""
        if self.backend is None:
            return [value]
        gathered: list[Any] = [None] * self.world_size
        dist.all_gather_object(gathered, value)
        return gathered

    def gather_arrays(self, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]] | None:
        """Return the arrays of all ranks joined along the first axis on rank 0, None elsewhere."""
        if self.backend is None:
            return dict(arrays)
        parts: list[Any] | None = [None] * self.world_size if self.is_main else None
        dist.gather_object(dict(arrays), parts)
        return join_arrays(parts) if parts is not None else None

    def from_main(self, value: Any) -> Any:
        """Return rank 0's `value` on every rank."""
        if self.backend is None:
            return value
        box = [value]
        dist.broadcast_object_list(box)
        return box[0]

    def barrier(self) -> None:
        """Wait until every rank is here."""
        if self.backend is not None:
            dist.barrier()

    def stop(self) -> None:
        """Leave the process group."""
        if self.backend is not None and dist.is_initialized():
            dist.destroy_process_group()

    def _require_same(self, names: list[str]) -> None:
        everyone = self.gather(names)
        if any(other != names for other in everyone):
            raise RuntimeError(f"ranks must sum the same quantities, got {everyone}")


def join_arrays(parts: Iterable[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Return arrays of equal names joined along the first axis."""
    kept = list(parts)
    return {name: np.concatenate([part[name] for part in kept]) for name in kept[0]}


def start_from_env() -> DistContext:
    """Join the ranks that torchrun started, or stand alone if it did not.

    Reads RANK, WORLD_SIZE and LOCAL_RANK. One GPU per rank with nccl where CUDA is available, else
    gloo on the CPU.

    Returns
    -------
    DistContext
        Call its `stop` at the end.
    """
    has_gpu = torch.cuda.is_available()
    local_rank = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local_rank) if has_gpu else torch.device("cpu")
    if has_gpu:
        torch.cuda.set_device(device)
        # Inputs and first layers are promised in float32; TF32 keeps ten bits of the times.
        torch.backends.cudnn.allow_tf32 = False
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        return DistContext(device=device)
    # Objects (tables, error reports) travel over gloo also when gradients travel over nccl.
    backend = "cpu:gloo,cuda:nccl" if has_gpu else "gloo"
    dist.init_process_group(backend, timeout=_TIMEOUT)
    return DistContext(
        rank=dist.get_rank(),
        world_size=dist.get_world_size(),
        local_rank=local_rank,
        device=device,
        backend="nccl" if has_gpu else "gloo",
    )
