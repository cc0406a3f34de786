"""Sensor maps against positions, and the LEGACY maps against numbers of the earlier system."""

from collections import Counter

import numpy as np
import pytest

from xec_pipeline.detector.faces import N_HEX, OUTER_CENTER_ROWS, Face, sensors_of_face
from xec_pipeline.detector.geometry import ideal_geometry
from xec_pipeline.detector.layout import (
    CENTER_COLUMNS,
    CENTER_ROWS,
    LEGACY,
    NO_NEIGHBOUR,
    PHYSICAL,
    Layout,
    layout_by_name,
    outer_fine_map,
)
from xec_pipeline.detector.sensors import N_SENSORS
from xec_pipeline.errors import ConfigError

BOTH = pytest.mark.parametrize("layout", [PHYSICAL, LEGACY], ids=lambda layout: layout.name)

# Longest step, in cm, between cells that touch: 1.2 times the pitch of the image's two axes.
PITCH_CM = {
    "inner": (1.5305, 1.5098),
    "us": (9.40, 7.0807),
    "ds": (9.40, 7.0807),
    "outer_coarse": (10.356, 9.70),
    "outer_center": (6.2, 6.467),
}


def images(layout: Layout) -> list[np.ndarray]:
    flat = [layout.inner, layout.us, layout.ds, layout.outer_coarse, layout.outer_center]
    return [*flat, layout.top, layout.bottom]


def in_degree(layout: Layout) -> Counter[int]:
    return Counter((layout.hex_neighbours != NO_NEIGHBOUR).sum(axis=1).tolist())


@BOTH
def test_images_hold_every_sensor(layout):
    ids = np.concatenate([image.ravel() for image in images(layout)])
    assert np.array_equal(np.unique(ids), np.arange(N_SENSORS))
    # Twelve sensors are in the coarse image and in the dense centre.
    assert len(ids) == N_SENSORS + 12


@BOTH
def test_gather_then_scatter_is_the_identity(layout):
    values = np.arange(N_SENSORS) * 0.5
    scattered = np.full(N_SENSORS, np.nan)
    for image in images(layout):
        scattered[image] = values[image]
    assert np.array_equal(scattered, values)


@BOTH
def test_images_belong_to_their_faces(layout):
    assert np.array_equal(np.sort(layout.inner.ravel()), sensors_of_face(Face.INNER))
    assert np.array_equal(np.sort(layout.us.ravel()), sensors_of_face(Face.US))
    assert np.array_equal(np.sort(layout.ds.ravel()), sensors_of_face(Face.DS))
    assert np.array_equal(layout.top, sensors_of_face(Face.TOP))
    assert np.array_equal(layout.bottom, sensors_of_face(Face.BOTTOM))
    outer = np.union1d(layout.outer_coarse, layout.outer_center)
    assert np.array_equal(outer, sensors_of_face(Face.OUTER))


@BOTH
def test_arrays_cannot_be_changed(layout):
    for image in (*images(layout), layout.hex_edges, layout.hex_neighbours):
        with pytest.raises(ValueError, match="read-only"):
            image.flat[0] = 0


@pytest.mark.parametrize("name", PITCH_CM)
def test_touching_cells_are_touching_sensors(name):
    image = getattr(PHYSICAL, name)
    position = ideal_geometry().position_cm[image]
    if name == "outer_coarse":
        # The twelve centre sensors left the coarse grid for a finer one.
        position[3:6, 10:14] = np.nan
    for axis, pitch in enumerate(PITCH_CM[name]):
        step = np.linalg.norm(np.diff(position, axis=axis), axis=-1)
        assert np.nanmax(step) < 1.2 * pitch


def test_legacy_coarse_image_puts_distant_sensors_side_by_side():
    position = ideal_geometry().position_cm[LEGACY.outer_coarse]
    steps = np.linalg.norm(np.diff(position, axis=1), axis=-1)
    assert steps.max() == pytest.approx(83.4, abs=0.1)


