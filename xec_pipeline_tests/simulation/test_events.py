import itertools

import numpy as np
import pytest

from xec_pipeline.config.simulation import simulation_config
from xec_pipeline.data.schema import BRANCHES
from xec_pipeline.simulation.events import Simulator, simulate_events

SENTINEL = np.float32(1e10)
REAL_DATA_ONLY = {"dead", "nDead", "Ebgo", "Angle", "gstatus"}
ADDED = {"latent": (11,), "energyPileup": ()}


def _simulate(n=8, seed=1, preset="meg2", **options):
    return simulate_events(simulation_config(preset, options), np.random.SeedSequence(seed), n)


def test_full_branches_are_those_of_the_schema(signal_events):
    _, events = signal_events
    assert set(events) - set(ADDED) == set(BRANCHES) - REAL_DATA_ONLY
    for name, values in events.items():
        shape = ADDED[name] if name in ADDED else BRANCHES[name].shape
        assert values.shape == (512, *shape), name
        assert values.dtype == ("f4" if name in ADDED else BRANCHES[name].numpy_dtype), name
        if values.dtype.kind == "f":
            assert np.isfinite(values).all(), name


def test_minimal_branches():
    events = _simulate()
    assert {"nphe", "time", "relative_npho", "solid_angle", "xyzRecoFI"}.isdisjoint(events)
    assert {"npho", "relative_time", "time_min_used", "energyTruth", "timeTruth"} <= set(events)


def test_truth_is_consistent(signal_events):
    _, events = signal_events
    np.testing.assert_allclose(events["energyTruth"], 0.05283, rtol=1e-6)
    flight = events["xyzTruth"] - events["xyzVTX"]
    length = np.linalg.norm(flight, axis=1, keepdims=True)
    np.testing.assert_allclose(events["emiVec"], flight / length, atol=1e-6)
    theta = np.degrees(np.arccos(events["emiVec"][:, 2]))
    np.testing.assert_allclose(events["emiAng"][:, 0], theta, atol=1e-3)
    w = np.hypot(events["xyzTruth"][:, 0], events["xyzTruth"][:, 1]) - 64.97
    np.testing.assert_allclose(events["uvwTruth"][:, 2], w, atol=1e-4)
    np.testing.assert_array_equal(events["event"], np.arange(512))


def test_reconstruction_is_not_measured(signal_events):
    _, events = signal_events
    for name in ("xyzRecoFI", "xyzRecoLC", "uvwRecoFI", "uvwRecoLC", "energyReco", "timeReco"):
        assert (events[name] == SENTINEL).all(), name
    assert not events["solid_angle"].any()


def test_charge_pulls_in_bins_of_the_mean(signal_events):
    config, events = signal_events
    instrument = Simulator(config).instrument
    mean = events["npho_mean"].astype(np.float64) * instrument.efficiency
    variance = mean * (1 + instrument.gain_variance) + instrument.pedestal_variance
    pull = (events["nphe"] - mean) / np.sqrt(variance)
    edges = [0, 0.3, 1, 3, 10, 16, 50, 200, 1e6]
    for low, high in itertools.pairwise(edges):
        inside = pull[(mean >= low) & (mean < high)]
        assert abs(inside.mean()) < 4.5 / np.sqrt(inside.size), (low, high)
        assert inside.var() == pytest.approx(1, abs=0.02), (low, high)


def test_light_is_that_of_the_reference_detector(signal_events):
    """Medians and shares of light that the model is known to give at 52.83 MeV, to 5 %."""
    _, events = signal_events
    npho, nphe = events["npho"], events["nphe"]
    assert nphe[:, :4092].sum(1).mean() == pytest.approx(56_000, rel=0.05)
    assert np.median(npho[:, :4092]) == pytest.approx(13.3, rel=0.06)
    assert (npho[:, :4092] >= 100).mean() == pytest.approx(0.140, abs=0.006)
    assert (events["time"][:, :4092] < 9e9).mean() == pytest.approx(0.279, abs=0.01)
    assert (npho < 0).mean() == pytest.approx(0.17, abs=0.01)


