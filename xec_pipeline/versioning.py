"""Versions of files that change when, and only when, the content of a file changed."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import xxhash

from xec_pipeline.atomic import replacing
from xec_pipeline.errors import DataError

_BLOCK_BYTES: Final = 1 << 22


def content_hash(path: Path) -> str:
    """Return the hash of a file's bytes, 32 hexadecimal digits.

    Raises
    ------
    DataError
        If the file cannot be read.
    """
    digest = xxhash.xxh3_128()
    try:
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                digest.update(block)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    return digest.hexdigest()


class ContentHashes:
    """Content hashes of large files, remembered by size, time stamp and inode.

    Parameters
    ----------
    cache
        JSON file of what is remembered; it may be deleted at any time.
    """

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._known: dict[str, list[str]] = read_cache(cache)

    def of(self, path: Path) -> str:
        """Return the content hash of `path`; the file is read only if it looks different."""
        name, stamp = str(path.absolute()), file_stamp(path)
        known = self._known.get(name)
        if known is None or known[0] != stamp:
            self._known[name] = known = [stamp, content_hash(path)]
            with replacing(self._cache) as partial:
                partial.write_text(json.dumps(self._known, indent=0))
        return known[1]

    def remembers(self, path: Path) -> bool:
        """Tell whether the hash of `path` is known without reading the file."""
        known = self._known.get(str(path.absolute()))
        return known is not None and known[0] == file_stamp(path)

    def of_all(self, paths: Iterable[Path]) -> str:
        """Return one hash for a set of files: their names and contents, in the order of names."""
        digest = xxhash.xxh3_128()
        for path in sorted(paths):
            digest.update(f"{path.name}\0{self.of(path)}\n".encode())
        return digest.hexdigest()


def file_stamp(path: Path) -> str:
    """Return size, time stamp and inode of a file, which tell without reading that it is the same.

    Raises
    ------
    DataError
        If there is no such file, or it cannot be looked at.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ino}"


def read_cache(path: Path) -> dict[str, Any]:
    """Return the content of a JSON file; what is absent or damaged counts as empty."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
