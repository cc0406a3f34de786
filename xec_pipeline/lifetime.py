"""A process never outlives the one that started it: workers, and the pools that they open."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

PARENT_PID_ENV = "XEC_PARENT_PID"
_PR_SET_PDEATHSIG = 1


def die_with_parent(sig: signal.Signals = signal.SIGKILL) -> None:
    """Ask the kernel to send `sig` to this process when its parent dies.

    The parent's process id is expected in the environment variable XEC_PARENT_PID; without it, or
    on systems other than Linux, nothing happens. The child asks for itself, because code between
    fork and exec is not safe in a parent with threads.

    Raises
    ------
    SystemExit
        If the parent died before the request; the exit code is that of SIGTERM.
    """
    expected = os.environ.get(PARENT_PID_ENV)
    if expected is not None:
        _die_with(int(expected), sig)


def start_in_pool(
    parent: int, start: Callable[..., object] | None = None, *arguments: object
) -> None:
    """Start a process of a pool, which the kernel then ends with the one that opened the pool.

    It is the pool's initializer. Such a process would else wait for work for ever if its parent was
    killed. Open the pool in a thread that lasts as long as it: its end counts as the parent's.

    Parameters
    ----------
    parent
        Process id of the one that opens the pool.
    start, arguments
        What else is to be done first.

    Raises
    ------
    SystemExit
        If the parent died already.
    """
    _die_with(parent, signal.SIGKILL)
    if start is not None:
        start(*arguments)


def _die_with(parent: int, sig: signal.Signals) -> None:
    if not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(sig))
    if os.getppid() != parent:
        raise SystemExit(128 + signal.SIGTERM)
