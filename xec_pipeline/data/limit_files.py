"""Physical limits of toy events in files of their own, beside those of the events.

`MCGamma_000001.root` has its limits in `MCGamma_000001_limits.root`, tree `limits`, one entry per
event in the order of the events; `provenance` says which events. The branches and their units are
`schema.LIMIT_BRANCHES`. In memory limits are columns by these names, the energy in MeV.
"""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.code_versions import code_version_of
from xec_pipeline.data.root_files import LIMITS_SUFFIX
from xec_pipeline.data.root_io import iterate_events, read_provenance_tree, write_tree
from xec_pipeline.data.schema import LIMIT_BRANCHES
from xec_pipeline.errors import DataError
from xec_pipeline.units import MEV_PER_GEV
from xec_pipeline.versioning import content_hash

LimitColumns = Mapping[str, NDArray[Any]]

_CALCULATING: Final = "xec_pipeline.evaluation.limits"
_NOT_CALCULATING: Final = (
    "xec_pipeline.atomic",
    "xec_pipeline.code_versions",
    "xec_pipeline.errors",
    "xec_pipeline.lifetime",
    "xec_pipeline.revision",
)
TREE: Final = "limits"
_STEP: Final = 100_000
_MEV: Final = {"lim_E": np.float32(MEV_PER_GEV)}
"""From units of the file to internal ones."""


def limits_path(events_path: Path) -> Path:
    """Return where the limits of the events of a file are."""
    return events_path.with_name(f"{events_path.stem}{LIMITS_SUFFIX}{events_path.suffix}")


def write_limit_file(events_path: Path, digest: str, columns: LimitColumns) -> Path:
    """Write the limits of the first events of a file.

    Parameters
    ----------
    events_path
        File of the events.
    digest
        Its `versioning.content_hash`.
    columns
        One entry for each of its first events.

    Raises
    ------
    OutputError
        If the disk is full.
    """
    arrays = {
        name: (columns[name] / _MEV.get(name, 1)).astype(branch.numpy_dtype)
        for name, branch in LIMIT_BRANCHES.items()
    }
    units = {name: branch.unit for name, branch in LIMIT_BRANCHES.items() if branch.unit}
    record = {**_identity(digest), "events_file": events_path.name, "units": units}
    return write_tree(limits_path(events_path), TREE, arrays, provenance=record)


def read_limit_file(events_path: Path, digest: str) -> LimitColumns | None:
    """Return what is known of the limits of a file's events.

    Returns
    -------
    mapping or None
        None if there are none, or the events or the way to calculate have changed since.

    Raises
    ------
    CorruptFileError
        If the file of the limits is damaged.
    """
    path = limits_path(events_path)
    if not path.is_file():
        return None
    record = read_provenance_tree(path) or {}
    if {name: record.get(name) for name in _identity(digest)} != _identity(digest):
        return None
    chunks = iterate_events([path], list(LIMIT_BRANCHES), _STEP, tree_name=TREE)
    columns = joined([chunk.arrays for chunk in chunks])
    return {name: values * _MEV.get(name, 1) for name, values in columns.items()}


def read_limits(events_files: Sequence[Path]) -> LimitColumns:
    """Return the limits of the events of files; files without limits are left out.

    Raises
    ------
    DataError
        If no file has limits that belong to its events.
    """
    found = [read_limit_file(path, content_hash(path)) for path in events_files]
    known = [columns for columns in found if columns is not None]
    if not known:
        raise DataError(
            f"{events_files[0]}: no physical limits of these events, expected "
            f"{limits_path(events_files[0])}; calculate them first: xec limits {events_files[0]}"
        )
    return joined(known)


def joined(parts: Sequence[LimitColumns]) -> LimitColumns:
    """Return limits one after the other."""
    return {name: np.concatenate([part[name] for part in parts]) for name in LIMIT_BRANCHES}


@functools.cache
def calculating_code() -> str:
    """Return the version of the code that calculates limits."""
    return code_version_of(_CALCULATING, without=_NOT_CALCULATING)


def _identity(digest: str) -> dict[str, Any]:
    return {"events_digest": digest, "code_version": calculating_code()}
