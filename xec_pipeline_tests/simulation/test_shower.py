import numpy as np
import pytest

from xec_pipeline.config.simulation import BeamConfig, ShowerConfig, simulation_config
from xec_pipeline.simulation.shower import LATENTS, draw_latents, light_points
from xec_pipeline.simulation.truth import draw_photons, uniform_spectrum


@pytest.fixture(scope="module")
def photons():
    rng = np.random.default_rng(3)
    return draw_photons(BeamConfig(), rng, 4000, uniform_spectrum(52.83, 52.83))


def test_zero_latents_give_the_nominal_shower(photons):
    points = light_points(ShowerConfig(), photons, np.zeros((len(photons), len(LATENTS))))
    np.testing.assert_allclose(points.n_photons, 40000 * 52.83)
    np.testing.assert_allclose(points.fraction, np.tile([0.30, 0.42, 0.28], (4000, 1)))
    length = 2.0 * np.exp(-0.125)
    np.testing.assert_allclose(points.path_cm, np.tile([0.2, 1.0, 2.3], (4000, 1)) * length)
    offset = points.position_cm - photons.conversion_cm[:, None]
    expected = points.path_cm[..., None] * photons.direction[:, None]
    np.testing.assert_allclose(offset, expected, atol=1e-12)


def test_spreads(photons):
    latents = draw_latents(np.random.default_rng(4), len(photons))
    points = light_points(ShowerConfig(), photons, latents)
    relative = points.n_photons / (40000 * 52.83)
    assert relative.std() == pytest.approx(0.016, rel=0.05)
    assert points.path_cm[:, 1].mean() == pytest.approx(2.0, rel=0.03)
    np.testing.assert_allclose(points.fraction.sum(axis=1), 1)
    offset = points.position_cm - photons.conversion_cm[:, None]
    side = offset - points.path_cm[..., None] * photons.direction[:, None]
    np.testing.assert_allclose((side * photons.direction[:, None]).sum(-1), 0, atol=1e-10)
    # First step: 0.28 * 0.2 * L in each of two directions.
    step = np.linalg.norm(side[:, 0], axis=1) / (0.28 * points.path_cm[:, 0])
    assert (step**2).mean() == pytest.approx(2.0, rel=0.06)


def test_point_preset_is_one_point(photons):
    shower = simulation_config("point").shower
    latents = draw_latents(np.random.default_rng(4), len(photons))
    points = light_points(shower, photons, latents)
    np.testing.assert_array_equal(points.n_photons, 40000 * photons.energy_mev)
    for k in range(3):
        np.testing.assert_array_equal(points.position_cm[:, k], photons.conversion_cm)
