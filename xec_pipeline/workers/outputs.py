"""The data version of what a worker wrote."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xxhash
from numpy.typing import NDArray

from xec_pipeline.versioning import content_hash


def files_version(paths: Iterable[Path], folder: Path) -> str:
    """Return a hash of the names below `folder` and the bytes of `paths`, in any order."""
    digest = xxhash.xxh3_128()
    for name, path in sorted((path.relative_to(folder).as_posix(), path) for path in paths):
        digest.update(f"{name} {content_hash(path)}\n".encode())
    return digest.hexdigest()


class ColumnsVersion:
    """Hash of the columns of a table that passes in parts, however it is cut.

    ROOT files hold the time of their making; their bytes differ although their content does not.
    """

    def __init__(self) -> None:
        self._columns: dict[str, xxhash.xxh3_128] = {}

    def update(self, columns: Mapping[str, NDArray[Any]]) -> None:
        """Add rows; every part must have the same columns and types."""
        for name, values in columns.items():
            digest = self._columns.setdefault(name, xxhash.xxh3_128(str(values.dtype).encode()))
            digest.update(np.ascontiguousarray(values).tobytes())

    def __str__(self) -> str:
        """Return the hash of names, types and values."""
        lines = sorted(f"{name} {digest.hexdigest()}" for name, digest in self._columns.items())
        return xxhash.xxh3_128("\n".join(lines).encode()).hexdigest()
