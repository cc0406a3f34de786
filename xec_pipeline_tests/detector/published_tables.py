"""The published sensor tables, where they are at hand. The product itself never reads them."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SensorTables:
    """Positions as drawn, and positions, normals and face codes as surveyed."""

    drawn_cm: FloatArray
    surveyed_cm: FloatArray
    surveyed_normal: FloatArray
    table_face: NDArray[np.int64]


def read_tables() -> SensorTables:
    """Return the tables; skip the test where they are not."""
    folder = _table_folder()
    if folder is None:
        pytest.skip(
            "sensor_positions.txt and sensor_directions.txt are not part of this repository; "
            "name their folder in XEC_SENSOR_TABLES to run this comparison"
        )
    directions = np.loadtxt(folder / "sensor_directions.txt")
    return SensorTables(
        drawn_cm=np.loadtxt(folder / "sensor_positions.txt")[:, 1:4],
        surveyed_cm=directions[:, 4:7],
        surveyed_normal=directions[:, 1:4],
        table_face=directions[:, 7].astype(np.int64),
    )


def _table_folder() -> Path | None:
    """Return $XEC_SENSOR_TABLES, else shared/data beside the repository, if it holds the tables."""
    named = os.environ.get("XEC_SENSOR_TABLES")
    folder = Path(named) if named else Path(__file__).resolve().parents[3] / "shared" / "data"
    names = ("sensor_positions.txt", "sensor_directions.txt")
    return folder if all((folder / name).is_file() for name in names) else None