def test_image_axes_point_as_documented():
    position = ideal_geometry().position_cm
    y, z = position[..., 1], position[..., 2]
    assert (np.diff(y[PHYSICAL.inner], axis=0) < 0).all()
    assert (np.diff(z[PHYSICAL.inner], axis=1) > 0).all()
    assert (np.diff(y[PHYSICAL.us], axis=0) < 0).all()
    for image in (PHYSICAL.outer_coarse[:, :10], PHYSICAL.outer_center):
        assert (np.diff(z[image], axis=0) > 0).all()
        assert (np.diff(y[image], axis=1) < 0).all()


def test_centre_of_the_coarse_image_is_the_shared_sensors():
    shared = PHYSICAL.outer_coarse[3:6, 10:14]
    assert np.array_equal(np.sort(shared.ravel()), np.intersect1d(OUTER_CENTER_ROWS, shared))


@pytest.mark.golden
def test_centre_image_of_the_earlier_system():
    assert LEGACY.outer_center.tolist() == [
        [4185, 4744, 4194, 4203, 4753, 4212],
        [4742, 4745, 4749, 4751, 4754, 4758],
        [4186, 4746, 4195, 4204, 4755, 4213],
        [4743, 4747, 4750, 4752, 4756, 4759],
        [4187, 4748, 4196, 4205, 4757, 4214],
    ]
    assert np.array_equal(LEGACY.outer_center, PHYSICAL.outer_center)


@pytest.mark.parametrize("face", ["top", "bottom"])
def test_physical_edges_are_all_pairs_closer_than_the_second_neighbours(face):
    position = ideal_geometry().position_cm[getattr(PHYSICAL, face)]
    distance = np.linalg.norm(position[:, None] - position[None], axis=-1)
    close = {(int(u), int(v)) for u, v in np.argwhere(distance < 7.7) if u != v}
    senders, receivers, slots = PHYSICAL.hex_edges
    edges = set(zip(senders[slots > 0].tolist(), receivers[slots > 0].tolist(), strict=True))
    assert edges == close
    assert len(edges) == 366


def test_physical_degrees():
    # Neighbours and the node itself: 2, 3, 4, 5, 6 neighbours.
    assert in_degree(PHYSICAL) == {3: 2, 4: 4, 5: 25, 6: 2, 7: 40}


def test_physical_types_point_in_one_direction_each():
    """Type 1 is upstream, 2 downstream, 3 and 4 inward, 5 and 6 outward; odd ones upstream."""
    position = ideal_geometry().position_cm[PHYSICAL.top]
    radius, z = np.hypot(position[:, 0], position[:, 1]), position[:, 2]
    senders, receivers, slots = PHYSICAL.hex_edges
    z_sign = np.sign(np.round(z[receivers] - z[senders], 9))
    radius_sign = np.sign(np.round(radius[receivers] - radius[senders], 9))
    assert (z_sign == np.array([0, -1, 1, -1, 1, -1, 1])[slots]).all()
    assert (radius_sign == np.array([0, 0, 0, -1, -1, 1, 1])[slots]).all()


@BOTH
def test_reverse_edges_carry_the_opposite_type(layout):
    edges = {(int(u), int(v)): int(t) for u, v, t in layout.hex_edges.T}
    opposite = {0: 0, 1: 2, 2: 1, 3: 6, 6: 3, 4: 5, 5: 4}
    assert all(edges[v, u] == opposite[t] for (u, v), t in edges.items())


@BOTH
def test_gather_table_is_the_edge_list(layout):
    receivers, slots = np.nonzero(layout.hex_neighbours != NO_NEIGHBOUR)
    senders = layout.hex_neighbours[receivers, slots]
    from_table = set(zip(senders.tolist(), receivers.tolist(), slots.tolist(), strict=True))
    assert from_table == {tuple(edge) for edge in layout.hex_edges.T.tolist()}
    assert np.array_equal(layout.hex_neighbours[:, 0], np.arange(N_HEX))


