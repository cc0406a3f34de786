"""Coordinates and angles: hand numbers, round trips, edges."""

import numpy as np
import pytest

from xec_pipeline.detector.coordinates import (
    INNER_RADIUS_CM,
    angles_to_direction,
    direction_to_angles_deg,
    opening_angle_deg,
    uvw_to_xyz,
    wrapped_deg,
    xyz_to_uvw,
)


@pytest.fixture
def uvw_cm():
    rng = np.random.default_rng(20240)
    low, high = [-33.5, -71.1, 0.0], [33.5, 71.1, 41.3]
    return rng.uniform(low, high, size=(2000, 3))


@pytest.mark.golden
def test_worked_point():
    xyz = uvw_to_xyz([10.0, -25.0, 3.0])
    assert xyz == pytest.approx([-62.999773, -25.513712, 10.0], abs=1e-6)
    assert direction_to_angles_deg(xyz) == pytest.approx([81.6305, -22.0470], abs=1e-4)


def test_radius_of_the_sensitive_surface():
    assert pytest.approx(64.97) == INNER_RADIUS_CM
    assert xyz_to_uvw([-64.97, 0, 0]) == pytest.approx([0, 0, 0], abs=1e-12)


def test_axes():
    assert xyz_to_uvw([-70, 0, 5])[0] == pytest.approx(5)
    assert xyz_to_uvw([-60, 30, 0])[1] > 0
    assert xyz_to_uvw([-80, 0, 0])[2] == pytest.approx(80 - 64.97)


def test_round_trip_in_double_precision(uvw_cm):
    assert np.abs(xyz_to_uvw(uvw_to_xyz(uvw_cm)) - uvw_cm).max() < 1e-12


def test_round_trip_through_single_precision(uvw_cm):
    stored = uvw_cm.astype(np.float32)
    through = xyz_to_uvw(uvw_to_xyz(stored).astype(np.float32)).astype(np.float32)
    assert np.abs(through - stored).max() < 1e-5


def test_any_leading_shape(uvw_cm):
    cube = uvw_cm[:24].reshape(2, 3, 4, 3)
    assert uvw_to_xyz(cube).shape == (2, 3, 4, 3)
    assert np.array_equal(uvw_to_xyz(cube)[1, 2, 3], uvw_to_xyz(cube[1, 2, 3]))
    assert xyz_to_uvw(np.empty((0, 3))).shape == (0, 3)


def test_nan_passes_through():
    assert np.isnan(uvw_to_xyz([1.0, np.nan, 2.0])).tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("angles", "direction"),
    [
        ((90, 0), (-1, 0, 0)),
        ((90, 90), (0, 1, 0)),
        ((90, -90), (0, -1, 0)),
        ((0, 0), (0, 0, 1)),
        ((180, 0), (0, 0, -1)),
    ],
)
def test_directions_along_the_axes(angles, direction):
    assert angles_to_direction(angles) == pytest.approx(direction, abs=1e-15)
    assert direction_to_angles_deg(direction)[0] == pytest.approx(angles[0])


def test_angles_do_not_depend_on_the_length():
    short, long = direction_to_angles_deg([[-1, 2, 3], [-10, 20, 30]])
    assert short == pytest.approx(long)


def test_angle_round_trip():
    rng = np.random.default_rng(7)
    angles = np.stack([rng.uniform(60, 120, 500), rng.uniform(-65, 65, 500)], axis=-1)
    direction = angles_to_direction(angles)
    assert np.linalg.norm(direction, axis=-1) == pytest.approx(np.ones(500))
    assert np.abs(direction_to_angles_deg(direction) - angles).max() < 1e-11


@pytest.mark.golden
@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((90, 0), (90, 0), 0.0),
        ((90, 10), (90, 0), 10.0),
        ((60, 30), (62, 25), 4.80805618),
        ((0, 0), (180, 0), 180.0),
        ((90, 0), (89, 1), 1.41417766),
    ],
)
def test_opening_angle(first, second, expected):
    assert opening_angle_deg(first, second) == pytest.approx(expected, abs=1e-8)


def test_opening_angle_keeps_tiny_angles():
    assert opening_angle_deg([90, 1e-7], [90, 0]) == pytest.approx(1e-7, rel=1e-6)


def test_angles_are_wrapped_with_the_seam_at_minus_180():
    angles = [0.0, 180.0, -180.0, 190.0, -190.0, 540.0, np.nan]
    expected = [0.0, -180.0, -180.0, -170.0, 170.0, -180.0, np.nan]
    np.testing.assert_allclose(wrapped_deg(angles), expected)
    assert wrapped_deg(359.8) == pytest.approx(-0.2)


@pytest.mark.parametrize("function", [xyz_to_uvw, uvw_to_xyz, direction_to_angles_deg])
@pytest.mark.parametrize("bad", [1.0, [1.0, 2.0], np.zeros((3, 4))])
def test_wrong_shape_is_an_error(function, bad):
    with pytest.raises(ValueError, match="must have 3 entries"):
        function(bad)


def test_angles_need_two_entries():
    with pytest.raises(ValueError, match=r"must have 2 entries, got shape \(5, 3\)"):
        opening_angle_deg(np.zeros((5, 3)), np.zeros((5, 2)))
