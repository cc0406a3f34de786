"""Finding ROOT files and looking at their first bytes; nothing here needs a ROOT library."""

import glob
import struct
from pathlib import Path
from typing import Final

from xec_pipeline.errors import CorruptFileError, DataError, did_you_mean

_BIG_FILE_VERSION: Final = 1_000_000
LIMITS_SUFFIX: Final = "_limits"
"""Behind the name of a file of events: the file of their physical limits; see `limit_files`."""


def find_root_files(source: str | Path) -> list[Path]:
    """Return the ROOT files of a dataset, sorted by name.

    Parameters
    ----------
    source
        A file, a folder (its own `*.root` files) or a glob pattern. Limits that stand beside
        their events, `<name>_limits.root`, are found by their own name only.

    Raises
    ------
    DataError
        If there is no such path (naming the nearest), or no ROOT file in it.
    """
    path = Path(source)
    if path.is_file():
        return [path]
    if path.is_dir():
        return _files_in(path)
    if glob.has_magic(str(source)):
        found = sorted(Path(name) for name in glob.glob(str(source), recursive=True))  # noqa: PTH207 - absolute patterns
        files = [item for item in found if item.is_file() and not _holds_limits(item)]
        if not files:
            raise DataError(f"{source}: no file matches this pattern")
        return files
    raise DataError(_missing_path(path))


def _files_in(folder: Path) -> list[Path]:
    # Names with a leading dot are files that another process is still writing.
    present = sorted(item for item in folder.glob("*.root") if not item.name.startswith("."))
    files = [item for item in present if not _holds_limits(item)]
    if files:
        return files
    below = sorted({item.parent for item in folder.glob("*/*.root")})
    others = sorted(item.name for item in folder.iterdir())
    hint = f"; its folders {', '.join(map(str, below[:3]))} hold some" if below else ""
    content = f"it holds {', '.join(others[:5])}" if others else "it is empty"
    raise DataError(f"{folder}: expected *.root files, but {content}{hint}")


def _holds_limits(path: Path) -> bool:
    events = path.with_name(path.name.replace(f"{LIMITS_SUFFIX}.root", ".root"))
    return events != path and events.is_file()


def check_exists(path: Path) -> None:
    """Raise DataError, naming what is near, if there is no such file or folder."""
    if not path.exists():
        raise DataError(_missing_path(path))


def _missing_path(path: Path) -> str:
    missing = path
    while not missing.parent.exists():
        missing = missing.parent
    if not missing.parent.is_dir():
        return f"{path}: {missing.parent} is not a folder"
    siblings = [item.name for item in missing.parent.iterdir()]
    where = "" if missing == path else f"; '{missing.name}' is not in {missing.parent}"
    return f"{path}: no such file or folder{where}{did_you_mean(missing.name, siblings)}"


def check_root_header(path: Path) -> None:
    """Raise if the file does not begin like ROOT or is shorter than its header says.

    Raises
    ------
    DataError
        If the file does not exist.
    CorruptFileError
        Otherwise; the message gives the sizes.
    """
    try:
        with path.open("rb") as file:
            head = file.read(24)
    except FileNotFoundError:
        raise DataError(_missing_path(path)) from None
    if head[:4] != b"root" or len(head) < 24:
        raise CorruptFileError(
            f"{path}: not a ROOT file: it begins with {head[:4]!r}, expected b'root'"
        )
    version = struct.unpack(">i", head[4:8])[0]
    is_big = version >= _BIG_FILE_VERSION
    end = int.from_bytes(head[12 : 20 if is_big else 16], "big")
    size = path.stat().st_size
    if size < end:
        raise CorruptFileError(
            f"{path}: truncated: {size} bytes of the {end} that its header announces; "
            "copy or write it again"
        )