@pytest.mark.golden
def test_legacy_edges_of_the_earlier_system():
    first_eight = [
        (0, 0, 0), (0, 1, 2), (0, 11, 6), (1, 1, 0), (1, 0, 1), (1, 2, 2), (1, 11, 5), (1, 12, 6),
    ]  # fmt: skip
    assert [tuple(edge) for edge in LEGACY.hex_edges.T[:8].tolist()] == first_eight
    assert LEGACY.hex_edges.shape == (3, 73 + 358)
    assert in_degree(LEGACY) == {2: 2, 3: 1, 4: 6, 5: 22, 6: 4, 7: 38}


@pytest.mark.golden
def test_legacy_convolution_of_the_earlier_system():
    """Weight of type t is t, the feature is the number of the node."""
    features = np.append(np.arange(N_HEX), 0)
    out = features[LEGACY.hex_neighbours] @ np.arange(7)
    assert out[[0, 12, 40, 72]].tolist() == [34, 222, 810, 142]
    assert out.sum() == 41394


def test_legacy_graph_misses_edges_and_joins_distant_sensors():
    position = ideal_geometry().position_cm[LEGACY.top]
    senders, receivers, slots = LEGACY.hex_edges
    distance = np.linalg.norm(position[senders] - position[receivers], axis=-1)[slots > 0]
    assert np.count_nonzero(distance > 11.4) == 84
    true = {tuple(pair) for pair in PHYSICAL.hex_edges[:2].T.tolist()}
    assert len(true - {tuple(pair) for pair in LEGACY.hex_edges[:2].T.tolist()}) == 92


def test_fine_image_shares_each_sensor_out_completely():
    fine = outer_fine_map(PHYSICAL)
    assert fine.ids.shape == fine.share.shape == (45, 72)
    total = np.bincount(fine.ids.ravel(), weights=fine.share.ravel(), minlength=N_SENSORS)
    outer = sensors_of_face(Face.OUTER)
    assert total[outer] == pytest.approx(np.ones(234))
    assert total.sum() == pytest.approx(234)


def test_fine_image_places_the_centre_where_its_sensors_are():
    fine = outer_fine_map(PHYSICAL)
    assert set(fine.ids[CENTER_ROWS, CENTER_COLUMNS].ravel()) == set(np.ravel(OUTER_CENTER_ROWS))
    position = ideal_geometry().position_cm[fine.ids]
    z_of_row = (np.arange(45) - 22) * 10.356 / 5
    phi_of_column = (35.5 - np.arange(72)) * 5.23 / 3
    phi = np.rad2deg(np.arctan2(position[..., 1], -position[..., 0]))
    # A cell lies inside its sensor's cell: within half the pitch of the sensor's grid, plus the
    # 0.2 % by which the two grids differ.
    assert np.abs(position[..., 2] - z_of_row[:, None]).max() < 10.356 / 2
    assert np.abs(phi - phi_of_column).max() < 5.23 / 2


@pytest.mark.golden
@pytest.mark.parametrize("layout", [PHYSICAL, LEGACY], ids=lambda layout: layout.name)
def test_one_centre_sensor_in_the_fine_image(layout):
    fine = outer_fine_map(layout)
    rows, columns = np.nonzero(fine.ids == 4742)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (18, 20, 30, 31)
    assert fine.share[rows, columns] == pytest.approx(np.full(6, 1 / 6))


@pytest.mark.golden
def test_legacy_fine_image_shows_a_shared_sensor_twice():
    fine = outer_fine_map(LEGACY)
    light = np.where(fine.ids == 4185, fine.share, 0.0)
    assert light[15:18, 30:32] == pytest.approx(np.full((3, 2), 1 / 6))
    assert light[15:20, 63:66] == pytest.approx(np.full((5, 3), 1 / 15))
    assert light.sum() == pytest.approx(2)


def test_layouts_by_name():
    assert layout_by_name("physical") is PHYSICAL
    assert layout_by_name("legacy") is LEGACY


def test_unknown_layout_names_the_nearest():
    with pytest.raises(
        ConfigError, match=r"'phsyical'.*did you mean 'physical'.*known: physical, leg"
    ):
        layout_by_name("phsyical")
