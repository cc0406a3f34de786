import numpy as np
import pytest
import torch

from xec_pipeline.config.simulation import LightConfig, simulation_config
from xec_pipeline.detector.coordinates import uvw_to_xyz
from xec_pipeline.detector.geometry import geometry_by_name
from xec_pipeline.detector.sensors import N_SENSORS, N_SIPM
from xec_pipeline.detector.solid_angle import far_field_fraction, solid_angle_fraction
from xec_pipeline.simulation.events import Simulator
from xec_pipeline.simulation.light import LightModel, one_thread
from xec_pipeline.simulation.shower import draw_latents, light_points
from xec_pipeline.simulation.truth import draw_photons, uniform_spectrum

PMT_AREA, PMT_MOMENT = np.pi * 2.25**2, 2.25**2 / 4
LIGHT_CM_PER_NS = 29.9792458


def _model(name="ideal", efficiency=None):
    ones = np.ones(N_SENSORS, dtype=np.float32)
    return LightModel(
        LightConfig(), geometry_by_name(name), ones if efficiency is None else efficiency
    )


def _points(n, seed=2, max_w=25.0):
    rng = np.random.default_rng(seed)
    return uvw_to_xyz(rng.uniform([-24, -66, 0.1], [24, 66, max_w], size=(n, 3)))


def _reference_fraction(points, geometry):
    """Float64: exact SiPMs, and the far-field formula that the model states for PMTs."""
    fraction = solid_angle_fraction(points, geometry)
    offset = geometry.position_cm[N_SIPM:] - points[:, None]
    height = -(offset * geometry.normal[N_SIPM:]).sum(-1)
    fraction[:, N_SIPM:] = far_field_fraction(
        (offset**2).sum(-1),
        np.maximum(height, 0),
        area_cm2=PMT_AREA,
        second_moment_cm2=PMT_MOMENT,
    )
    return fraction


@pytest.mark.parametrize("name", ["ideal", "aligned"])
def test_solid_angle_of_sipms_is_exact_to_the_counting_noise(name):
    points = _points(24)
    exact = solid_angle_fraction(points, geometry_by_name(name))[:, :N_SIPM]
    fast = _model(name).solid_angle_fraction(points)[:, :N_SIPM].astype(np.float64)
    assert np.abs(fast.sum(1) / exact.sum(1) - 1).max() < 1e-5
    mean = 0.12 * 40000 * 52.83 * exact
    deviation = (fast - exact) / np.maximum(exact, 1e-12) * np.sqrt(mean)
    assert np.abs(deviation).max() < 0.01
    assert np.sqrt((deviation**2).mean()) < 1e-4


def test_solid_angle_close_to_the_surface():
    uvw = np.array([[0.3, 0.2, 0.1], [5.0, -20.0, 0.3], [-25.9, 69.9, 0.2]])
    points = uvw_to_xyz(uvw)
    exact = solid_angle_fraction(points, geometry_by_name("ideal"))[:, :N_SIPM]
    fast = _model().solid_angle_fraction(points)[:, :N_SIPM]
    np.testing.assert_allclose(fast.max(1), exact.max(1), rtol=2e-4)
    np.testing.assert_allclose(fast.sum(1), exact.sum(1), rtol=3e-4)


def test_solid_angle_of_pmts():
    points = _points(24)
    geometry = geometry_by_name("ideal")
    fast = _model().solid_angle_fraction(points)[:, N_SIPM:]
    np.testing.assert_allclose(
        fast, _reference_fraction(points, geometry)[:, N_SIPM:], rtol=5e-4, atol=1e-9
    )
    exact = solid_angle_fraction(points, geometry)[:, N_SIPM:]
    distance = np.linalg.norm(geometry.position_cm[N_SIPM:] - points[:, None], axis=-1)
    ratio = fast[distance > 15] / np.maximum(exact[distance > 15], 1e-12)
    assert np.abs(ratio[exact[distance > 15] > 1e-5] - 1).max() < 1e-3


def test_sensors_that_look_away_get_no_direct_light():
    point = uvw_to_xyz([[0.0, 0.0, 3.0]])
    fraction = _model().solid_angle_fraction(point)[0]
    assert fraction[:44].max() == 0
    assert fraction[46 * 44 + 22] > 0.01


@pytest.mark.parametrize("name", ["ideal", "aligned"])
def test_mean_light_against_float64(name):
    config = simulation_config("meg2", {"geometry": name})
    simulator = Simulator(config)
    rng = np.random.default_rng(8)
    photons = draw_photons(config.beam, rng, 16, uniform_spectrum(15, 60))
    points = light_points(config.shower, photons, draw_latents(rng, 16))
    efficiency = simulator.instrument.efficiency
    fast = _model(name, efficiency).mean_light(points)
    mean, delay = _reference_light(points, simulator.instrument.geometry)
    mean *= efficiency
    deviation = (fast.photoelectrons - mean) / np.sqrt(mean)
    assert np.sqrt((deviation**2).mean()) < 1e-4
    assert np.abs(deviation).max() < 5e-3
    assert np.abs(fast.photoelectrons.sum(1) / mean.sum(1) - 1).max() < 1e-5
    # Where there is enough light to measure a time, to 0.05 ps; the noise floor is 350 ps.
    assert np.abs(fast.delay_ns - delay)[mean > 20].max() < 5e-5


def _reference_light(points, geometry):
    light = LightConfig()
    area = np.full(N_SENSORS, PMT_AREA)
    area[:N_SIPM] = 4 * 0.59**2
    total, delay = 0.0, 0.0
    for k in range(3):
        x, f, s = points.position_cm[:, k], points.fraction[:, k], points.path_cm[:, k]
        share = f[:, None] * _reference_fraction(x, geometry)
        distance = np.linalg.norm(geometry.position_cm - x[:, None], axis=-1)
        total = total + share
        delay = delay + share * (1.61 * distance + s[:, None]) / LIGHT_CM_PER_NS
    center = (points.fraction[..., None] * points.position_cm).sum(1)
    mean_path = (points.fraction * points.path_cm).sum(1)
    distance = np.linalg.norm(geometry.position_cm - center[:, None], axis=-1)
    diffuse = light.diffuse * area / (4 * np.pi * (distance**2 + 30.0**2))
    path = 1.61 * 1.3 * distance + mean_path[:, None]
    total, delay = total + diffuse, delay + diffuse * path / LIGHT_CM_PER_NS
    return points.n_photons[:, None] * total, delay / total


def test_result_does_not_depend_on_the_number_of_threads():
    points, model = _points(64), _model()
    before = torch.get_num_threads()
    with one_thread():
        first = model.solid_angle_fraction(points)
    assert torch.get_num_threads() == before
    np.testing.assert_array_equal(first, model.solid_angle_fraction(points))
