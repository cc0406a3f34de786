import json

import numpy as np
import pytest
import torch

from xec_pipeline.config.tasks import TaskConfig, TasksConfig
from xec_pipeline.errors import DataError
from xec_pipeline.models.target_scaling import TargetScaling

TASKS = TasksConfig(
    energy=TaskConfig(enabled=True, log_transform=True), uvwFI=TaskConfig(enabled=True)
)


@pytest.fixture
def targets():
    rng = np.random.default_rng(5)
    uvw = rng.normal([1, -2, 6], [10, 40, 4], size=(500, 3))
    uvw[7, 1] = np.nan
    return {"energy": rng.uniform(15, 60, size=(500, 1)), "uvwFI": uvw}


def test_standardized_targets_have_mean_0_and_width_1(targets):
    scaling = TargetScaling.from_targets(targets, TASKS)
    for task, values in targets.items():
        y = scaling.standardize(task, torch.tensor(values)).numpy()
        assert y.dtype == np.float32
        assert np.nanmean(y, axis=0) == pytest.approx(0.0, abs=0.01)
        assert np.nanstd(y, axis=0) == pytest.approx(1.0, abs=0.01)


def test_restore_undoes_standardize(targets):
    scaling = TargetScaling.from_targets(targets, TASKS)
    for task, values in targets.items():
        restored = scaling.restore(task, scaling.standardize(task, torch.tensor(values)))
        assert set(restored) == {"value"}
        np.testing.assert_allclose(restored["value"].numpy(), values, rtol=1e-5, atol=1e-4)


def test_log_variances_become_widths(targets):
    scaling = TargetScaling.from_targets(targets, TASKS)
    uvw = scaling.restore("uvwFI", torch.tensor([[0.0, 0, 0, 0, 2 * np.log(2), 0]]))
    assert uvw["sigma"][0].numpy() == pytest.approx(np.array(scaling.widths("uvwFI")) * [1, 2, 1])
    energy = scaling.restore("energy", torch.tensor([[0.0, 0.0]]))
    assert energy["sigma"].item() == pytest.approx(scaling.widths("energy")[0], rel=1e-6)
    assert energy["sigma"].item() == pytest.approx(
        energy["value"].item() * scaling.statistics()["energy"]["scale"][0], rel=1e-6
    )


def test_statistics_are_plain_numbers_and_rebuild_it(targets):
    scaling = TargetScaling.from_targets(targets, TASKS)
    again = TargetScaling(json.loads(json.dumps(scaling.statistics())))
    y = torch.randn(4, 3)
    assert torch.equal(again.restore("uvwFI", y)["value"], scaling.restore("uvwFI", y)["value"])
    assert again.tasks == ("energy", "uvwFI")


def test_one_energy_keeps_its_unit():
    scaling = TargetScaling.from_targets({"uvwFI": np.full((9, 3), 52.83)}, TASKS)
    assert scaling.widths("uvwFI") == (1.0, 1.0, 1.0)


def test_useless_targets_are_refused():
    with pytest.raises(DataError, match="'uvwFI': none of 3"):
        TargetScaling.from_targets({"uvwFI": np.full((3, 3), np.nan)}, TASKS)
    with pytest.raises(DataError, match="positive values, got -1"):
        TargetScaling.from_targets({"energy": np.array([[1.0], [-1.0]])}, TASKS)
