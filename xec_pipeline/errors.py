"""The exceptions a user may meet: what is wrong, where, what was expected, what is near."""

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any


class XecError(Exception):
    """Any failure that the user, not the programmer, can do something about."""


class ConfigError(XecError):
    """A configuration file, preset name, override or run name that cannot be used."""


class DataError(XecError):
    """A data file or folder that does not hold what was asked of it."""


class MissingBranchError(DataError):
    """A ROOT tree lacks a branch that is needed."""

    def __init__(self, path: Path | str, branch: str, present: Iterable[str]) -> None:
        names = sorted(present)
        super().__init__(
            f"{path}: branch '{branch}' is missing{did_you_mean(branch, names)}; "
            f"the tree holds {len(names)} branches: {', '.join(names)}"
        )
        self._given = (path, branch, tuple(names))

    def __reduce__(self) -> tuple[type["MissingBranchError"], tuple[Any, ...]]:
        """Let worker processes send this error to their parent."""
        return type(self), self._given


class CorruptFileError(DataError):
    """A file that is truncated, or not of the kind its name says."""


class NonFiniteDataError(DataError):
    """NaN or infinity where a number, or the dead marker 1e10, is expected."""


class CheckpointError(XecError):
    """A checkpoint that is damaged, of another kind, or made for another layout."""


class TrainingDivergedError(XecError):
    """The loss became NaN or infinite; all ranks stop together."""


class ParityError(XecError):
    """An exported model does not reproduce the model it was made from."""


class OutputError(XecError):
    """An output file could not be written completely; nothing half-written is left."""


def nearest(name: str, options: Iterable[str], count: int = 3) -> list[str]:
    """Return up to `count` of `options` that are spelled like `name`, best first."""
    lowered = {option.lower(): option for option in options}
    found = difflib.get_close_matches(name.lower(), lowered, n=count, cutoff=0.5)
    return [lowered[match] for match in found]


def did_you_mean(name: str, options: Iterable[str]) -> str:
    """Return " (did you mean 'a' or 'b'?)" for the options near `name`, or an empty string."""
    near = nearest(name, options)
    return f" (did you mean {' or '.join(repr(n) for n in near)}?)" if near else ""
