"""Reading and writing ROOT files: which tree, which branches, in which steps."""

import contextlib
import json
import logging
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import cramjam
import numpy as np
import uproot
from numpy.typing import NDArray

from xec_pipeline.atomic import replacing
from xec_pipeline.data.root_files import check_root_header, find_root_files
from xec_pipeline.data.schema import BRANCHES, Branch
from xec_pipeline.errors import CorruptFileError, DataError, MissingBranchError, did_you_mean

__all__ = [
    "EventChunk",
    "check_tree",
    "find_root_files",
    "iterate_events",
    "iterate_tree",
    "open_tree",
    "read_entries",
    "read_provenance_tree",
    "write_tree",
    "write_trees",
]

logger = logging.getLogger(__name__)

TREE_NAMES: Final = ("tree", "Tree", "events", "Events")
"""Names tried after the configured one, before the only other tree of the file."""
PROVENANCE_TREE: Final = "provenance"
PROVENANCE_BRANCH: Final = "json"
_SIDE_TREES: Final = {PROVENANCE_TREE, "metadata"}
_ROWS_PER_BASKET: Final = 500

_DECODING_ERRORS: Final = (
    OSError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    RuntimeError,
    struct.error,
    zlib.error,
    cramjam.DecompressionError,
    uproot.DeserializationError,
)
"""What uproot and the decompressors raise on damaged bytes; there is no common type."""


@dataclass(frozen=True)
class EventChunk:
    """Consecutive events of one file: entry of the first, and arrays by branch."""

    path: Path
    start: int
    arrays: dict[str, NDArray[np.generic]]

    @property
    def n_events(self) -> int:
        """Number of events."""
        return len(next(iter(self.arrays.values())))


@contextlib.contextmanager
def open_tree(path: Path, tree_name: str = "tree") -> Iterator[Any]:
    """Open the event tree of a file.

    Parameters
    ----------
    path
        ROOT file.
    tree_name
        Looked for first, then `tree`, `Tree`, `events`, `Events`, then the first tree of the file.

    Yields
    ------
    uproot.TTree
        The tree.

    Raises
    ------
    DataError
        If there is no tree.
    CorruptFileError
        If the file is truncated or not ROOT.
    """
    check_root_header(path)
    with _damage(path, "directory"):
        file = uproot.open(path)
    with file:
        with _damage(path, "directory"):
            classes = {name.split(";")[0]: kind for name, kind in file.classnames().items()}
            name = _choose_tree(path, classes, tree_name)
            tree = file[name]
        yield tree


@contextlib.contextmanager
def _damage(path: Path, where: str) -> Iterator[None]:
    """Turn a decoding failure into CorruptFileError; let our own errors pass."""
    try:
        yield
    except _DECODING_ERRORS as error:
        first_line = str(error).strip().split("\n")[0][:160]
        raise CorruptFileError(
            f"{path}: cannot decode {where}, the file is damaged; expected whole ROOT records "
            f"({type(error).__name__}: {first_line})"
        ) from error


def _choose_tree(path: Path, classes: Mapping[str, str], wanted: str) -> str:
    trees = [name for name, kind in classes.items() if kind in {"TTree", "TNtuple", "TNtupleD"}]
    events = [name for name in trees if name not in _SIDE_TREES]
    for name in (wanted, *TREE_NAMES, *events[:1]):
        if name in trees:
            if name != wanted:
                logger.info("%s: no tree '%s', reading '%s'", path, wanted, name)
            return name
    held = ", ".join(f"{name} ({kind})" for name, kind in classes.items()) or "nothing"
    raise DataError(
        f"{path}: tree '{wanted}' not found{did_you_mean(wanted, classes)}; "
        f"expected a TTree, the file holds {held}"
    )


def iterate_events(
    files: Sequence[Path],
    branches: Sequence[str],
    step: int,
    *,
    tree_name: str = "tree",
    optional: Sequence[str] = (),
    threads: int = 2,
) -> Iterator[EventChunk]:
    """Read chosen branches of files in steps.

    Parameters
    ----------
    files
        ROOT files, read in this order.
    branches
        Branches that must be there.
    step
        Events per chunk; 500 to 4000 are best.
    tree_name
        See `open_tree`.
    optional
        Branches read only where a file has them.
    threads
        Decompression threads.

    Yields
    ------
    EventChunk
        Chunks never cross a file border.

    Raises
    ------
    MissingBranchError, CorruptFileError, DataError
        Naming file, branch and entry.
    """
    with ThreadPoolExecutor(threads) as pool:
        for path in files:
            with open_tree(path, tree_name) as tree:
                names = check_tree(path, tree, branches, optional)
                yield from iterate_tree(path, tree, names, step, pool)


def check_tree(
    path: Path, tree: Any, branches: Sequence[str], optional: Sequence[str] = ()
) -> list[str]:
    """Return the branches to read; they exist, have the right shape, and the tree has entries.

    Raises
    ------
    MissingBranchError
        If one of `branches` is not in the tree.
    DataError
        If a branch has another shape than the schema says, or the tree has no entry.
    """
    present = set(tree.keys())
    for name in branches:
        if name not in present:
            raise MissingBranchError(path, name, present)
    names = [*branches, *(name for name in optional if name in present and name not in branches)]
    for name in names:
        if name in BRANCHES:
            _check_shape(path, tree, BRANCHES[name])
    if tree.num_entries == 0:
        raise DataError(
            f"{path}: tree '{tree.name}' has no entries; expected at least one event. "
            "Write the file again or take it out of the dataset"
        )
    return names


