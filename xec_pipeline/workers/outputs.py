"""The data version of files that a worker wrote."""

from collections.abc import Iterable
from pathlib import Path

import xxhash

from xec_pipeline.versioning import content_hash


def files_version(paths: Iterable[Path], folder: Path) -> str:
    """Return a hash of the names below `folder` and the bytes of `paths`, in any order."""
    digest = xxhash.xxh3_128()
    for name, path in sorted((path.relative_to(folder).as_posix(), path) for path in paths):
        digest.update(f"{name} {content_hash(path)}\n".encode())
    return digest.hexdigest()
