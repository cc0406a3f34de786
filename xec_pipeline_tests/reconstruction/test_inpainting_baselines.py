"""Estimates of dead sensors: published numbers, brute force, what they must not look at."""

import numpy as np
import pytest

from xec_pipeline.detector.coordinates import uvw_to_xyz
from xec_pipeline.detector.faces import face_of_sensor
from xec_pipeline.detector.geometry import aligned_geometry, ideal_geometry
from xec_pipeline.detector.sensors import N_SENSORS, N_SIPM
from xec_pipeline.detector.solid_angle import solid_angle_fraction
from xec_pipeline.errors import ConfigError
from xec_pipeline.reconstruction.inpainting.baselines import BASELINES, build_baselines
from xec_pipeline.reconstruction.inpainting.inverse_distance import InverseDistance
from xec_pipeline.reconstruction.inpainting.neighbour_average import (
    NeighbourAverage,
    SolidAngleWeighted,
)
from xec_pipeline.reconstruction.inpainting.neighbour_sums import NeighbourSums

MASKED = [0, 2046, 4195, 4600, 4742]
OLD_PMT_RADIUS_CM = 3.81
VERTEX_CM = uvw_to_xyz([[0.0, 0.0, 1.0]])
AVERAGES = [399.24, 1987.67, 513.05, 1787.95]
"""Of sensors 2046, 4195, 4600 and 4742, for 1e6 photons from (0, 0, 1)."""


def mask_of(sensors, n_events=1):
    is_masked = np.zeros((n_events, N_SENSORS), dtype=bool)
    is_masked[:, sensors] = True
    return is_masked


def published_light(geometry):
    return 1e6 * solid_angle_fraction(VERTEX_CM, geometry, pmt_radius_cm=OLD_PMT_RADIUS_CM)


@pytest.fixture(scope="module")
def baselines():
    return build_baselines(BASELINES, ideal_geometry())


@pytest.fixture(scope="module")
def masked_toy(toy_events):
    """Return photons, true means and masks of 5 % of the sensors of 200 events."""
    npho, mean = toy_events["npho"][:200], toy_events["npho_mean"][:200]
    return npho, mean, np.random.default_rng(6).random(npho.shape) < 0.05


@pytest.mark.golden
def test_published_neighbour_counts():
    counts = NeighbourSums(aligned_geometry()).counts
    assert counts[MASKED].tolist() == [150, 548, 25, 17, 22]
    assert (counts[:N_SIPM].min(), counts[:N_SIPM].max()) == (150, 550)
    assert np.median(counts[:N_SIPM]) == 481


@pytest.mark.golden
def test_published_averages():
    geometry = aligned_geometry()
    predicted = NeighbourAverage(geometry).predict(published_light(geometry), mask_of(MASKED))
    np.testing.assert_allclose(predicted[0, MASKED[1:]], AVERAGES, rtol=1e-3)


@pytest.mark.golden
def test_published_averages_with_the_surveyed_table(surveyed):
    predicted = NeighbourAverage(surveyed).predict(published_light(surveyed), mask_of(MASKED))
    np.testing.assert_allclose(predicted[0, MASKED[1:]], AVERAGES, rtol=2e-5)


@pytest.mark.golden
@pytest.mark.parametrize("geometry", [ideal_geometry(), aligned_geometry()], ids=lambda g: g.name)
def test_solid_angles_are_exact_for_light_of_one_point(geometry):
    light = published_light(geometry)
    method = SolidAngleWeighted(geometry, pmt_radius_cm=OLD_PMT_RADIUS_CM)
    predicted = method.predict(light, mask_of(MASKED), VERTEX_CM)
    np.testing.assert_allclose(predicted[0, MASKED], light[0, MASKED], rtol=1e-5)
    assert predicted[0, 0] == 0


def test_average_against_brute_force():
    rng = np.random.default_rng(1)
    npho = rng.normal(20, 15, (3, N_SENSORS)).astype(np.float32)
    npho[rng.random(npho.shape) < 0.1] = np.nan
    npho[rng.random(npho.shape) < 0.1] = 1e10
    is_masked = rng.random(npho.shape) < 0.02
    geometry = ideal_geometry()
    predicted = NeighbourAverage(geometry).predict(npho, is_masked)
    usable = (np.abs(npho) < 9e9) & ~is_masked
    face = face_of_sensor()
    for event, sensor in list(zip(*np.nonzero(is_masked), strict=True))[::7]:
        offset = geometry.position_cm - geometry.position_cm[sensor]
        near = (np.linalg.norm(offset, axis=1) < 20) & (face == face[sensor]) & usable[event]
        assert predicted[event, sensor] == pytest.approx(npho[event, near].mean(), rel=1e-5)


def test_neighbours_that_are_invalid_do_not_count():
    npho = np.full((1, N_SENSORS), 70.0)
    npho[0, 2000:2044] = np.nan
    npho[0, 2044:2046] = 1e10
    is_masked = mask_of([2046, 2047, 2048])
    npho[is_masked] = 1e6
    for method in (NeighbourAverage(ideal_geometry()), InverseDistance(ideal_geometry())):
        predicted = method.predict(npho, is_masked)
        np.testing.assert_allclose(predicted[is_masked], 70.0)


