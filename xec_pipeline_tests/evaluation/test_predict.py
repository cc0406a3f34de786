import numpy as np
import onnx
import pandas as pd
import pytest
import torch

from xec_pipeline.errors import CheckpointError, ConfigError
from xec_pipeline.evaluation.networks import open_network
from xec_pipeline.evaluation.predict import only_tasks, predict_events
from xec_pipeline.export.onnx import export_onnx
from xec_pipeline.training.distributed import DistContext
from xec_pipeline.training.stages.regressor_events import select_events
from xec_pipeline_tests.training.tiny import fit, tiny_run

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def trained(tiny_shards, tmp_path_factory):
    """Return a run whose energy head predicts its uncertainty, its fit and its checkpoint."""
    folder = tmp_path_factory.mktemp("predicted")
    tasks = {"energy": {"enabled": True, "loss_fn": "gaussian_nll"}}
    run = tiny_run(folder, tasks=tasks, training={"epochs": 2})
    return run, fit(run, tiny_shards), run.run_dir / "checkpoint_best.pth"


def table_of(network, shards, run):
    predicted = predict_events(network.predictor, select_events(shards, run), run, DistContext())
    assert predicted.n_events == 48
    assert predicted.events_per_s > 0
    return pd.DataFrame(predicted.table)


def test_checkpoint_reproduces_the_predictions_of_its_validation(trained, tiny_shards):
    run, fitted, path = trained
    network = open_network(path, None, CPU)
    assert network.weights == "ema"
    assert network.run.tasks == run.tasks
    best = pd.DataFrame(fitted.tables[max(fitted.tables)])
    pd.testing.assert_frame_equal(table_of(network, tiny_shards, network.run), best, rtol=1e-5)


def test_exported_model_agrees_with_its_checkpoint(trained, tiny_shards, tmp_path):
    run, _, path = trained
    events = np.arange(48)
    times = tiny_shards.times_ns(events) / np.float32(1e9)
    export_onnx(path, tmp_path / "model.onnx", tiny_shards.npho(events), times)
    exported = open_network(tmp_path / "model_raw.onnx", run, CPU)
    assert exported.predictor.tasks == run.tasks.active
    assert exported.digest == open_network(path, None, CPU).digest
    expected = table_of(open_network(path, run, CPU), tiny_shards, run)
    for name in ("model_raw.onnx", "model.onnx"):  # neither needs a configuration beside it
        table = table_of(open_network(tmp_path / name, None, CPU), tiny_shards, run)
        assert "pred_sigma_energy" in table
        pd.testing.assert_frame_equal(table, expected, rtol=1e-3, atol=1e-3)
    assert_file_decides(tmp_path / "model_raw.onnx", run)
    assert_bare_files_are_refused(tmp_path / "model.onnx", run)


def assert_bare_files_are_refused(path, run):
    """Files without configuration, without our metadata, of another kind, or with other inputs."""
    stored = onnx.load(path)
    told = {entry.key: entry.value for entry in stored.metadata_props}
    regressor = {name: told[name] for name in ("variant", "outputs", "tasks", "normalization")}
    reference = {"timing_reference": told["timing_reference"]}
    bare = path.with_name("bare.onnx")
    for kept, message in (
        ({}, "without our metadata; expected a file that xec export wrote"),
        ({"variant": "raw", "outputs": "{}", "head_type": "x"}, "an exported inpainter"),
        ({**regressor, "variant": "raw"}, "variant 'raw' with the inputs input is not known"),
    ):
        onnx.helper.set_model_props(stored, kept)
        onnx.save(stored, bare)
        with pytest.raises(CheckpointError, match=message):
            open_network(bare, None, CPU)
    onnx.helper.set_model_props(stored, {**regressor, **reference})
    onnx.save(stored, bare)
    with pytest.raises(ConfigError, match="holds no configuration; export it again, or give --con"):
        open_network(bare, None, CPU)
    assert open_network(bare, run, CPU).predictor.tasks == run.tasks.active


def assert_file_decides(path, run):
    """The file's normalization counts; times of another meaning are refused."""
    scaled = run.normalization.model_copy(update={"npho_scale": 7.0})
    other = run.model_copy(update={"normalization": scaled})
    assert open_network(path, other, CPU).run.normalization == run.normalization
    timing = run.tasks.timing.model_copy(update={"reference": "emission"})
    other = run.model_copy(update={"tasks": run.tasks.model_copy(update={"timing": timing})})
    with pytest.raises(ConfigError, match=r"timing_reference is 'interaction', .* is 'emission'"):
        open_network(path, other, CPU)


def test_damaged_and_missing_exports_are_named(four_tasks, tmp_path):
    path = tmp_path / "x_raw.onnx"
    with pytest.raises(CheckpointError, match="no such file"):
        open_network(path, four_tasks, CPU)
    path.write_bytes(b"not a model")
    with pytest.raises(CheckpointError, match="not an ONNX model"):
        open_network(path, four_tasks, CPU)


def test_results_go_where_the_given_run_says(trained, tiny_shards):
    run, _, path = trained
    other = run.model_copy(update={"data": run.data.model_copy(update={"batch_size": 5})}).named(
        "other"
    )
    network = open_network(path, other, CPU, use_ema=False)
    assert (network.run.name, network.run.data.batch_size) == ("other", 5)
    assert network.weights == "raw"
    assert len(table_of(network, tiny_shards, network.run)) == 48


def test_progress_is_told_and_one_task_is_enough(trained, tiny_shards):
    network = open_network(trained[2], None, CPU)
    chosen = only_tasks(network.run, ("energy",))
    told: list[int] = []
    predicted = predict_events(
        network.predictor,
        select_events(tiny_shards, chosen),
        chosen,
        DistContext(),
        on_progress=told.append,
    )
    assert told[-1] == 48
    assert predicted.table is not None
    assert "pred_sigma_energy" in predicted.table
    assert "pred_u" not in predicted.table
    with pytest.raises(ConfigError, match="does not predict angle; its tasks: energy"):
        only_tasks(chosen, ("angle",))
