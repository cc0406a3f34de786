import numpy as np
import pytest

from xec_pipeline.detector.coordinates import xyz_to_uvw
from xec_pipeline.detector.geometry import ideal_geometry
from xec_pipeline.detector.sensors import N_SENSORS, N_SIPM
from xec_pipeline.reconstruction.charge_weighted import (
    ChargeWeighted,
    Cubic,
    inner_light,
    inner_light_of,
)
from xec_pipeline.reconstruction.trivial import TrainingMean

UVW = xyz_to_uvw(ideal_geometry().position_cm[:N_SIPM])


def spots(n_events, seed=1):
    """Return light that falls with the distance from a point, its position and its energy."""
    rng = np.random.default_rng(seed)
    uvw = rng.uniform([-20, -60, 0.5], [20, 60, 15], size=(n_events, 3))
    energy = rng.uniform(15, 60, n_events)
    square = (UVW[:, 0] - uvw[:, :1]) ** 2 + (UVW[:, 1] - uvw[:, 1:2]) ** 2 + uvw[:, 2:] ** 2
    npho = np.full((n_events, N_SENSORS), 1e6)
    npho[:, :N_SIPM] = energy[:, None] * uvw[:, 2:] / square**1.5
    return npho, uvw, energy


def test_light_of_one_sensor_is_at_its_place():
    npho = np.zeros((2, N_SENSORS))
    npho[0, 2046], npho[1, 100] = 50.0, 7.0
    light = inner_light(npho)
    np.testing.assert_allclose(light.total, [50, 7])
    np.testing.assert_allclose(light.u, UVW[[2046, 100], 0], rtol=1e-5)
    np.testing.assert_allclose(light.v, UVW[[2046, 100], 1], rtol=1e-5)
    np.testing.assert_allclose(light.spread, 0, atol=0.1)


def test_two_equal_sensors_meet_in_the_middle():
    npho = np.zeros((1, N_SENSORS))
    npho[0, [0, 4091]] = 3.0
    light = inner_light(npho)
    np.testing.assert_allclose(light.u, UVW[[0, 4091], 0].mean(), atol=1e-4)
    half = np.linalg.norm(UVW[0, :2] - UVW[4091, :2]) / 2
    np.testing.assert_allclose(light.spread, half, rtol=1e-4)


def test_dead_and_outer_sensors_weigh_nothing():
    npho = np.zeros((1, N_SENSORS))
    npho[0, 2046], npho[0, 0], npho[0, N_SIPM:] = 50.0, np.nan, 1e9
    light = inner_light(npho)
    np.testing.assert_allclose(light.total, 50)
    np.testing.assert_allclose(light.u, UVW[2046, 0], rtol=1e-5)


def test_negative_charges_cancel_positive_ones():
    npho = np.zeros((1, N_SENSORS))
    npho[0, 2046], npho[0, 0], npho[0, 1] = 50.0, 20.0, -20.0
    light = inner_light(npho)
    np.testing.assert_allclose(light.total, 50)
    np.testing.assert_allclose(light.u, UVW[2046, 0] + 0.4 * (UVW[0, 0] - UVW[1, 0]), rtol=1e-4)


def test_pedestal_noise_does_not_pull_the_mean_to_the_middle():
    npho, _, _ = spots(400)
    npho[:, :N_SIPM] *= 10_000 / npho[:, :N_SIPM].sum(axis=1, keepdims=True)
    noisy = npho.copy()
    noisy[:, :N_SIPM] += np.random.default_rng(3).normal(0, 1.0, (400, N_SIPM))
    quiet, light = inner_light(npho), inner_light(noisy)
    # Sums of 4092 normal numbers: each mean below is 0 within five standard errors.
    pedestal = (light.total - quiet.total).mean()
    assert abs(pedestal) < 5 * np.sqrt(N_SIPM / 400)
    for name, width in (("u", UVW[:, 0].std()), ("v", UVW[:, 1].std())):
        true, found = getattr(quiet, name), getattr(light, name)
        slope = np.polyfit(true, found, 1)[0]
        assert abs(slope - 1) < 5 * width * np.sqrt(N_SIPM) / 10_000 / true.std() / np.sqrt(400)


@pytest.mark.parametrize("charge", [np.nan, 0.0, -1.0])
def test_event_without_light_is_nan_without_a_warning(charge):
    light = inner_light(np.full((1, N_SENSORS), charge))
    assert np.isnan([light.total, light.u, light.v, light.spread]).all()


def test_cubic_reproduces_a_cubic_and_passes_nan_on():
    rng = np.random.default_rng(2)
    x, y = rng.normal(3, 2, 200), rng.normal(-1, 0.5, 200)
    truth = 1 + x - 2 * y + 0.3 * x**2 * y - 0.1 * y**3
    x[0], truth[1] = np.nan, np.nan
    cubic = Cubic.fit(x, y, truth)
    np.testing.assert_allclose(cubic(x, y)[2:], truth[2:], atol=1e-9)
    assert np.isnan(cubic(x, y)[0])
    with pytest.raises(ValueError, match="3 events with light and truth"):
        Cubic.fit(x[2:5], y[2:5], truth[2:5])


def test_calibration_recovers_position_depth_and_energy():
    npho, uvw, energy = spots(600)
    fitted = ChargeWeighted.fit(inner_light(npho), uvw, energy)
    npho, uvw, energy = spots(300, seed=2)
    predicted = fitted.predict(inner_light(npho))
    assert predicted["uvwFI"].shape == (300, 3)
    assert predicted["energy"].shape == (300, 1)
    error = np.median(np.abs(predicted["uvwFI"] - uvw), axis=0)
    assert np.all(error < [2.0, 3.0, 1.0])
    assert np.median(np.abs(predicted["energy"][:, 0] / energy - 1)) < 0.1


def test_observables_of_shards_do_not_depend_on_batches(tiny_shards):
    events = np.arange(tiny_shards.n_events)[::-3]
    light = inner_light_of(tiny_shards, events)
    whole = inner_light(tiny_shards.npho(events))
    np.testing.assert_allclose(light.total, whole.total)
    assert inner_light_of(tiny_shards, events[:0]).total.shape == (0,)


def test_training_mean_leaves_out_events_without_truth():
    targets = {"uvwFI": np.array([[1.0, 2, 3], [3, 4, 5], [np.nan, 0, 0]], dtype=np.float32)}
    predicted = TrainingMean.fit(targets).predict(4)
    np.testing.assert_allclose(predicted["uvwFI"], np.tile([2.0, 3, 4], (4, 1)))
    with pytest.raises(ValueError, match="no training event has truth for energy"):
        TrainingMean.fit({"energy": np.full((3, 1), np.nan)})