def _check_shape(path: Path, tree: Any, branch: Branch) -> None:
    kind = tree[branch.name].interpretation
    to_dtype = getattr(kind, "to_dtype", None)
    expected = f"{branch.dtype}{list(branch.shape) or ''}"
    if to_dtype is None:
        raise DataError(
            f"{path}: branch '{branch.name}' has type {tree[branch.name].typename}, "
            f"expected {expected}, a number or an array of fixed length"
        )
    if to_dtype.shape != branch.shape:
        raise DataError(
            f"{path}: branch '{branch.name}' has {list(to_dtype.shape)} values per event, "
            f"expected {list(branch.shape)} ({expected}, {branch.meaning})"
        )


def iterate_tree(
    path: Path, tree: Any, names: Sequence[str], step: int, pool: ThreadPoolExecutor
) -> Iterator[EventChunk]:
    """Yield the branches `names` of an open tree, `step` entries at a time."""
    for start in range(0, tree.num_entries, step):
        yield read_entries(path, tree, names, range(start, start + step), pool)


def read_entries(
    path: Path, tree: Any, names: Sequence[str], rows: range, pool: ThreadPoolExecutor
) -> EventChunk:
    """Return the branches `names` of consecutive entries of an open tree."""
    start, stop = rows.start, min(rows.stop, tree.num_entries)
    entries = {"entry_start": start, "entry_stop": stop, "library": "np"}
    try:
        arrays = tree.arrays(
            list(names),
            **entries,
            decompression_executor=pool,
            interpretation_executor=pool,
            array_cache=None,
        )
    except _DECODING_ERRORS:
        # Read again branch by branch, to name the one that is damaged.
        for name in names:
            with _damage(path, f"branch '{name}', entries {start} to {stop - 1}"):
                tree[name].array(**entries, array_cache=None)
        raise
    return EventChunk(path, start, dict(arrays))


def read_provenance_tree(path: Path) -> dict[str, Any] | None:
    """Return the JSON record in the file's `provenance` tree, or None if it has none.

    Raises
    ------
    CorruptFileError
        If the tree is there but does not hold one JSON object.
    """
    check_root_header(path)
    with _damage(path, "provenance"), uproot.open(path) as file:
        if PROVENANCE_TREE not in {name.split(";")[0] for name in file.classnames()}:
            return None
        record = json.loads(file[PROVENANCE_TREE][PROVENANCE_BRANCH].array(library="np")[0])
    if not isinstance(record, dict):
        raise CorruptFileError(f"{path}: provenance is {type(record).__name__}, expected an object")
    return record


def write_tree(
    path: Path,
    name: str,
    columns: Mapping[str, NDArray[np.generic] | Sequence[str]],
    *,
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Write one TTree, whole or not at all.

    Parameters
    ----------
    path
        New file; an old one is replaced.
    name
        Name of the tree.
    columns
        Arrays of equal length, shape (N,) or (N, k), or lists of strings.
    provenance
        Record for a second tree `provenance` with the string branch `json`.

    Raises
    ------
    OutputError
        If the disk is full.
    """
    trees: dict[str, Mapping[str, NDArray[np.generic] | Sequence[str]]] = {name: columns}
    if provenance is not None:
        trees[PROVENANCE_TREE] = {PROVENANCE_BRANCH: [json.dumps(dict(provenance), sort_keys=True)]}
    return write_trees(path, trees)


def write_trees(
    path: Path, trees: Mapping[str, Mapping[str, NDArray[np.generic] | Sequence[str]]]
) -> Path:
    """Write several TTrees into one file; see `write_tree`."""
    with (
        replacing(path) as partial,
        uproot.recreate(partial, compression=uproot.ZSTD(5)) as file,
    ):
        for name, columns in trees.items():
            _write_one(file, name, columns)
    return path


def _write_one(
    file: Any, name: str, columns: Mapping[str, NDArray[np.generic] | Sequence[str]]
) -> None:
    lengths = {key: len(values) for key, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns of tree '{name}' differ in length: {lengths}")
    n_rows = max(lengths.values(), default=0)
    tree = file.mktree(
        name,
        {key: _branch_type(values) for key, values in columns.items()},
        initial_basket_capacity=n_rows // _ROWS_PER_BASKET + 1,
    )
    for start in range(0, n_rows, _ROWS_PER_BASKET):
        rows = slice(start, start + _ROWS_PER_BASKET)
        tree.extend({key: values[rows] for key, values in columns.items()})


def _branch_type(values: NDArray[np.generic] | Sequence[str]) -> Any:
    if not isinstance(values, np.ndarray) or values.dtype.kind in "OU":
        return "string"
    # A type alone declares scalars; sub-arrays need their shape, or uproot refuses to fill them.
    return (values.dtype, values.shape[1:]) if values.ndim > 1 else values.dtype
