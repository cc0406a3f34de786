"""Processes and all that descend from them, from start to provable end."""

import contextlib
from collections.abc import Iterable

import psutil

_KILL_SECONDS = 5.0


class Descendants:
    """A process and everything it ever started.

    The list is renewed while the process runs: each rank of torchrun is in a session of its own,
    and when torchrun dies first its ranks get another parent and can no longer be found from it.
    """

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._seen: dict[int, psutil.Process] = {pid: self._root}

    def look(self) -> None:
        """Add the processes that exist now to those seen."""
        with contextlib.suppress(psutil.NoSuchProcess):
            for child in self._root.children(recursive=True):
                self._seen.setdefault(child.pid, child)

    def stop(self, grace_seconds: float) -> list[int]:
        """Ask all to end, wait, kill what is left; return the ids of survivors."""
        self.look()
        return stop_processes(self._seen.values(), grace_seconds)


def stop_processes(processes: Iterable[psutil.Process], grace_seconds: float) -> list[int]:
    """Send SIGTERM, wait up to `grace_seconds`, send SIGKILL; return the ids of survivors."""
    alive = [process for process in processes if process.is_running()]
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(alive, timeout=grace_seconds)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    _, alive = psutil.wait_procs(alive, timeout=_KILL_SECONDS)
    return [process.pid for process in alive]
