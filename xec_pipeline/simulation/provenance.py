"""How a toy file was made: a record inside the file and beside it.

The tree `provenance` has one entry with the string branch `json`; the sidecar has the same record.
"""

import importlib.metadata
import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import cramjam
import numpy as np
import uproot

from xec_pipeline.atomic import replacing
from xec_pipeline.config.simulation import DATASET_FIELDS, SimulationConfig
from xec_pipeline.simulation.instrument import Instrument

TREE: Final = "provenance"
BRANCH: Final = "json"
DETECTOR: Final = "toy detector"

# What uproot raises for a file that is truncated, damaged or of another kind.
_UNREADABLE: Final = (
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
    uproot.DeserializationError,
    cramjam.DecompressionError,
)

MODEL_VERSION: Final = 1
"""Raised when the same configuration gives other events."""


def provenance(
    config: SimulationConfig,
    instrument: Instrument,
    *,
    run: int,
    n_events: int,
    reconstruction: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Return the record of one file: everything its events depend on, and nothing else.

    Parameters
    ----------
    config
        Written in full, except how many files and events the whole data set has.
    instrument
        Its dead sensors are listed, so the record stands without the file they came from.
    run
        Run number; with the seed it decides the events.
    n_events
        Events in this file.
    reconstruction
        What the branches of the reconstruction depend on, if they are filled.
    """
    record = {
        "detector": DETECTOR,
        "package_version": importlib.metadata.version("xec_pipeline"),
        "model_version": MODEL_VERSION,
        "preset": config.preset,
        "seed": config.seed,
        "run": run,
        "n_events": n_events,
        "config": config.model_dump(mode="json", exclude=set(DATASET_FIELDS)),
        "dead_sensors": np.flatnonzero(instrument.is_dead).tolist(),
    }
    return record if reconstruction is None else record | {"reconstruction": reconstruction}


def read_provenance(path: Path) -> dict[str, Any] | None:
    """Return the record inside a ROOT file.

    Parameters
    ----------
    path
        Any file.

    Returns
    -------
    dict or None
        None if the file is not a whole, readable ROOT file or holds no record.
    """
    try:
        with uproot.open(path) as file:
            # The record stands at the front: a file cut off later must not pass for a whole one.
            if file.file.fEND > path.stat().st_size:
                return None
            record = json.loads(file[TREE][BRANCH].array(library="np")[0])
    except _UNREADABLE:
        return None
    return record if isinstance(record, dict) else None


def sidecar_path(path: Path) -> Path:
    """Return the name of the JSON file beside the ROOT file `path`."""
    return path.with_suffix(".json")


def write_sidecar(path: Path, record: Mapping[str, Any]) -> None:
    """Write the record beside the ROOT file `path`."""
    with replacing(sidecar_path(path)) as partial:
        partial.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")


def first_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str | None:
    """Return "field: old, now new" for the first field that differs, or None."""
    return next(_differences(old, new, ""), None)


def _differences(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str) -> Iterator[str]:
    for key in dict.fromkeys((*new, *old)):
        before, now = old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            yield from _differences(before, now, f"{prefix}{key}.")
        elif before != now:
            yield f"{prefix}{key} was {before!r:.60}, now {now!r:.60}"
