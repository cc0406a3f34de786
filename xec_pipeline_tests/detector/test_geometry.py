"""Closed-form geometry: symmetries, hand numbers, and the published tables where at hand."""

import numpy as np
import pytest

from xec_pipeline.detector.faces import Face, face_of_sensor, sensors_of_face
from xec_pipeline.detector.geometry import (
    CONE_SLOPE,
    aligned_geometry,
    geometry_by_name,
    geometry_from_arrays,
    ideal_geometry,
)
from xec_pipeline.detector.sensors import N_SIPM
from xec_pipeline.errors import ConfigError
from xec_pipeline.units import MM_PER_CM

GEOMETRIES = pytest.mark.parametrize("name", ["ideal", "aligned"])

# Largest distance to the published table in mm; the ideal ones are the rounding of the text.
IDEAL_LIMIT_MM = {
    Face.INNER: 0.0009,
    Face.OUTER: 0.0048,
    Face.US: 0.0050,
    Face.DS: 0.0050,
    Face.TOP: 0.0007,
    Face.BOTTOM: 0.0007,
}
# mm and mrad.
ALIGNED_LIMIT = {
    Face.INNER: (0.355, 2.26),
    Face.OUTER: (0.0132, 0.0015),
    Face.US: (0.0100, 0.0015),
    Face.DS: (0.0067, 0.0015),
    Face.TOP: (0.0015, 0.0015),
    Face.BOTTOM: (0.0015, 0.0015),
}
ALIGNED_RMS_MM = {
    Face.INNER: 0.091,
    Face.OUTER: 0.0033,
    Face.US: 0.0014,
    Face.DS: 0.0012,
    Face.TOP: 0.0007,
    Face.BOTTOM: 0.0008,
}

# Rows of the drawn table in cm, as it rounds them; first to last sensor of each face.
DRAWN_CM = (
    # inner
    (0, (-30.4163, 57.4104, -32.4601)),
    (818, (-51.3426, 39.8125, 6.79398)),
    (1636, (-63.5154, 13.6711, -20.3819)),
    (2455, (-63.5154, -13.6711, 20.3819)),
    (3273, (-51.3426, -39.8125, -6.79398)),
    (4091, (-30.4163, -57.4104, 32.4601)),
    # us
    (4308, (-34.6125, 60.3025, -35.1547)),
    (4337, (-79.7521, 65.1022, -46.8392)),
    (4365, (-87.2596, 20.2658, -42.1654)),
    (4394, (-80.7489, -18.7537, -39.8285)),
    (4422, (-53.8627, -43.9685, -35.1547)),
    (4451, (-51.2492, -89.2873, -46.8392)),
    # ds
    (4452, (-34.6125, 60.3025, 35.1547)),
    (4481, (-79.7521, 65.1022, 46.8392)),
    (4509, (-87.2596, 20.2658, 42.1654)),
    (4538, (-80.7489, -18.7537, 39.8285)),
    (4566, (-53.8627, -43.9685, 35.1547)),
    (4595, (-51.2492, -89.2873, 46.8392)),
    # outer
    (4092, (-52.9019, 92.1667, -41.424)),
    (4139, (-88.107, 59.4177, -20.712)),
    (4185, (-105.043, 16.105, -12.4)),
    (4232, (-100.893, -33.3768, 10.356)),
    (4278, (-75.8556, -74.4261, 20.712)),
    (4759, (-105.043, -16.105, 6.2)),
    # top
    (4596, (-31.2485, 60.6987, -30.6)),
    (4610, (-34.4113, 66.8423, -15.3)),
    (4625, (-37.5741, 72.986, 6.12)),
    (4639, (-40.737, 79.1296, 21.42)),
    (4654, (-43.8998, 85.2733, 36.72)),
    (4668, (-47.0626, 91.417, 39.78)),
    # bottom
    (4669, (-31.2485, -60.6987, -30.6)),
    (4683, (-34.4113, -66.8423, -15.3)),
    (4698, (-37.5741, -72.986, 6.12)),
    (4712, (-40.737, -79.1296, 21.42)),
    (4727, (-43.8998, -85.2733, 36.72)),
    (4741, (-47.0626, -91.417, 39.78)),
)


@pytest.mark.golden
@pytest.mark.parametrize(("sensor", "drawn_cm"), DRAWN_CM)
def test_ideal_positions_are_those_of_drawn_rows(sensor, drawn_cm):
    distance = np.linalg.norm(ideal_geometry().position_cm[sensor] - drawn_cm)
    assert MM_PER_CM * distance < IDEAL_LIMIT_MM[Face(face_of_sensor()[sensor])]


@pytest.mark.golden
@pytest.mark.parametrize(
    ("sensor", "position"),
    [
        (0, (-30.4163, 57.4104, -32.4601)),
        (43, (-30.4163, 57.4104, 32.4601)),
        (44, (-31.7601, 56.6780, -32.4601)),
        (2046, (-64.9700, 0.0, 0.7549)),
        (4048, (-30.4163, -57.4104, -32.4601)),
        (4091, (-30.4163, -57.4104, 32.4601)),
    ],
)
def test_sensors_of_the_inner_face(sensor, position):
    assert ideal_geometry().position_cm[sensor] == pytest.approx(position, abs=6e-5)


@GEOMETRIES
def test_axes_are_orthonormal_and_right_handed(name):
    geometry = geometry_by_name(name)
    axes = np.stack([geometry.axis_u, geometry.axis_v, geometry.normal], axis=1)
    assert np.abs(axes @ axes.transpose(0, 2, 1) - np.eye(3)).max() < 1e-12
    assert np.linalg.det(axes) == pytest.approx(np.ones(len(axes)))
    # v = z x normal is horizontal.
    assert np.abs(geometry.axis_v[:, 2]).max() < 1e-15


