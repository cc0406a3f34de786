"""Sensor maps: which sensor stands in which cell of each face's image, and the hexagonal graph.

Images have sensor numbers as entries, so `values[..., layout.inner]` is the image of the inner
face. Two layouts exist. PHYSICAL follows the positions of the sensors. LEGACY repeats two mistakes
of an earlier system (outer rows and columns swapped, hexagonal neighbours by the parity of the
row), which networks trained there have learnt; it is only for their checkpoints.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.detector.faces import HEX_ROW_LENGTHS, N_HEX, OUTER_CENTER_ROWS
from xec_pipeline.detector.sensors import (
    FIRST_BOTTOM,
    FIRST_DS,
    FIRST_OUTER,
    FIRST_OUTER_EXTRA,
    FIRST_TOP,
    FIRST_US,
    INNER_COLUMNS,
    INNER_ROWS,
    N_SIPM,
)
from xec_pipeline.errors import ConfigError, did_you_mean

N_HEX_SLOTS: Final = 7
"""Message types: 0 self, 1 left, 2 right, 3 and 4 the row inside, 5 and 6 the row outside."""
NO_NEIGHBOUR: Final = N_HEX
"""Entry of `hex_neighbours` where no message arrives: the index of an appended row of zeros."""

OUTER_FINE_SHAPE: Final = (45, 72)
COARSE_CELLS: Final = (5, 3)
"""Fine cells (z, phi) covered by a sensor of the coarse grid."""
CENTER_CELLS: Final = (3, 2)
"""Fine cells (z, phi) covered by a sensor of the dense centre."""
CENTER_ROWS: Final = slice(15, 30)
CENTER_COLUMNS: Final = slice(30, 42)

IdArray = NDArray[np.int64]
ScalarT = TypeVar("ScalarT", np.int64, np.float64)


@dataclass(frozen=True, kw_only=True, eq=False)
class Layout:
    """Images of sensor numbers and the graph of the top and bottom faces; arrays are read-only.

    Attributes
    ----------
    name
        "physical" or "legacy".
    inner
        Shape (93, 44): rows in phi from the top, columns in z from upstream.
    us, ds
        Shape (24, 6): rows in phi from the top, columns from the inside outward.
    outer_coarse
        Shape (9, 24): rows in z from upstream, columns in phi from the top.
    outer_center
        Shape (5, 6): as `outer_coarse`, the dense centre of the outer face.
    top, bottom
        Shape (73,): row by row from the inside outward, within a row from upstream.
    hex_edges
        Shape (3, E): rows u, v, t. A message flows from node u to node v with weight t;
        v is the neighbour of u in direction t.
    hex_neighbours
        Shape (73, 7): entry [v, t] is the u whose message reaches v through weight t, or
        `NO_NEIGHBOUR`. The same graph as `hex_edges`, as a table to gather from.
    """

    name: str
    inner: IdArray
    us: IdArray
    ds: IdArray
    outer_coarse: IdArray
    outer_center: IdArray
    top: IdArray
    bottom: IdArray
    hex_edges: IdArray
    hex_neighbours: IdArray


@dataclass(frozen=True, kw_only=True, eq=False)
class OuterFineMap:
    """The outer face as one image of 45 x 72 fine cells, z by phi.

    Attributes
    ----------
    ids
        Sensor that covers the cell.
    share
        Part of the sensor's light that falls to the cell: 1/15 or 1/6.
    """

    ids: IdArray
    share: NDArray[np.float64]


def layout_by_name(name: str) -> Layout:
    """Return the layout called `name`.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    if name not in _LAYOUTS:
        near = did_you_mean(name, _LAYOUTS)
        raise ConfigError(f"unknown sensor layout '{name}'{near}; known: {', '.join(_LAYOUTS)}")
    return _LAYOUTS[name]


def outer_fine_map(layout: Layout) -> OuterFineMap:
    """Return the fine image of the outer face.

    A coarse sensor covers 5 x 3 cells, a centre sensor 3 x 2; the centre overwrites the coarse
    cells beneath it. With the physical layout each of the 234 sensors has shares that add to 1.
    """
    ids = np.kron(layout.outer_coarse, np.ones(COARSE_CELLS, dtype=np.int64))
    share = np.full(OUTER_FINE_SHAPE, 1 / np.prod(COARSE_CELLS))
    center = np.kron(layout.outer_center, np.ones(CENTER_CELLS, dtype=np.int64))
    ids[CENTER_ROWS, CENTER_COLUMNS] = center
    share[CENTER_ROWS, CENTER_COLUMNS] = 1 / np.prod(CENTER_CELLS)
    return OuterFineMap(ids=_frozen(ids), share=_frozen(share))


