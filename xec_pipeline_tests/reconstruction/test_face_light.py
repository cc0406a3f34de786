import numpy as np
import pytest

from xec_pipeline.detector.faces import Face, sensors_of_face
from xec_pipeline.detector.sensors import N_SENSORS
from xec_pipeline.reconstruction.face_light import face_light, face_weights


def test_weights_are_the_inverse_of_what_sensors_cover():
    """SiPMs cover 60 % of the inner face, PMTs 16 % of the outer, 38 % of top and bottom."""
    inner, us, ds, outer, top, bottom = face_weights()
    assert inner == pytest.approx(1 / 0.60, rel=0.01)
    assert outer == pytest.approx(6.3, rel=0.01)
    assert us == ds == pytest.approx(3.5, rel=0.02)
    assert top == bottom == pytest.approx(2.66, rel=0.01)


def test_dead_sensors_count_as_the_mean_of_their_face():
    light, usable = np.full((2, N_SENSORS), 2.0), np.ones((2, N_SENSORS), dtype=bool)
    outer = sensors_of_face(Face.OUTER)
    usable[1, outer[:100]], light[1, outer[:100]] = False, 0.0
    usable[1, sensors_of_face(Face.TOP)], light[1, sensors_of_face(Face.TOP)] = False, 0.0
    found = face_light(light, usable)
    sizes = [len(sensors_of_face(face)) for face in Face]
    np.testing.assert_allclose(found[0], 2.0 * face_weights() * sizes)
    assert np.isnan(found[1, Face.TOP])
    kept = [face for face in Face if face is not Face.TOP]
    np.testing.assert_allclose(found[1, kept], found[0, kept])
