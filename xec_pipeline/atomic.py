"""Files that are either whole or not there."""

import contextlib
import errno
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from xec_pipeline.errors import OutputError

_FULL = {errno.ENOSPC, errno.EDQUOT}


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; move it there when the block ends without error.

    Parameters
    ----------
    path
        Final name. Missing parent folders are made. An old file stays until the new one is
        complete.

    Yields
    ------
    Path
        Name to write to; same folder, same suffix.

    Raises
    ------
    OutputError
        If the disk is full; the message names the file. Nothing half-written is left.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = f"{os.getpid()}-{threading.get_native_id()}"  # two threads may write the same file
    partial = path.with_name(f".{path.stem}.{writer}.part{path.suffix}")
    try:
        yield partial
        _flush(partial)
        partial.replace(path)
    except OSError as error:
        if error.errno in _FULL:
            message = f"{path}: no space left to write it; an old file of that name is untouched"
            raise OutputError(message) from error
        raise
    finally:
        partial.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