def test_relative_times_and_their_resolution(signal_events):
    _, events = signal_events
    valid = events["relative_time"] < 9e9
    np.testing.assert_array_equal(valid, events["time"] < 9e9)
    relative = events["relative_time"][valid]
    quantiles = np.quantile(relative, [0.1, 0.5, 0.9]) * 1e9
    np.testing.assert_allclose(quantiles, [1.1, 3.9, 7.9], atol=0.35)
    expected = events["time"] - events["time_min_used"][:, None]
    np.testing.assert_allclose(relative, expected[valid], atol=1e-15)


def test_same_seed_same_events():
    first, second, other = _simulate(70, 5), _simulate(70, 5), _simulate(70, 6)
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])
    assert (first["npho"] != other["npho"]).any()


def test_dead_sensors_are_dead_in_every_event():
    events = _simulate(5, branches="full", dead_fraction=0.1, dead_boards=1)
    is_dead = events["npho"][0] == SENTINEL
    assert 476 <= is_dead.sum() <= 476 + 22
    for name in ("npho", "nphe", "time", "relative_npho", "relative_time"):
        assert (events[name][:, is_dead] == SENTINEL).all(), name
    assert (events["npho"][:, ~is_dead] < 1e9).all()


@pytest.mark.parametrize("pileup", [0.0, 0.5])
def test_true_light_changes_nothing_else(pileup):
    common = {"dead_fraction": 0.05, "pileup": {"probability": pileup}}
    without, events = _simulate(70, 8, **common), _simulate(70, 8, truth_light=True, **common)
    assert set(events) - set(without) == {"npho_mean", "latent"}
    for name, values in without.items():
        np.testing.assert_array_equal(events[name], values, err_msg=name)
        assert events[name].dtype == values.dtype


def test_true_light_of_dead_sensors_is_what_they_would_have_seen():
    alive = _simulate(6, 9, truth_light=True)
    events = _simulate(6, 9, truth_light=True, dead_fraction=0.2)
    assert (events["npho"] == SENTINEL).mean() == pytest.approx(0.2, abs=0.001)
    np.testing.assert_array_equal(events["npho_mean"], alive["npho_mean"])
    assert events["npho_mean"].dtype == np.float32
    assert events["npho_mean"].min() > 0


def test_pileup_adds_light_and_keeps_the_truth():
    common = {"truth_light": True, "energy_mev": (52.83, 52.83)}
    events = _simulate(400, 3, pileup={"probability": 0.5}, **common)
    energy = events["energyPileup"] * 1e3
    hit = energy > 0
    assert hit.mean() == pytest.approx(0.5, abs=0.1)
    assert energy[hit].min() >= 5
    assert energy[hit].max() <= 50
    np.testing.assert_allclose(events["energyTruth"], 0.05283, rtol=1e-6)
    light = events["npho_mean"].sum(1)
    gain = light[hit].mean() / light[~hit].mean() - 1
    assert gain == pytest.approx(energy[hit].mean() / 52.83, rel=0.25)


def test_clock_jitter_moves_all_times_of_an_event():
    common = {"branches": "full", "rounding": False, "truth_light": True}
    jittered = _simulate(20, 4, **common)
    steady = _simulate(20, 4, response={"clock_jitter_ns": 0.0}, **common)
    np.testing.assert_array_equal(jittered["npho"], steady["npho"])
    valid = jittered["time"] < 9e9
    shift_ns = (jittered["time"] - steady["time"]) * np.float32(1e9)
    expected = np.broadcast_to(0.045 * jittered["latent"][:, 1:2], shift_ns.shape)
    np.testing.assert_allclose(shift_ns[valid], expected[valid], atol=2e-5)


def test_blocks_hold_all_events():
    simulator = Simulator(simulation_config())
    blocks = list(simulator.blocks(np.random.SeedSequence(1), 600, run=9, first_event=100))
    numbers = np.concatenate([block["event"] for block in blocks])
    np.testing.assert_array_equal(numbers, np.arange(100, 700))
    assert [len(block["run"]) for block in blocks] == [512, 88]
    assert all((block["run"] == 9).all() for block in blocks)
