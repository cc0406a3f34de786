import math

import numpy as np
import pytest
import torch

from xec_pipeline.config.normalization import NormalizationConfig
from xec_pipeline.detector.coordinates import uvw_to_xyz, xyz_to_uvw
from xec_pipeline.detector.geometry import ideal_geometry
from xec_pipeline.detector.layout import PHYSICAL
from xec_pipeline.models.input_norm import InputNormalizer
from xec_pipeline.models.moments import LightMoments
from xec_pipeline.models.window import BrightWindow

POINTS = [(0.3, 1.1, 3.0), (12.0, -40.0, 4.0), (-20.0, 55.0, 2.0)]
NORMALIZATION = NormalizationConfig(npho_scheme="sqrt", npho_scale=20000.0)
EMITTED_NS = 1.7


def point_source(uvw):
    """Return what the encoder sees of a point source of light without noise."""
    geometry = ideal_geometry()
    offset = uvw_to_xyz(np.array(uvw)) - geometry.position_cm
    distance = np.linalg.norm(offset, axis=1)
    height = np.clip((offset * geometry.normal).sum(axis=1), 0, None)
    npho = 2e5 * height / distance**3
    times_s = 1e-9 * (EMITTED_NS + distance * 1.61 / 29.9792458)
    normalizer = InputNormalizer(NORMALIZATION)
    return normalizer.light(
        normalizer(torch.tensor(npho[None]), torch.tensor(times_s[None], dtype=torch.float32))
    )


@pytest.mark.parametrize("uvw", POINTS)
def test_moments_find_a_point_source(uvw):
    features = LightMoments()(point_source(uvw)).features[0].tolist()
    assert len(features) == LightMoments.n_features
    u, v = 15 * features[13], 40 * features[14]
    depth = 5 * math.exp(features[18])
    assert (u, v) == pytest.approx(uvw[:2], abs=0.3)
    assert depth == pytest.approx(uvw[2], rel=0.3)
    emitted = features[20]
    assert emitted == pytest.approx(EMITTED_NS, abs=0.12)


@pytest.mark.parametrize("v", [-60.0, 8.0, 60.0])
def test_width_of_a_narrow_spot_keeps_its_digits_far_from_the_middle(v):
    light = point_source((20.0, v, 0.6))
    weight = light.npho[0, :4092].double().numpy() ** 2
    places = xyz_to_uvw(ideal_geometry().position_cm[:4092])[:, :2]
    mean = np.average(places, axis=0, weights=weight)
    width = np.sqrt(np.average((places - mean) ** 2, axis=0, weights=weight))
    features = LightMoments()(light).features[0, 15:17].numpy()
    assert 8 * (features + 1) == pytest.approx(np.sqrt(width**2 + 1e-3), rel=1e-5)


@pytest.mark.parametrize("uvw", POINTS)
def test_window_lies_around_the_source(uvw):
    window = BrightWindow(PHYSICAL)
    npho = point_source(uvw).npho[:, :4092]
    row, column = window.brightest(npho)
    nearest = xyz_to_uvw(ideal_geometry().position_cm[44 * int(row) + int(column)])
    assert nearest[:2] == pytest.approx(uvw[:2], abs=0.8)
    features = window.moments(npho, row, column)[0].tolist()
    assert len(features) == BrightWindow.n_moments
    assert (15 * features[0], 40 * features[1]) == pytest.approx(uvw[:2], abs=0.4)


def test_window_at_the_corner_is_padded():
    window = BrightWindow(PHYSICAL)
    planes = torch.arange(4092.0).view(1, 1, 4092) + 1
    first = window.cut(planes, torch.tensor([0]), torch.tensor([0])).view(11, 11)
    assert (first[:5] == 0).all()
    assert (first[:, :5] == 0).all()
    assert first[5:7, 5:7].tolist() == [[1, 2], [45, 46]]
    last = window.cut(planes, torch.tensor([92]), torch.tensor([43])).view(11, 11)
    assert last[5, 5] == 4092
    assert (last[6:] == 0).all()


def test_one_lit_sensor_is_the_brightest_place():
    npho = torch.zeros(2, 4092)
    npho[0, 44 * 7 + 9] = npho[1, 44 * 92 + 43] = 5.0
    row, column = BrightWindow(PHYSICAL).brightest(npho)
    assert row.tolist() == [7, 92]
    assert column.tolist() == [9, 43]
