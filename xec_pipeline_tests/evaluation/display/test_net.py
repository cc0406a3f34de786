import itertools

import numpy as np
import pytest
from matplotlib.path import Path

from xec_pipeline.detector.coordinates import INNER_RADIUS_CM, xyz_to_uvw
from xec_pipeline.detector.faces import Face, face_of_sensor, sensors_of_face
from xec_pipeline.detector.geometry import ideal_geometry
from xec_pipeline.detector.layout import PHYSICAL
from xec_pipeline.evaluation.display.net import (
    face_box,
    net_box,
    on_face,
    polygons,
    sensor_centers,
)

ROUNDED = [Face.INNER, Face.US, Face.DS, Face.OUTER]


def x_of(ids):
    return sensor_centers()[ids, 0]


def y_of(ids):
    return sensor_centers()[ids, 1]


def test_every_sensor_has_a_rectangle_or_a_hexagon():
    n_corners = np.array([len(corners) for corners in polygons()])
    assert len(n_corners) == 4760
    is_hex = np.isin(face_of_sensor(), [Face.TOP, Face.BOTTOM])
    assert set(n_corners[is_hex]) == {6}
    assert set(n_corners[~is_hex]) == {4}
    for corners, center in zip(polygons(), sensor_centers(), strict=True):
        np.testing.assert_allclose(corners.mean(axis=0), center, atol=1e-9)


def test_downstream_is_left_and_the_top_is_up():
    upstream, downstream = PHYSICAL.inner[:, 0], PHYSICAL.inner[:, -1]
    assert (x_of(downstream) < x_of(upstream)).all()
    assert (y_of(PHYSICAL.inner[0]) > y_of(PHYSICAL.inner[-1])).all()
    z = ideal_geometry().position_cm[:, 2]
    for face in (Face.INNER, Face.OUTER, Face.TOP, Face.BOTTOM):
        ids = sensors_of_face(face)
        center = (face_box(face).left + face_box(face).right) / 2
        np.testing.assert_allclose(x_of(ids) - center, -z[ids], atol=1e-9)


def test_order_of_the_faces():
    left_to_right = [face_box(face) for face in (Face.DS, Face.INNER, Face.US, Face.OUTER)]
    for one, other in itertools.pairwise(left_to_right):
        assert one.right < other.left
    assert face_box(Face.TOP).bottom > face_box(Face.INNER).top
    assert face_box(Face.BOTTOM).top < face_box(Face.INNER).bottom
    for a, b in itertools.combinations(map(face_box, Face), 2):
        assert a.right < b.left or b.right < a.left or a.top < b.bottom or b.top < a.bottom


def test_small_radius_is_beside_the_inner_face():
    assert (x_of(PHYSICAL.ds[:, 0]) > x_of(PHYSICAL.ds[:, 5])).all()
    assert (x_of(PHYSICAL.us[:, 0]) < x_of(PHYSICAL.us[:, 5])).all()
    first, last = PHYSICAL.top[:11], PHYSICAL.top[-14:]
    assert y_of(first).max() < y_of(last).min()
    first, last = PHYSICAL.bottom[:11], PHYSICAL.bottom[-14:]
    assert y_of(first).min() > y_of(last).max()


def test_equal_phi_is_at_equal_height():
    x, y, _ = ideal_geometry().position_cm.T
    phi = np.arctan2(y, -x)
    for face in ROUNDED:
        ids = sensors_of_face(face)
        np.testing.assert_allclose(y_of(ids), INNER_RADIUS_CM * phi[ids], atol=1e-9)
    tops = [face_box(face).top for face in ROUNDED]
    np.testing.assert_allclose(tops, tops[0], atol=0.01)


def test_dense_centre_of_the_outer_face_is_the_right_way_round():
    rows = PHYSICAL.outer_center.T
    assert (np.diff(y_of(rows), axis=0) < 0).all()
    assert (np.diff(x_of(rows), axis=1) < 0).all()
    width = np.ptp(polygons()[4751], axis=0)
    coarse = np.ptp(polygons()[4092], axis=0)
    np.testing.assert_allclose(width / coarse, [6.2 / 10.356, 2 / 3], rtol=1e-6)


@pytest.mark.parametrize("face", list(Face))
def test_polygons_of_a_face_do_not_overlap(face):
    rng = np.random.default_rng(0)
    box = face_box(face)
    points = rng.uniform([box.left, box.bottom], [box.right, box.top], (400, 2))
    inside = np.zeros(len(points), dtype=int)
    for sensor in sensors_of_face(face):
        center = sensor_centers()[sensor]
        shrunk = Path(center + (polygons()[sensor] - center) * 0.999)
        near = np.abs(points - center).max(axis=1) < 9
        inside[near] += shrunk.contains_points(points[near])
    assert inside.max() == 1
    # Rectangles cover their face; a hexagonal face has ragged sides.
    assert (inside == 1).mean() > (0.98 if face in ROUNDED else 0.8)


def test_a_point_before_a_sensor_is_projected_onto_it():
    uvw = xyz_to_uvw(ideal_geometry().position_cm)
    for face in Face:
        ids = sensors_of_face(face)
        np.testing.assert_allclose(on_face(face, uvw[ids]), sensor_centers()[ids])
    deep = uvw[2046] + [0, 0, 12.0]
    np.testing.assert_allclose(on_face(Face.INNER, deep), sensor_centers()[2046])
    assert on_face(Face.US, deep)[0] > on_face(Face.US, uvw[2046])[0]
    assert on_face(Face.DS, deep)[0] < on_face(Face.DS, uvw[2046])[0]
    assert on_face(Face.TOP, deep)[1] > on_face(Face.TOP, uvw[2046])[1]
    assert on_face(Face.BOTTOM, deep)[1] < on_face(Face.BOTTOM, uvw[2046])[1]


def test_lengths_along_z_and_radius_are_to_scale():
    uvw = xyz_to_uvw(ideal_geometry().position_cm)
    assert np.ptp(x_of(PHYSICAL.us[0])) == pytest.approx(np.ptp(uvw[PHYSICAL.us[0], 2]))
    assert np.ptp(x_of(PHYSICAL.outer_coarse[:, 0])) == pytest.approx(8 * 10.356)
    assert np.ptp(y_of(PHYSICAL.top)) == pytest.approx(5 * 6.91)
    assert net_box().holds(sensor_centers()).all()
