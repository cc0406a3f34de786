import dataclasses

import numpy as np
import pytest

from xec_pipeline.config.simulation import PileupConfig, simulation_config
from xec_pipeline.simulation.instrument import build_instrument
from xec_pipeline.simulation.response import Pulses, draw_charge, draw_time, overlay

SIPM, PMT = slice(0, 4092), slice(4092, 4760)


@pytest.fixture(scope="module")
def instrument():
    return build_instrument(simulation_config())


@pytest.mark.parametrize("mean", [0.1, 1.0, 3.0, 10.0, 15.99, 16.0, 30.0, 100.0, 1000.0])
def test_charge_moments(instrument, mean):
    rng = np.random.default_rng(4)
    charge = draw_charge(np.full((200, 4760), mean, dtype=np.float32), instrument, rng)
    for sensors, gain, pedestal in ((SIPM, 0.45, 1.0), (PMT, 0.60, 0.5)):
        q = charge[:, sensors].astype(np.float64)
        variance = mean * (1 + gain**2) + pedestal**2
        assert abs(q.mean() - mean) < 4 * np.sqrt(variance / q.size)
        # The fourth moment of a faint Poisson number widens the error of the variance.
        error = np.sqrt(((q - mean) ** 2).var() / q.size)
        assert abs(q.var() - variance) < 4 * error + 2e-4 * variance


def test_skewness_is_continuous_at_the_bright_threshold(instrument):
    rng = np.random.default_rng(5)
    means = (15.99, 16.01)
    third = []
    for mean in means:
        q = draw_charge(np.full((200, 4760), mean, dtype=np.float32), instrument, rng)
        third.append(((q[:, SIPM].astype(np.float64) - mean) ** 3).mean())
    assert third[1] == pytest.approx(third[0], rel=0.25)


def test_charge_pulls_are_independent(instrument):
    rng = np.random.default_rng(6)
    mean = np.tile(rng.uniform(1, 500, 4760).astype(np.float32), (300, 1))
    q = draw_charge(mean, instrument, rng)
    variance = mean * (1 + instrument.gain_variance) + instrument.pedestal_variance
    pull = (q - mean) / np.sqrt(variance)
    correlation = (pull[:, :-1] * pull[:, 1:]).mean()
    assert abs(correlation) < 4 / np.sqrt(pull.size)


def test_time_resolution():
    rng = np.random.default_rng(7)
    response = simulation_config().response
    for charge in (10.0, 100.0, 10_000.0):
        q = np.full((50, 4760), charge, dtype=np.float32)
        pulses = Pulses(photoelectrons=q, time_ns=np.full_like(q, 3.0))
        time = draw_time(pulses, q, response, rng).astype(np.float64)
        sigma = np.sqrt(7.0**2 / charge + 0.35**2)
        assert abs(time.mean() - 3.0) < 4 * sigma / np.sqrt(time.size)
        assert time.std() == pytest.approx(sigma, rel=0.01)


def test_no_time_below_the_threshold():
    q = np.array([[3.99, 4.0, -1.0, 0.0]], dtype=np.float32)
    pulses = Pulses(photoelectrons=q, time_ns=np.zeros_like(q))
    time = draw_time(pulses, q, simulation_config().response, np.random.default_rng(1))
    np.testing.assert_array_equal(time > 9e9, [[True, False, True, True]])
    assert time[0, 0] == np.float32(1e10)


def test_overlay():
    def pulses(light, time):
        return Pulses(
            photoelectrons=np.array([light], dtype=np.float32),
            time_ns=np.array([time], dtype=np.float32),
        )

    first = pulses([10, 10, 30, 10], [0, 0, 0, 15])
    second = pulses([30, 30, 10, 30], [50, 15, 50, 0])
    both = overlay(PileupConfig(probability=1), first, second)
    np.testing.assert_array_equal(both.photoelectrons, [[40, 40, 40, 40]])
    np.testing.assert_array_equal(both.time_ns, [[50, 0, 0, 0]])
    assert both.timed_share is not None
    assert both.timed_share.tolist() == [[0.75, 1.0, 0.75, 1.0]]


def test_efficiency_belongs_to_the_detector():
    first = build_instrument(simulation_config("meg2", {"seed": 1, "dead_fraction": 0.1}))
    second = build_instrument(simulation_config("sharp", {"seed": 2}))
    np.testing.assert_array_equal(first.efficiency, second.efficiency)
    other = build_instrument(simulation_config("meg2", {"detector_seed": 3}))
    assert (other.efficiency != first.efficiency).any()
    assert first.efficiency[SIPM].mean() == pytest.approx(0.12, rel=0.01)
    assert first.efficiency[PMT].mean() == pytest.approx(0.16, rel=0.02)
    assert first.efficiency[SIPM].std() == pytest.approx(0.012, rel=0.1)


def test_dead_sensors(tmp_path):
    listed = tmp_path / "dead.txt"
    listed.write_text("# known\n7\n4759\n")
    options = {"dead_fraction": 0.01, "dead_boards": 3, "dead_file": listed}
    masks = [
        build_instrument(simulation_config("meg2", options | {"seed": seed})).is_dead
        for seed in (1, 2)
    ]
    np.testing.assert_array_equal(masks[0], masks[1])
    assert masks[0][[7, 4759]].all()
    boards = masks[0][SIPM].reshape(-1, 22).all(axis=1).sum()
    assert boards == 3
    assert 48 + 40 < masks[0].sum() <= 48 + 66 + 2


def test_instrument_is_frozen(instrument):
    with pytest.raises(dataclasses.FrozenInstanceError):
        instrument.efficiency = None
