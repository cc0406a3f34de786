"""What all ranks must agree on after every step: whether the loss is finite and whether to stop."""

import dataclasses
import signal
from collections.abc import Callable, Sequence
from types import FrameType, TracebackType
from typing import Final

import torch
from torch import Tensor

from xec_pipeline.errors import TrainingDivergedError
from xec_pipeline.training.distributed import DistContext

STOPPED_EXIT_CODE: Final = 128 + signal.SIGTERM
"""Exit status of a training that was asked to stop and has saved its state."""

_MOST_NAMED: Final = 5


class StopSignal:
    """Turns SIGTERM into a wish that is fulfilled after the current step.

    Attributes
    ----------
    requested
        True once the signal has come.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: signal.Handlers | int | Callable[..., object] | None = None

    def __enter__(self) -> "StopSignal":
        """Listen to SIGTERM until the block ends."""
        self._previous = signal.signal(signal.SIGTERM, self._request)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give SIGTERM back to who had it."""
        signal.signal(signal.SIGTERM, self._previous)

    def _request(self, _signal: int, _frame: FrameType | None) -> None:
        self.requested = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """What one rank did in one optimizer step.

    Attributes
    ----------
    epoch, number
        Epoch from 1 and step in it from 1.
    losses
        Loss of each event of this rank, without gradient.
    events
        Numbers of these events in the training set.
    gradient_norm
        Norm before clipping; the same on all ranks.
    """

    epoch: int
    number: int
    losses: Tensor
    events: Tensor
    gradient_norm: Tensor


class StepGuard:
    """Looks at every step on all ranks together.

    On a GPU it looks one step late, so that the processor need not wait for the current step.

    Parameters
    ----------
    dist
        The ranks.
    stop
        The wish to stop, of this rank.
    names
        Event numbers to names a person can look up.
    """

    def __init__(
        self, dist: DistContext, stop: StopSignal, names: Callable[[Sequence[int]], list[str]]
    ) -> None:
        self._dist = dist
        self._stop = stop
        self._names = names
        self._is_late = dist.device.type == "cuda"
        self._waiting: tuple[Step, Tensor] | None = None

    def must_stop(self, step: Step) -> bool:
        """Return whether any rank wants to stop; the answer is the same everywhere.

        Raises
        ------
        TrainingDivergedError
            On all ranks, if a loss or the gradient is not finite on any.
        """
        is_bad = ~(torch.isfinite(step.losses).all() & torch.isfinite(step.gradient_norm))
        flags = torch.zeros(2, device=self._dist.device)
        flags[0] = is_bad
        flags[1] = float(self._stop.requested)
        self._dist.maximum_(flags)
        current = (step, flags)
        if not self._is_late:
            return self._decide(*current)
        looked_at, self._waiting = self._waiting, current
        return self._decide(*looked_at) if looked_at is not None else False

    def finish(self) -> bool:
        """Look at the step that still waits, if any."""
        looked_at, self._waiting = self._waiting, None
        return self._decide(*looked_at) if looked_at is not None else False

    def _decide(self, step: Step, flags: Tensor) -> bool:
        is_bad, wants_stop = flags.tolist()
        if is_bad:
            raise TrainingDivergedError(self._describe(step))
        return bool(wants_stop)

    def _describe(self, step: Step) -> str:
        bad = step.events.cpu()[~torch.isfinite(step.losses).cpu()].tolist()
        named = [name for names in self._dist.gather(self._names(bad)) for name in names]
        norm = float(step.gradient_norm)
        more = f" and {len(named) - _MOST_NAMED} more" if len(named) > _MOST_NAMED else ""
        what = (
            f"the loss is not finite for {', '.join(named[:_MOST_NAMED])}{more}"
            if named
            else f"the losses are finite but the gradient norm is {norm}"
        )
        return (
            f"epoch {step.epoch}, step {step.number}: {what}; all ranks stop. "
            "checkpoint_last.pth is from before. Look at these events, or lower training.lr"
        )
