"""Cuts on the truth."""

import numpy as np

from xec_pipeline.config.data import FiducialConfig
from xec_pipeline.data.selection import fiducial_mask, has_all_targets

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


def test_events_need_every_component_of_every_target():
    targets = {
        "a": np.array([[1.0], [np.nan], [1.0]]),
        "b": np.array([[1, 2], [1, 2], [1, np.nan]]),
    }
    assert has_all_targets(targets).tolist() == [True, False, False]
