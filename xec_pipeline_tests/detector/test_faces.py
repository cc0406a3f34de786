"""Numbers of sensors: every one on exactly one face, SiPMs on the inner face only."""

import numpy as np
import pytest

from xec_pipeline.detector.faces import (
    FACE_NAMES,
    HEX_ROW_LENGTHS,
    N_HEX,
    OUTER_CENTER_ROWS,
    Face,
    face_of_sensor,
    sensors_of_face,
)
from xec_pipeline.detector.sensors import (
    FIRST_OUTER_EXTRA,
    N_PMT,
    N_SENSORS,
    N_SIPM,
    PMT_AREA_CM2,
    SIPM_AREA_CM2,
    is_sipm,
)


@pytest.mark.parametrize(
    ("face", "code", "name", "count"),
    [
        (Face.INNER, 0, "inner", 4092),
        (Face.US, 1, "us", 144),
        (Face.DS, 2, "ds", 144),
        (Face.OUTER, 3, "outer", 234),
        (Face.TOP, 4, "top", 73),
        (Face.BOTTOM, 5, "bot", 73),
    ],
)
def test_code_name_and_size_of_a_face(face, code, name, count):
    assert int(face) == code
    assert FACE_NAMES[face] == name
    assert len(sensors_of_face(face)) == count


def test_every_sensor_is_on_exactly_one_face():
    together = np.concatenate([sensors_of_face(face) for face in Face])
    assert np.array_equal(np.sort(together), np.arange(N_SENSORS))


def test_sensors_of_a_face_carry_its_code():
    for face in Face:
        assert (face_of_sensor()[sensors_of_face(face)] == face).all()


def test_shared_arrays_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        face_of_sensor()[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        sensors_of_face(Face.US)[0] = 1


def test_sipms_are_the_inner_face():
    assert N_SIPM + N_PMT == N_SENSORS
    assert np.array_equal(
        np.flatnonzero(is_sipm(np.arange(N_SENSORS))), sensors_of_face(Face.INNER)
    )
    assert is_sipm([-1, 0, 4091, 4092]).tolist() == [False, True, True, False]


def test_window_areas():
    assert pytest.approx(1.3924) == SIPM_AREA_CM2
    assert pytest.approx(15.904, abs=5e-4) == PMT_AREA_CM2


def test_dense_centre_holds_twelve_coarse_and_eighteen_extra_sensors():
    ids = np.ravel(OUTER_CENTER_ROWS)
    assert len(set(ids.tolist())) == 30
    assert np.array_equal(np.sort(ids[ids >= FIRST_OUTER_EXTRA]), np.arange(4742, 4760))
    assert (face_of_sensor()[ids] == Face.OUTER).all()


def test_rows_of_a_hexagonal_face_add_up():
    assert sum(HEX_ROW_LENGTHS) == N_HEX == 73
