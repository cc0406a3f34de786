"""What a person sees of a training while it runs.

On a terminal: a bar per epoch. Elsewhere (a log file, Dagster): a line now and then. Whoever starts
the training may listen to the epochs' numbers through `on_epoch`.
"""

import logging
import sys
import time
from collections.abc import Callable, Mapping
from typing import Final, NoReturn, Protocol

from tqdm import tqdm

_SECONDS_BETWEEN_LINES: Final = 30.0
_SHOWN: Final = ("train/loss", "val/loss", "lr", "system/throughput_events_per_sec")

_log = logging.getLogger(__name__)

EpochListener = Callable[[int, Mapping[str, float]], None]


class Reporter(Protocol):
    """Who is told how the training goes."""

    def progress(
        self, epoch: int, step: int, n_steps: int, *, loss: float, events_per_s: float
    ) -> None:
        """Hear of a finished step, counted from 1, of `n_steps` in this epoch."""

    def epoch(self, epoch: int, n_epochs: int, metrics: Mapping[str, float]) -> None:
        """Hear of a finished epoch, counted from 1."""

    def log(self, text: str) -> None:
        """Hear a sentence."""


class Pace:
    """How fast the steps of an epoch go."""

    def __init__(self) -> None:
        self._epoch = self._first = 0
        self._since = 0.0

    def seconds_left(self, epoch: int, step: int, n_steps: int) -> float | None:
        """Return the time for the rest of the epoch; None at the first step heard of."""
        now = time.monotonic()
        if epoch != self._epoch:
            self._epoch, self._first, self._since = epoch, step, now
            return None
        return (now - self._since) / max(step - self._first, 1) * (n_steps - step)


class SilentReporter:
    """Tells nobody: every rank but rank 0."""

    def progress(
        self, epoch: int, step: int, n_steps: int, *, loss: float, events_per_s: float
    ) -> None:
        """Do nothing."""

    def epoch(self, epoch: int, n_epochs: int, metrics: Mapping[str, float]) -> None:
        """Do nothing."""

    def log(self, text: str) -> None:
        """Do nothing."""


class TerminalReporter:
    """A bar per epoch on a terminal, else sparse lines in the log.

    Parameters
    ----------
    n_epochs
        Epochs of the training, for the bar's title.
    on_epoch
        Called with epoch and metrics after each epoch.
    """

    def __init__(self, n_epochs: int, on_epoch: EpochListener | None = None) -> None:
        self._n_epochs = n_epochs
        self._on_epoch = on_epoch
        self._has_terminal = sys.stderr.isatty()
        self._bar: tqdm[NoReturn] | None = None
        self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES

    def progress(
        self, epoch: int, step: int, n_steps: int, *, loss: float, events_per_s: float
    ) -> None:
        """Move the bar, or write a line if the last one is half a minute old."""
        if self._has_terminal:
            self._move_bar(epoch, step, n_steps, f"loss {loss:.4g}, {events_per_s:.0f} events/s")
        elif time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + _SECONDS_BETWEEN_LINES
            _log.info(
                "epoch %d/%d  step %d/%d  loss %.4g  %.0f events/s",
                *(epoch, self._n_epochs, step, n_steps, loss, events_per_s),
            )

    def epoch(self, epoch: int, n_epochs: int, metrics: Mapping[str, float]) -> None:
        """Write the epoch's main numbers and pass all of them on."""
        self._close_bar()
        shown = [f"{name} {metrics[name]:.4g}" for name in _SHOWN if name in metrics]
        _log.info("epoch %d/%d  %s", epoch, n_epochs, "  ".join(shown))
        if self._on_epoch is not None:
            self._on_epoch(epoch, metrics)

    def log(self, text: str) -> None:
        """Write a sentence."""
        self._close_bar()
        _log.info("%s", text)

    def _move_bar(self, epoch: int, step: int, n_steps: int, text: str) -> None:
        bar = self._bar or self._new_bar(epoch, n_steps)
        bar.update(step - bar.n)
        bar.set_postfix_str(text)
        self._bar = bar

    def _new_bar(self, epoch: int, n_steps: int) -> "tqdm[NoReturn]":
        title = f"epoch {epoch}/{self._n_epochs}"
        return tqdm(total=n_steps, desc=title, unit="step", leave=False)

    def _close_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
