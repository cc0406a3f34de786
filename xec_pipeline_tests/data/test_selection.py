"""Cuts on the truth."""

import numpy as np

from xec_pipeline.config.data import FiducialConfig
from xec_pipeline.data.selection import fiducial_mask

POINTS = np.array(
    [
        [0, 0, 0],
        [23.9, 0, 5],
        [0, -67.9, 5],
        [0, 0, -0.01],
        [0, 0, 42],
        [0, 0, 42.1],
        [np.nan] * 3,
    ]
)


def test_borders_as_stated():
    cut = FiducialConfig(enabled=True, w_max=42.0)
    inside = fiducial_mask(POINTS, cut)
    assert inside.tolist() == [True, False, False, False, True, False, False]
    assert fiducial_mask(POINTS, FiducialConfig(enabled=True))[5]


def test_no_cut_keeps_all():
    assert fiducial_mask(POINTS, FiducialConfig()).all()
