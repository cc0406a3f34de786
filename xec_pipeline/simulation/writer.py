"""Toy events into one ROOT file, whole or not at all."""

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import uproot

from xec_pipeline.atomic import replacing
from xec_pipeline.simulation.branches import Branches
from xec_pipeline.simulation.provenance import BRANCH, TREE, write_sidecar

EVENT_TREE = "tree"


def write_events(
    path: Path,
    blocks: Iterator[Branches],
    record: Mapping[str, Any],
    *,
    codec: str,
    advance: Callable[[int], object],
) -> None:
    """Write blocks of events, and how they were made, to a ROOT file and its sidecar.

    Parameters
    ----------
    path
        The file; an old one is replaced when the new one is complete.
    blocks
        At least one block of branches; all alike.
    record
        Provenance.
    codec
        As in `SimulationConfig.codec`.
    advance
        Called with the number of events after each block.

    Raises
    ------
    OutputError
        If the disk is full.
    """
    with (
        replacing(path) as partial,
        uproot.recreate(partial, compression=_compression(codec)) as file,
    ):
        # The record comes first: a reader finds it without passing the events.
        file.mktree(TREE, {BRANCH: "string"}).extend({BRANCH: [json.dumps(record)]})
        _fill(file, blocks, advance)
    write_sidecar(path, record)


def _fill(file: Any, blocks: Iterator[Branches], advance: Callable[[int], object]) -> None:
    tree = None
    for block in blocks:
        if tree is None:
            tree = file.mktree(EVENT_TREE, _branch_types(block))
        tree.extend(block)
        advance(len(block["event"]))


def _branch_types(block: Branches) -> dict[str, np.dtype[Any]]:
    return {name: np.dtype((array.dtype, array.shape[1:])) for name, array in block.items()}


def _compression(codec: str) -> Any:
    if codec == "none":
        return None
    name, _, level = codec.partition(":")
    kinds = {"zstd": uproot.ZSTD, "lz4": uproot.LZ4, "zlib": uproot.ZLIB, "lzma": uproot.LZMA}
    return kinds[name](int(level))
