import numpy as np
import pytest
from scipy import stats

from xec_pipeline.config.simulation import BeamConfig
from xec_pipeline.detector.coordinates import xyz_to_uvw
from xec_pipeline.simulation.truth import (
    attenuation_per_cm,
    draw_photons,
    inverse_spectrum,
    uniform_spectrum,
)

INNER_RADIUS_CM = 64.97


@pytest.fixture(scope="module")
def photons():
    rng = np.random.default_rng(5)
    return draw_photons(BeamConfig(), rng, 20_000, uniform_spectrum(52.83, 52.83))


def test_attenuation_lengths():
    lengths = 1 / attenuation_per_cm(np.array([15.0, 30.0, 52.83, 60.0]))
    np.testing.assert_allclose(lengths, [7.9, 6.3, 5.39, 5.22], atol=0.06)


def test_depth_along_the_ray_is_exponential(photons):
    start, along = photons.vertex_cm, photons.direction
    path = np.linalg.norm(photons.conversion_cm - start, axis=1)
    entry = np.array([_entry(p, e) for p, e in zip(start[:3000], along[:3000], strict=True)])
    depth = (path[:3000] - entry) * attenuation_per_cm(photons.energy_mev[:3000])
    assert depth.min() >= 0
    assert stats.kstest(depth, "expon").pvalue > 1e-3


def _entry(start, along):
    """Distance to the inner face by bisection, not by the quadratic formula."""
    low, high = 0.0, 200.0
    for _ in range(60):
        middle = (low + high) / 2
        inside = np.hypot(*(start + middle * along)[:2]) < INNER_RADIUS_CM
        low, high = (middle, high) if inside else (low, middle)
    return low


def test_depth_distribution(photons):
    w = xyz_to_uvw(photons.conversion_cm)[:, 2]
    assert w.mean() == pytest.approx(5.0, abs=0.15)
    assert np.median(w) == pytest.approx(3.45, abs=0.12)


def test_acceptance(photons):
    u, v, w = xyz_to_uvw(photons.conversion_cm).T
    assert np.abs(u).max() < 26
    assert np.abs(v).max() < 70
    assert w.min() >= 0
    assert w.max() < 38.5
    # Edges are reached: the window of directions does not cut into the acceptance.
    assert np.abs(u).max() > 25.8
    assert np.abs(v).max() > 69.8


def test_vertices_lie_on_the_slanted_target(photons):
    x, y, z = photons.vertex_cm.T
    along = z / np.cos(np.deg2rad(15))
    np.testing.assert_allclose(x, along * np.sin(np.deg2rad(15)), atol=1e-12)
    assert np.abs(along).max() <= 13.5
    assert np.abs(y).max() <= 3.3
    assert along.std() == pytest.approx(4.25, abs=0.1)
    assert y.std() == pytest.approx(1.18, abs=0.03)


def test_direction_points_from_vertex_to_conversion(photons):
    flight = photons.conversion_cm - photons.vertex_cm
    length = np.linalg.norm(flight, axis=1)
    np.testing.assert_allclose(flight / length[:, None], photons.direction, atol=1e-12)
    np.testing.assert_allclose(photons.conversion_ns, photons.emission_ns + length / 29.9792458)


def test_emission_time_is_uniform(photons):
    assert stats.kstest((photons.emission_ns + 12.5) / 25, "uniform").pvalue > 1e-3


def test_spectra():
    rng = np.random.default_rng(6)
    flat = uniform_spectrum(15, 60)(rng, 5000)
    assert stats.kstest((flat - 15) / 45, "uniform").pvalue > 1e-3
    falling = inverse_spectrum(5, 50)(rng, 5000)
    assert stats.kstest(np.log(falling / 5) / np.log(10), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("n", [0, 1, 7])
def test_number_of_photons(n):
    photons = draw_photons(BeamConfig(), np.random.default_rng(1), n, uniform_spectrum(15, 60))
    assert len(photons) == n
    assert photons.vertex_cm.shape == (n, 3)
