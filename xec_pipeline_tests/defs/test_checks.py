from pathlib import Path

import dagster as dg
import pytest

from xec_pipeline.defs import keys
from xec_pipeline.defs.checks.data import shards_are_sound
from xec_pipeline.defs.checks.inpainter import (
    exports_match_weights,
    exports_reproduce_network,
    network_beats_simple_methods,
    recovered_sensors_are_complete,
)
from xec_pipeline.defs.checks.regressor import (
    onnx_matches_weights,
    onnx_reproduces_network,
    predictions_are_complete,
)
from xec_pipeline.defs.partitions import dataset_partitions
from xec_pipeline.evaluation.metadata import PredictionMeta, write_meta
from xec_pipeline_tests.defs.checking import check


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the run `demo` in an empty working folder, with a table of three events."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XEC_RUNS", str(tmp_path / "runs"))
    (tmp_path / "runs" / "regressor").mkdir(parents=True)
    (tmp_path / "runs" / "regressor" / "demo.yaml").write_text("preset: demo\n")
    folder = tmp_path / "artifacts" / "demo"
    write_table(folder, "0.050\n0.051\n0.052\n")
    return folder


def write_table(folder: Path, rows: str) -> None:
    meta = PredictionMeta(run_name="demo", n_events=4, n_without_truth={"energy": 1})
    write_meta(meta, folder)
    text = "true_energy,pred_energy\n" + "".join(f"0.05,{row}\n" for row in rows.split())
    (folder / "predictions_energy_demo.csv").write_text(text)


def test_complete_tables_pass(run_dir):
    evaluation = check(predictions_are_complete, keys.PREDICTIONS)
    assert evaluation.passed
    assert evaluation.blocking
    assert evaluation.metadata["predictions_energy_demo.csv rows"].value == 3


@pytest.mark.parametrize("rows", ["0.050\n0.051\n", "0.050\nnan\n0.052\n", "0.050\ninf\n0.051\n"])
def test_missing_rows_and_numbers_are_found(run_dir, rows):
    write_table(run_dir, rows)
    assert not check(predictions_are_complete, keys.PREDICTIONS).passed


def test_test_events_are_looked_at_too(run_dir):
    write_table(run_dir / "test", "0.050\n")
    assert not check(predictions_are_complete, keys.PREDICTIONS).passed


def test_a_table_of_an_earlier_sample_has_the_rows_of_that(run_dir):
    earlier = PredictionMeta(run_name="demo", n_events=3)
    write_meta(PredictionMeta(run_name="demo", n_events=9), run_dir, earlier={"energy": earlier})
    assert check(predictions_are_complete, keys.PREDICTIONS).passed


def test_no_table_does_not_pass(run_dir):
    (run_dir / "predictions_energy_demo.csv").unlink()
    assert not check(predictions_are_complete, keys.PREDICTIONS).passed


@pytest.mark.parametrize(("present", "passes"), [("v1", True), ("v2", False)])
@pytest.mark.parametrize(
    ("definition", "exported", "weights"),
    [
        (onnx_matches_weights, keys.ONNX, keys.WEIGHTS),
        (exports_match_weights, keys.INPAINTER_EXPORT, keys.INPAINTER),
    ],
)
def test_models_of_other_weights_are_found(definition, exported, weights, present, passes):
    tags = {"dagster/data_version": present}
    made = dg.AssetMaterialization(weights, partition="demo", tags=tags)
    with dg.DagsterInstance.ephemeral() as instance:
        instance.report_runless_asset_event(made)
        evaluation = check(
            definition, exported, instance, weights_version="v1", parity_energy_mev=1e-6
        )
    assert evaluation.passed is passes
    assert evaluation.metadata["parity_energy_mev"].value == 1e-6


@pytest.mark.parametrize(
    ("numbers", "passes"),
    [
        ({"events": 4, "sensors": 572, "not_finite": 0}, True),
        ({"events": 4, "sensors": 572, "not_finite": 1}, False),
        ({"events": 4, "sensors": 0, "not_finite": 0}, False),
        ({"events": 4}, False),
    ],
)
def test_recovered_sensors_are_counted(numbers, passes):
    evaluation = check(recovered_sensors_are_complete, keys.RECOVERED, **numbers)
    assert evaluation.passed is passes
    assert evaluation.blocking


@pytest.mark.parametrize(
    ("model", "passes"), [(0.12, True), (0.18, False), (float("nan"), False), (None, False)]
)
def test_network_must_beat_the_simple_methods(model, passes):
    errors = {"avg": 0.9, "sa": 0.15, "localfit": 0.1}
    errors |= {} if model is None else {"model": model}
    numbers = {f"relative_rms_above_100_photons_{name}": value for name, value in errors.items()}
    evaluation = check(network_beats_simple_methods, keys.RECOVERED, None, **numbers)
    assert evaluation.passed is passes
    assert evaluation.severity == dg.AssetCheckSeverity.WARN


@pytest.mark.parametrize(
    ("numbers", "passes"),
    [
        ({"parity_of_allowed": 0.2, "parity_events": 64}, True),
        ({"parity_of_allowed": 1.1, "parity_events": 64}, False),
        ({"parity_of_allowed": 0.2, "parity_events": 0}, False),
        ({}, False),
    ],
)
@pytest.mark.parametrize(
    ("definition", "key"),
    [
        (onnx_reproduces_network, keys.ONNX),
        (exports_reproduce_network, keys.INPAINTER_EXPORT),
    ],
)
def test_an_export_must_compute_what_its_network_does(definition, key, numbers, passes):
    evaluation = check(definition, key, **numbers)
    assert evaluation.passed is passes
    assert evaluation.blocking


def test_a_check_on_its_own_says_that_it_needs_a_partition():
    files = dg.AssetSpec(keys.SHARDS, partitions_def=dataset_partitions)
    result = dg.materialize(
        [files, shards_are_sound],
        selection=dg.AssetSelection.checks(shards_are_sound),
        raise_on_error=False,
    )
    (failed,) = result.get_step_failure_events()
    told = failed.step_failure_data.user_failure_data
    assert "looks at one partition of its asset, and none was given" in str(told)
