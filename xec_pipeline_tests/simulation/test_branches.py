import numpy as np
import pytest

from xec_pipeline.config.simulation import simulation_config
from xec_pipeline.simulation.branches import (
    SensorValues,
    round_mantissa,
    round_time,
    sensor_branches,
    sensor_values,
)

FULL = simulation_config("meg2", {"branches": "full", "rounding": False})


def _values(npho, nphe, time_s):
    arrays = (np.array([row], dtype=np.float32) for row in (npho, nphe, time_s))
    return SensorValues(**dict(zip(("npho", "nphe", "time_s"), arrays, strict=True)))


def test_the_rule_of_the_derived_branches():
    npho = [5.0, 1e10, 900.0, 900.0, -3.0, 700.0]
    nphe = [0.6, 1e10, 108.0, 108.0, -0.4, 84.0]
    time = [-4e-9, 1e10, 2e-9, 1e-9, 1e10, 1e-9]
    branches = sensor_branches(FULL, _values(npho, nphe, time))
    assert branches["ch_npho_max"] == [2]
    assert branches["npho_max_used"] == [900]
    assert branches["ch_time_min"] == [3]
    assert branches["time_min_used"] == [np.float32(1e-9)]
    np.testing.assert_allclose(
        branches["relative_time"][0], [-5e-9, 1e10, 1e-9, 0, 1e10, 0], rtol=1e-6, atol=1e-20
    )
    np.testing.assert_allclose(
        branches["relative_npho"][0],
        [5 / 900, 1e10, 1, 1, -3 / 900, 7 / 9],
        rtol=1e-6,
    )


def test_a_sensor_of_exactly_fifty_photoelectrons_sets_no_time():
    branches = sensor_branches(FULL, _values([400, 500], [50.0, 60.0], [1e-9, 2e-9]))
    assert branches["ch_time_min"] == [1]


@pytest.mark.parametrize("npho", [[-1.0, -2.0], [1e10, 1e10]])
def test_nothing_found(npho):
    nphe = [-0.1, -0.2] if npho[0] < 0 else npho
    branches = sensor_branches(FULL, _values(npho, nphe, [1e10, 1e10]))
    assert branches["ch_npho_max"] == [-1]
    assert branches["ch_time_min"] == [-1]
    for name in ("npho_max_used", "time_min_used", "relative_npho", "relative_time"):
        assert (branches[name] == np.float32(1e10)).all()


def test_dead_and_untimed_sensors_hold_the_sentinel():
    charge = np.full((2, 4), 10.0, dtype=np.float32)
    time_ns = np.array([[1.0, 2.0, 1e10, 4.0]] * 2, dtype=np.float32)
    is_dead = np.array([True, False, False, False])
    for rounding in (True, False):
        values = sensor_values(
            simulation_config("meg2", {"rounding": rounding}),
            charge.copy(),
            time_ns.copy(),
            efficiency=np.full(4, 0.12, dtype=np.float32),
            is_dead=is_dead,
        )
        sentinel = np.float32(1e10)
        assert (values.npho[:, 0] == sentinel).all()
        assert (values.nphe[:, 0] == sentinel).all()
        np.testing.assert_array_equal(values.time_s == sentinel, [[True, False, True, False]] * 2)
        np.testing.assert_allclose(values.npho[:, 1:], 10 / 0.12, rtol=1e-3)
        np.testing.assert_allclose(values.time_s[:, 3], 4e-9, rtol=1e-6)


def test_rounding_of_light():
    values = np.random.default_rng(1).normal(0, 1000, 10_000).astype(np.float32)
    rounded = round_mantissa(values, 10)
    assert np.abs(rounded / values - 1).max() <= 2.0**-11 * (1 + 1e-3)
    assert not (rounded.view(np.uint32) & np.uint32((1 << 13) - 1)).any()
    assert abs((rounded / values - 1).mean()) < 1e-5
    np.testing.assert_array_equal(round_mantissa(values, 23), values)


def test_rounding_of_times():
    times = np.random.default_rng(2).uniform(-2e-8, 2e-8, 10_000).astype(np.float32)
    rounded = round_time(times, 10.0)
    assert np.abs(rounded - times).max() < 5.02e-12
    steps = rounded.astype(np.float64) * 1e11
    np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
