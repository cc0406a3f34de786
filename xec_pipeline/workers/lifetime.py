"""A worker never outlives the process that started it."""

import ctypes
import os
import signal
import sys

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
    if expected is None or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, int(sig))
    if os.getppid() != int(expected):
        raise SystemExit(128 + signal.SIGTERM)
