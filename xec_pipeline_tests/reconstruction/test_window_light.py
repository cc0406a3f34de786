import numpy as np

from xec_pipeline.detector.coordinates import xyz_to_uvw
from xec_pipeline.detector.geometry import ideal_geometry
from xec_pipeline.detector.sensors import INNER_COLUMNS, N_SIPM
from xec_pipeline.reconstruction.window_light import window_light

PLACE = xyz_to_uvw(ideal_geometry().position_cm[:N_SIPM])[:, :2]
CENTRE = 40 * INNER_COLUMNS + 20


def observe(light):
    return window_light(light, np.ones(light.shape, dtype=bool), np.array([CENTRE]), PLACE)


def test_two_sensors_meet_between_their_places():
    light = np.zeros((1, N_SIPM))
    light[0, [CENTRE, CENTRE + 1]] = 30.0, 10.0
    found = observe(light)
    step = PLACE[CENTRE + 1] - PLACE[CENTRE]
    np.testing.assert_allclose(found.mean_uv_cm[0], PLACE[CENTRE] + 0.25 * step, atol=1e-9)
    np.testing.assert_allclose(found.offset_uv_cm[0], 0.25 * step, atol=1e-9)
    width = np.sqrt(0.25 * 0.75) * np.linalg.norm(step)
    np.testing.assert_allclose(np.exp(found.ln_width), width)
    np.testing.assert_allclose(found.ln_shares, 0, atol=1e-9)


def test_light_outside_lowers_the_shares_and_moves_nothing():
    light = np.zeros((1, N_SIPM))
    light[0, [CENTRE, CENTRE + 1, CENTRE + 2, CENTRE + 4]] = 60.0, 20.0, 20.0, 100.0
    found = observe(light)
    np.testing.assert_allclose(np.exp(found.ln_shares), [[0.4, 0.5]])
    step = PLACE[CENTRE + 1] - PLACE[CENTRE]
    np.testing.assert_allclose(found.offset_uv_cm[0], 0.6 * step, atol=1e-9)


def test_negative_charges_weigh_nothing_in_the_mean():
    light = np.zeros((1, N_SIPM))
    light[0, [CENTRE, CENTRE + 2]] = 30.0, -20.0
    np.testing.assert_allclose(observe(light).offset_uv_cm, 0, atol=1e-9)


def test_no_light_is_nan_without_a_warning():
    for value in (0.0, -1.0):
        assert all(np.isnan(array).all() for array in observe(np.full((1, N_SIPM), value)))
