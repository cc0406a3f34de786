"""Targets in internal units."""

import numpy as np
import pytest

from xec_pipeline.config.data import DataConfig
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.config.tasks import TASK_NAMES, TaskConfig, TasksConfig, TimingTaskConfig
from xec_pipeline.data.targets import (
    TARGETS,
    target_values,
    time_offset_ns,
    timing_training_target,
)
from xec_pipeline.errors import ConfigError


def f32(values):
    return np.array(values, dtype=np.float32)


def run_with(unit="ns", reference="emission", origin="first_sensor"):
    tasks = TasksConfig(
        energy=TaskConfig(enabled=True),
        timing=TimingTaskConfig(enabled=True, reference=reference, origin=origin),
    )
    return RegressorRun(data=DataConfig(truth_time_unit=unit), tasks=tasks)


def test_names_and_columns_of_the_contract():
    assert tuple(TARGETS) == TASK_NAMES
    header = {task: target.csv_true + target.csv_pred for task, target in TARGETS.items()}
    assert header == {
        "angle": ("true_theta", "true_phi", "pred_theta", "pred_phi"),
        "energy": ("true_energy", "pred_energy"),
        "timing": ("true_timing", "pred_timing"),
        "uvwFI": ("true_u", "true_v", "true_w", "pred_u", "pred_v", "pred_w"),
    }
    assert [target.csv_unit for target in TARGETS.values()] == ["deg", "GeV", "s", "cm"]
    scales = [target.csv_scale for target in TARGETS.values()]
    assert scales == pytest.approx([1, 1e-3, 1e-9, 1], abs=0)
    assert [target.n_components for target in TARGETS.values()] == [2, 1, 1, 3]


def test_energy_is_in_mev_and_nan_without_truth():
    columns = {"energyTruth": f32([0.05283, 1e10, np.nan])}
    values = target_values("energy", columns, run_with())
    np.testing.assert_allclose(values[:, 0], [52.83, np.nan, np.nan], rtol=1e-6)
    assert values.dtype == np.float64


def test_position_far_outside_is_a_failed_reconstruction():
    columns = {"uvwTruth": f32([[1, 2, 3], [-1000, -1000, -1000], [1, 1e10, 2]])}
    values = target_values("uvwFI", columns, run_with())
    np.testing.assert_array_equal(values, [[1, 2, 3], [np.nan] * 3, [np.nan] * 3])


def test_angles_are_degrees():
    columns = {"emiAng": f32([[81.6305, -22.047], [1e10, 1e10]])}
    values = target_values("angle", columns, run_with())
    np.testing.assert_allclose(values, [[81.6305, -22.047], [np.nan, np.nan]], rtol=1e-6)


@pytest.mark.parametrize(("unit", "stored"), [("ns", 12.5), ("s", 12.5e-9)])
def test_time_unit_is_what_the_configuration_says(unit, stored):
    columns = {"timeTruth": f32([stored])}
    assert target_values("timing", columns, run_with(unit)).item() == pytest.approx(12.5)


def test_interaction_is_later_by_the_flight_of_the_photon():
    columns = {
        "timeTruth": f32([-3.0]),
        "xyzTruth": f32([[-60.0, 0.0, 0.0]]),
        "xyzVTX": f32([[0.0, 0.0, 0.0]]),
    }
    values = target_values("timing", columns, run_with(reference="interaction"))
    assert values.item() == pytest.approx(-3.0 + 60 / 29.9792458, rel=1e-7)
    columns["xyzVTX"][:] = 1e10
    assert np.isnan(target_values("timing", columns, run_with(reference="interaction"))).all()


def test_training_target_is_relative_to_the_first_sensor():
    columns = {"timeTruth": f32([12.5, 3.0]), "time_min_used": f32([10e-9, 1e10])}
    absolute = target_values("timing", columns, run_with())
    relative = timing_training_target(absolute, columns, run_with())
    assert relative.shape == (2, 1)
    assert relative[0, 0] == pytest.approx(2.5)
    assert np.isnan(relative[1, 0])
    offset = time_offset_ns(columns, run_with())
    np.testing.assert_allclose(relative[:1, 0] + offset[:1], absolute[:1, 0])


def test_a_network_of_the_earlier_system_tells_the_time_itself():
    columns = {"timeTruth": f32([12.5]), "time_min_used": f32([10e-9])}
    run = run_with(reference="emission", origin="none")
    assert time_offset_ns(columns, run) == 0
    absolute = target_values("timing", columns, run)
    assert timing_training_target(absolute, columns, run) == 12.5


def test_arrays_of_the_file_are_not_changed():
    columns = {"energyTruth": f32([0.05, 1e10])}
    target_values("energy", columns, run_with())
    assert columns["energyTruth"].tolist()[1] == 1e10


def test_unknown_task_names_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown task 'uvw' \(did you mean 'uvwFI'\?\)"):
        target_values("uvw", {}, run_with())
