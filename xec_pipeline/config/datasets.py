"""Names of datasets: from the path in a configuration to a key for folders and partitions."""

import hashlib
import os
import re
from pathlib import Path

_PLAIN_PART = re.compile(r"[A-Za-z0-9_-]+")
_PLAIN_FILE = re.compile(r"[A-Za-z0-9_-]+\.root")
_UNUSUAL = re.compile(r"[^A-Za-z0-9_.-]+")


def dataset_key(path: str) -> str:
    """Return the readable name of the dataset at `path`, a file, a folder or a glob pattern.

    Parameters
    ----------
    path
        As it stands in a configuration; `data/toy/train` and `data/toy/train/` are the same.

    Returns
    -------
    str
        The path with dots for slashes: `data.toy.train`. A path that is absolute, leaves the
        working folder or holds dots, stars or other special characters also gets `-` and eight
        hex digits of its hash, because two such paths could otherwise share a name.
    """
    normal = os.path.normpath(path)
    parts = Path(normal).parts
    *folders, last = parts
    plain = all(map(_PLAIN_PART.fullmatch, folders)) and (
        _PLAIN_PART.fullmatch(last) or _PLAIN_FILE.fullmatch(last)
    )
    if plain:
        return ".".join(parts)
    readable = ".".join(
        _UNUSUAL.sub("_", part).strip(".") or "_" for part in parts if part != os.sep
    )
    return f"{readable}-{hashlib.sha256(normal.encode()).hexdigest()[:8]}"