def hex_row_and_column() -> tuple[IdArray, IdArray]:
    """Return row and column of the 73 nodes of a hexagonal face, each of shape (73,)."""
    rows = np.repeat(np.arange(len(HEX_ROW_LENGTHS)), HEX_ROW_LENGTHS)
    columns = np.concatenate([np.arange(length) for length in HEX_ROW_LENGTHS])
    return rows.astype(np.int64), columns.astype(np.int64)


def _physical_offset(row: int, other_row: int) -> int:
    """Return the column shift to the first of the two neighbours in an adjacent row.

    Rows are centred, so what matters is whether the other row is one sensor longer or shorter.
    """
    return 0 if HEX_ROW_LENGTHS[other_row] > HEX_ROW_LENGTHS[row] else -1


def _legacy_offset(row: int, other_row: int) -> int:
    """Return the same shift as in a lattice whose odd rows are all displaced by half a pitch."""
    del other_row
    return 0 if row % 2 else -1


def _hex_candidates(row: int, column: int, *, legacy: bool) -> Iterator[tuple[int, int, int]]:
    """Yield (type, row, column) of the self edge and of up to six neighbours, also off the edge."""
    offset = _legacy_offset if legacy else _physical_offset
    yield 0, row, column
    yield 1, row, column - 1
    yield 2, row, column + 1
    for first_type, other_row in ((3, row - 1), (5, row + 1)):
        if 0 <= other_row < len(HEX_ROW_LENGTHS):
            first = column + offset(row, other_row)
            yield first_type, other_row, first
            yield first_type + 1, other_row, first + 1


def _hex_edges(*, legacy: bool) -> IdArray:
    starts = np.concatenate([[0], np.cumsum(HEX_ROW_LENGTHS)])
    rows, columns = hex_row_and_column()
    edges = [
        (sender, starts[row] + column, slot)
        for sender in range(N_HEX)
        for slot, row, column in _hex_candidates(
            int(rows[sender]), int(columns[sender]), legacy=legacy
        )
        if 0 <= column < HEX_ROW_LENGTHS[row]
    ]
    return np.asarray(edges, dtype=np.int64).T


def _neighbour_table(edges: IdArray) -> IdArray:
    table = np.full((N_HEX, N_HEX_SLOTS), NO_NEIGHBOUR, dtype=np.int64)
    senders, receivers, slots = edges
    table[receivers, slots] = senders
    return table


def _frozen(array: NDArray[ScalarT]) -> NDArray[ScalarT]:
    array.setflags(write=False)
    return array


def _build(name: str, outer_coarse: IdArray, *, legacy_graph: bool) -> Layout:
    edges = _hex_edges(legacy=legacy_graph)
    return Layout(
        name=name,
        inner=_frozen(np.arange(N_SIPM).reshape(INNER_ROWS, INNER_COLUMNS)),
        us=_frozen(np.arange(FIRST_US, FIRST_DS).reshape(24, 6)),
        ds=_frozen(np.arange(FIRST_DS, FIRST_TOP).reshape(24, 6)),
        outer_coarse=_frozen(outer_coarse),
        outer_center=_frozen(np.ascontiguousarray(np.asarray(OUTER_CENTER_ROWS).T)),
        top=_frozen(np.arange(FIRST_TOP, FIRST_BOTTOM)),
        bottom=_frozen(np.arange(FIRST_BOTTOM, FIRST_OUTER_EXTRA)),
        hex_edges=_frozen(edges),
        hex_neighbours=_frozen(_neighbour_table(edges)),
    )


_OUTER_IDS = np.arange(FIRST_OUTER, FIRST_US)

PHYSICAL: Final = _build(
    "physical", np.ascontiguousarray(_OUTER_IDS.reshape(24, 9).T), legacy_graph=False
)
LEGACY: Final = _build("legacy", _OUTER_IDS.reshape(9, 24), legacy_graph=True)
_LAYOUTS: Final = {layout.name: layout for layout in (PHYSICAL, LEGACY)}
