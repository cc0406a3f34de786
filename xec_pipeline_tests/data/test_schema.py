"""The list of branches."""

import numpy as np

from xec_pipeline.data.schema import (
    BRANCHES,
    COLUMN_BRANCHES,
    SENSOR_BRANCHES,
    TRUTH_COLUMNS,
    is_valid,
)


def test_every_branch_of_the_files_is_described_once():
    assert len(BRANCHES) == 31
    assert set(SENSOR_BRANCHES) | set(COLUMN_BRANCHES) == set(BRANCHES)
    assert set(TRUTH_COLUMNS) <= set(COLUMN_BRANCHES)
    assert all(branch.meaning for branch in BRANCHES.values())


def test_types_as_written_by_the_experiment():
    assert BRANCHES["run"].numpy_dtype == np.int32
    assert BRANCHES["ch_time_min"].numpy_dtype == np.int16
    assert BRANCHES["ch_time_min"].invalid == -1
    assert BRANCHES["solid_angle"].invalid == 0
    assert BRANCHES["emiAng"].shape == (2,)
    assert BRANCHES["energyTruth"].unit == "GeV"
    assert np.isnan(BRANCHES["energyTruth"].fill)
    assert BRANCHES["run"].fill == -1


def test_what_counts_as_measured():
    values = np.array([0.0, -8e9, 9e9, 9.1e9, 1e10, -1e10, np.nan, np.inf, -np.inf])
    assert is_valid(values).tolist() == [True] * 3 + [False] * 6
