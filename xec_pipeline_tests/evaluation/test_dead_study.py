import numpy as np
import pytest
import torch

from xec_pipeline.data.dataset import Batch
from xec_pipeline.detector.geometry import ideal_geometry
from xec_pipeline.detector.neighbours import nearest_neighbours
from xec_pipeline.detector.sensors import N_SENSORS
from xec_pipeline.evaluation.dead_study import (
    AVERAGE,
    COMPLETE,
    RAW,
    NeighbourTimes,
    WithDeadSensors,
    filled_by,
    predictors,
)

DEAD = np.isin(np.arange(N_SENSORS), [5, 2046, 4195, 4600])


@pytest.fixture(scope="module")
def times():
    return NeighbourTimes(ideal_geometry())


@pytest.fixture
def batch():
    draw = torch.Generator().manual_seed(3)
    return Batch(
        npho_BS=1000 * torch.rand((3, N_SENSORS), generator=draw),
        time_ns_BS=5 + torch.rand((3, N_SENSORS), generator=draw),
        index_B=torch.arange(3),
        n_total=3,
    )


class Sees:
    """A regressor that tells what it was shown."""

    tasks = ("energy",)

    def __call__(self, batch):
        return {"npho": batch.npho_BS.numpy(), "time_ns": batch.time_ns_BS.numpy()}


class Sevens:
    """A baseline that demands not to see masked sensors, and answers 7."""

    def predict(self, npho, is_masked):
        assert np.isnan(npho[is_masked]).all()
        return np.where(is_masked, np.float32(7.0), np.float32("nan"))


def test_time_of_a_filled_sensor_is_the_mean_of_its_neighbours_that_have_one(times):
    time_ns = torch.full((1, N_SENSORS), float("nan"))
    near, _ = nearest_neighbours(ideal_geometry(), 8, same_face=True)
    time_ns[0, near[2046, :3]] = torch.tensor([1.0, 2.0, 6.0])
    assert times(time_ns)[0, 2046].item() == pytest.approx(3.0)
    time_ns[0, near[2046, 0]] = float("nan")  # two of eight are less than a third
    assert torch.isnan(times(time_ns)[0, 2046])


def test_strategies_differ_at_dead_sensors_only(batch, times):
    made = predictors(Sees(), DEAD, {AVERAGE: filled_by(Sevens())}, times)
    complete, raw, filled = (made[name](batch) for name in (COMPLETE, RAW, AVERAGE))
    for seen in (raw, filled):
        np.testing.assert_array_equal(seen["npho"][:, ~DEAD], complete["npho"][:, ~DEAD])
        np.testing.assert_array_equal(seen["time_ns"][:, ~DEAD], complete["time_ns"][:, ~DEAD])
    assert np.isnan(raw["npho"][:, DEAD]).all()
    assert np.isnan(raw["time_ns"][:, DEAD]).all()
    np.testing.assert_array_equal(filled["npho"][:, DEAD], 7.0)
    assert np.isfinite(filled["time_ns"][:, DEAD]).all()


def test_filled_times_do_not_use_dead_sensors(batch, times):
    altered = WithDeadSensors(Sees(), DEAD, filled_by(Sevens()), times).altered(batch)
    batch.time_ns_BS[:, torch.as_tensor(DEAD)] = -1e6
    again = WithDeadSensors(Sees(), DEAD, filled_by(Sevens()), times).altered(batch)
    torch.testing.assert_close(altered.time_ns_BS, again.time_ns_BS, rtol=0, atol=0)


def test_a_sensor_that_cannot_be_filled_stays_dead(batch, times):
    class Nothing:
        def predict(self, npho, _):
            return np.full(npho.shape, np.nan, dtype=np.float32)

    altered = WithDeadSensors(Sees(), DEAD, filled_by(Nothing()), times).altered(batch)
    assert torch.isnan(altered.npho_BS[:, torch.as_tensor(DEAD)]).all()