@GEOMETRIES
def test_normals_point_into_the_xenon(name):
    geometry = geometry_by_name(name)
    middle = np.array([-85.0, 0.0, 0.0])
    towards = np.einsum("ij,ij->i", middle - geometry.position_cm, geometry.normal)
    pmts = np.arange(N_SIPM, len(towards))
    assert towards[pmts].min() > 0
    # The inner face is convex seen from inside: there outward from the axis is into the xenon.
    outward = np.einsum("ij,ij->i", geometry.position_cm, geometry.normal)[:N_SIPM]
    assert outward.min() > 0


@GEOMETRIES
def test_arrays_cannot_be_changed(name):
    geometry = geometry_by_name(name)
    for array in (geometry.position_cm, geometry.normal, geometry.axis_u, geometry.axis_v):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 0.0


@pytest.mark.parametrize(
    ("first", "second", "mirror"),
    [(Face.TOP, Face.BOTTOM, (1, -1, 1)), (Face.US, Face.DS, (1, 1, -1))],
)
def test_opposite_faces_are_mirror_images_number_by_number(first, second, mirror):
    ideal = ideal_geometry()
    one, other = sensors_of_face(first), sensors_of_face(second)
    assert ideal.position_cm[one] * mirror == pytest.approx(ideal.position_cm[other], abs=1e-12)
    assert ideal.normal[one] * mirror == pytest.approx(ideal.normal[other], abs=1e-12)


def test_photomultipliers_lie_on_the_walls_of_the_xenon():
    x, y, z = ideal_geometry().position_cm.T
    radius, phi = np.hypot(x, y), np.rad2deg(np.arctan2(y, -x))
    side = np.concatenate([sensors_of_face(Face.US), sensors_of_face(Face.DS)])
    cone = 33.515 + CONE_SLOPE * (radius[side] - 64.84)
    assert np.abs(z[side]) == pytest.approx(cone, abs=1e-3)
    assert radius[sensors_of_face(Face.OUTER)] == pytest.approx(np.full(234, 106.27))
    assert phi[sensors_of_face(Face.TOP)] == pytest.approx(np.full(73, 62.76))


def test_normals_of_the_flat_faces():
    normal = ideal_geometry().normal
    assert normal[4596] == pytest.approx([-0.889097, -0.457719, 0], abs=1e-6)
    assert normal[4669] == pytest.approx([-0.889097, 0.457719, 0], abs=1e-6)
    assert normal[sensors_of_face(Face.US), 2] == pytest.approx(np.full(144, 0.943968), abs=1e-6)


def test_alignment_moves_sensors_by_millimetres():
    moved = MM_PER_CM * np.linalg.norm(
        aligned_geometry().position_cm - ideal_geometry().position_cm, axis=1
    )
    assert moved[:N_SIPM].max() == pytest.approx(10.4, abs=0.4)
    assert moved[N_SIPM:].max() == pytest.approx(1.03, abs=0.02)


@pytest.mark.golden
def test_tables_agree_on_the_faces(tables):
    codes = {0: Face.INNER, 1: Face.OUTER, 2: Face.US, 3: Face.DS, 4: Face.TOP, 5: Face.BOTTOM}
    assert [codes[code] for code in tables.table_face.tolist()] == face_of_sensor().tolist()


@pytest.mark.golden
@pytest.mark.parametrize("face", Face)
def test_ideal_positions_are_the_drawn_ones(tables, face):
    ids = sensors_of_face(face)
    distance = np.linalg.norm(ideal_geometry().position_cm - tables.drawn_cm, axis=1)[ids]
    assert MM_PER_CM * distance.max() < IDEAL_LIMIT_MM[face]


@pytest.mark.golden
@pytest.mark.parametrize("face", Face)
def test_aligned_positions_are_the_surveyed_ones(tables, face):
    ids, aligned = sensors_of_face(face), aligned_geometry()
    distance = np.linalg.norm(aligned.position_cm - tables.surveyed_cm, axis=1)[ids]
    turned = np.linalg.norm(aligned.normal - tables.surveyed_normal, axis=1)[ids]
    limit_mm, limit_mrad = ALIGNED_LIMIT[face]
    assert MM_PER_CM * distance.max() < limit_mm
    assert 1e3 * turned.max() < limit_mrad
    rms = MM_PER_CM * np.sqrt(np.mean(distance**2))
    assert rms == pytest.approx(ALIGNED_RMS_MM[face], abs=6e-5 if face else 6e-4)


def test_own_survey_becomes_a_geometry():
    ideal = ideal_geometry()
    own = geometry_from_arrays("own", ideal.position_cm, 2.5 * ideal.normal)
    assert own.name == "own"
    assert own.normal == pytest.approx(ideal.normal)
    assert own.axis_u == pytest.approx(ideal.axis_u)
    assert own.position_cm is not ideal.position_cm


def test_own_survey_of_wrong_size_is_an_error():
    with pytest.raises(ValueError, match=r"normal must have shape \(4760, 3\), got \(12, 3\)"):
        geometry_from_arrays("own", ideal_geometry().position_cm, np.ones((12, 3)))


def test_unknown_geometry_names_the_nearest():
    with pytest.raises(
        ConfigError, match=r"'alinged' .did you mean 'aligned'.*known: ideal, aligned"
    ):
        geometry_by_name("alinged")
