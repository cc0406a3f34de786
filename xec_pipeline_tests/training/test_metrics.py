import numpy as np
import pytest
from scipy import stats

from xec_pipeline.training.metrics import shape_metrics, task_metrics


def table(task_columns, true, pred):
    made = {f"true_{name}": np.asarray(true)[:, i] for i, name in enumerate(task_columns)}
    return made | {f"pred_{name}": np.asarray(pred)[:, i] for i, name in enumerate(task_columns)}


def test_bias_rms_and_skew_are_the_population_moments():
    residual = np.random.default_rng(0).gamma(2.0, size=500)
    found = shape_metrics("theta", residual)
    assert found["theta_bias"] == pytest.approx(residual.mean())
    assert found["theta_rms"] == pytest.approx(residual.std())
    assert found["theta_skew"] == pytest.approx(stats.skew(residual))


def test_phi_is_wrapped_and_the_opening_angle_is_three_dimensional():
    found = task_metrics("angle", table(("theta", "phi"), [[90, 179.0]], [[90, -179.0]]))
    assert found["phi_bias"] == pytest.approx(2)
    assert found["val_resolution_deg"] == pytest.approx(2)


def test_resolutions_are_68th_percentiles():
    residual = np.linspace(0, 1, 101)[:, None]
    found = task_metrics("energy", table(("energy",), np.zeros((101, 1)), residual))
    assert found["energy_res_68pct"] == pytest.approx(0.68)
    assert found["energy_bias"] == pytest.approx(0.5)


def test_position_counts_each_coordinate_and_the_distance():
    found = task_metrics("uvwFI", table("uvw", [[0, 0, 0.0]], [[3, 4, 0.0]]))
    assert found["uvw_dist_68pct"] == pytest.approx(5)
    assert found["uvw_v_bias"] == pytest.approx(4)


def test_calibration_of_a_predicted_width():
    rng = np.random.default_rng(1)
    made = table(("energy",), np.zeros((4000, 1)), rng.normal(scale=2, size=(4000, 1)))
    found = task_metrics("energy", made | {"pred_sigma_energy": np.full(4000, 2.0)})
    assert found["energy_calibration_ratio"] == pytest.approx(1, abs=0.05)


def test_events_without_truth_do_not_count_and_bad_predictions_are_counted():
    made = table(("timing",), [[1.0], [np.nan], [2.0]], [[1.5], [0.0], [np.inf]])
    found = task_metrics("timing", made)
    assert found["val/n_bad_timing"] == 1
    assert found["timing_bias"] == pytest.approx(0.5)


def test_one_event_has_no_skewness_and_no_event_has_no_metric():
    one = task_metrics("angle", table(("theta", "phi"), [[90, 0.0]], [[91, 0.0]]))
    assert "theta_skew" not in one
    assert one["theta_rms"] == 0
    none = task_metrics("angle", table(("theta", "phi"), [[np.nan, 0.0]], [[91, 0.0]]))
    assert none == {"val/n_bad_angle": 0}