def test_negative_charges_count_as_they_are():
    """The pedestal is zero on average; without its negative half it would be 40 % of its width."""
    npho = np.random.default_rng(2).normal(0, 8.0, (4, N_SENSORS))
    is_masked = mask_of(np.arange(0, N_SIPM, 50), 4)
    predicted = NeighbourAverage(ideal_geometry()).predict(npho, is_masked)[is_masked]
    assert abs(predicted.mean()) < 0.3
    assert (predicted < 0).any()


def test_dim_neighbourhoods_are_averaged_not_scaled():
    geometry = ideal_geometry()
    is_masked = mask_of([2046, 4195])
    method, average = SolidAngleWeighted(geometry), NeighbourAverage(geometry)
    dim = np.full((1, N_SENSORS), 49.0 / 548)
    expected = average.predict(dim, is_masked)[0, 2046]
    assert method.predict(dim, is_masked, VERTEX_CM)[0, 2046] == pytest.approx(expected)
    bright = np.full((1, N_SENSORS), 51.0 / 547)
    assert method.predict(bright, is_masked, VERTEX_CM)[0, 2046] > 10 * expected


def test_unknown_vertex_falls_back_to_the_average():
    geometry = ideal_geometry()
    npho, is_masked = np.full((2, N_SENSORS), 30.0), mask_of(MASKED, 2)
    vertex = np.array([[np.nan] * 3, [1e10] * 3])
    predicted = SolidAngleWeighted(geometry).predict(npho, is_masked, vertex)
    np.testing.assert_allclose(predicted[is_masked], 30.0)


def test_nearest_against_a_loop():
    rng = np.random.default_rng(4)
    npho = rng.uniform(0, 100, (2, N_SENSORS))
    npho[rng.random(npho.shape) < 0.3] = np.nan
    is_masked = rng.random(npho.shape) < 0.02
    geometry, face = ideal_geometry(), face_of_sensor()
    predicted = InverseDistance(geometry, n_nearest=5, power=1.0).predict(npho, is_masked)
    for event, sensor in list(zip(*np.nonzero(is_masked), strict=True))[::9]:
        usable = np.isfinite(npho[event]) & ~is_masked[event] & (face == face[sensor])
        ids = np.flatnonzero(usable)
        distance = np.linalg.norm(geometry.position_cm[ids] - geometry.position_cm[sensor], axis=1)
        order = np.lexsort((ids, np.round(distance, 6)))[:5]
        weights = 1 / distance[order]
        expected = np.average(npho[event, ids[order]], weights=weights)
        assert predicted[event, sensor] == pytest.approx(expected, rel=1e-5)


def test_number_of_nearest_must_be_possible():
    with pytest.raises(ValueError, match="between 1 and 72, got 0"):
        InverseDistance(ideal_geometry(), n_nearest=0)


def test_only_masked_sensors_are_predicted_and_their_values_not_seen(baselines, masked_toy):
    npho, _, is_masked = (array[:20] for array in masked_toy)
    for method in baselines:
        predicted = method.predict(npho, is_masked)
        assert predicted.dtype == np.float32
        assert np.isnan(predicted[~is_masked]).all()
        for hidden in (np.nan, 1e10, 1e6):
            again = method.predict(np.where(is_masked, np.float32(hidden), npho), is_masked)
            np.testing.assert_array_equal(again, predicted, err_msg=method.name)


def test_who_predicts_which_faces(baselines, masked_toy):
    npho, _, is_masked = masked_toy
    is_inner = np.arange(N_SENSORS) < N_SIPM
    for method in baselines:
        known = np.isfinite(method.predict(npho, is_masked))
        faces = is_masked & is_inner if method.name == "localfit" else is_masked
        assert known[faces].mean() > 0.98, method.name
        assert not known[~faces].any(), method.name


def test_nothing_to_look_at_gives_nan(baselines):
    npho = np.full((2, N_SENSORS), np.nan, dtype=np.float32)
    for method in baselines:
        assert np.isnan(method.predict(npho, mask_of(MASKED, 2))).all(), method.name


def test_errors_against_the_true_mean(baselines, masked_toy):
    """Relative RMS error in 1000 to 10000 photons on the inner face, roughly as measured once."""
    npho, mean, is_masked = masked_toy
    chosen = is_masked & (np.arange(N_SENSORS) < N_SIPM) & (mean >= 1e3) & (mean < 1e4)
    limits = {"avg": (0.5, 0.7), "sa": (0.06, 0.15), "localfit": (0.06, 0.14), "knn": (0.08, 0.18)}
    for method in baselines:
        relative = method.predict(npho, is_masked)[chosen] / mean[chosen] - 1
        low, high = limits[method.name]
        assert low < np.sqrt((relative**2).mean()) < high, method.name


def test_names():
    built = build_baselines(["knn", "avg"], ideal_geometry())
    assert [method.name for method in built] == ["knn", "avg"]
    with pytest.raises(ConfigError, match=r"'localfitt' \(did you mean 'localfit'\?\); known: avg"):
        build_baselines(["localfitt"], ideal_geometry())


def test_wrong_shapes_are_refused():
    method = NeighbourAverage(ideal_geometry())
    with pytest.raises(ValueError, match=r"is_masked must have shape \(2, 4760\), got \(1, 4760\)"):
        method.predict(np.zeros((2, N_SENSORS)), mask_of([0]))
