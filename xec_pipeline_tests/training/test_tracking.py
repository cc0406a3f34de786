import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from xec_pipeline.config.output import MlflowConfig
from xec_pipeline.training.tracking import (
    MlflowTracker,
    NullTracker,
    closing_run,
    flattened,
    open_tracker,
    refer_to,
    tracking_uri,
)
from xec_pipeline.versioning import content_hash

# MLflow's own tables use options that SQLAlchemy 2.1 gives up.
pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> MlflowConfig:
    """Return a store of its own; making its tables takes seconds."""
    return MlflowConfig(tracking_uri=f"sqlite:///{tmp_path_factory.mktemp('store')}/mlruns.db")


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def test_parameters_metrics_tags_and_status_reach_the_store(config: MlflowConfig):
    tracker = MlflowTracker(config, "demo")
    with closing_run(tracker):
        many = {f"p{i}": i for i in range(130)}
        tracker.start({"training": {"lr": 1e-3}, **many}, {"git_revision": "abc"})
        tracker.epoch(1, {"val/loss": 0.5, "theta_skew": float("nan")})
        tracker.epoch(2, {"val/loss": 0.25})
    client = MlflowClient(config.tracking_uri)
    run = client.get_run(tracker.run_id)
    assert run.info.status == "FINISHED"
    assert run.info.run_name == "demo"
    assert run.data.params["training.lr"] == "0.001"
    assert len(run.data.params) == 131
    assert run.data.tags["git_revision"] == "abc"
    history = client.get_metric_history(tracker.run_id, "val/loss")
    assert [(point.step, point.value) for point in history] == [(1, 0.5), (2, 0.25)]
    assert "theta_skew" not in run.data.metrics


def test_a_run_is_continued_and_a_changed_parameter_becomes_a_tag(config: MlflowConfig):
    first = MlflowTracker(config, "demo")
    first.start({"lr": 1e-3}, {})
    second = MlflowTracker(config, "demo", continued=first.run_id)
    second.start({"lr": 1e-4, "epochs": 9}, {})
    assert second.run_id == first.run_id
    run = MlflowClient(config.tracking_uri).get_run(first.run_id)
    assert run.data.params == {"lr": "0.001", "epochs": "9"}
    assert run.data.tags["resumed.lr"] == "0.0001"


def test_the_launchers_run_wins_and_a_lost_run_is_replaced(
    config: MlflowConfig, monkeypatch: pytest.MonkeyPatch
):
    first = MlflowTracker(config, "demo")
    assert MlflowTracker(config, "demo", continued="0" * 32).run_id != first.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", str(first.run_id))
    assert MlflowTracker(config, "demo").run_id == first.run_id


@pytest.mark.parametrize(("status", "expected"), [(None, "FAILED"), ("KILLED", "KILLED")])
def test_how_a_run_ends_is_noted(config: MlflowConfig, status, expected):
    tracker = MlflowTracker(config, "demo")
    if status is None:
        with pytest.raises(ValueError, match="x"), closing_run(tracker):
            raise ValueError("x")
    else:
        with closing_run(tracker) as close_as:
            close_as(status)
    assert MlflowClient(config.tracking_uri).get_run(tracker.run_id).info.status == expected


def test_other_ranks_and_runs_without_a_store_track_nothing(config: MlflowConfig):
    assert isinstance(open_tracker(config, "demo", is_main=False), NullTracker)
    off = MlflowConfig(tracking_uri="none")
    assert isinstance(open_tracker(off, "demo", is_main=True), NullTracker)


def test_relative_stores_count_from_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    assert tracking_uri(MlflowConfig()) == f"sqlite:///{tmp_path}/mlruns.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert tracking_uri(MlflowConfig()) == "http://127.0.0.1:5000"


def test_flattening_joins_names_with_dots():
    assert flattened({"a": {"b": {"c": 1}}, "d": [2]}) == {"a.b.c": 1, "d": [2]}


def test_files_are_artifacts_by_reference(config: MlflowConfig, tmp_path: Path):
    tracker = MlflowTracker(config, "demo")
    path = tmp_path / "checkpoint_best.pth"
    path.write_bytes(b"weights")
    refer_to(config, tracker.run_id, "training", [path])
    client = MlflowClient(config.tracking_uri)
    (listed,) = client.list_artifacts(str(tracker.run_id), "references")
    assert listed.path == "references/training.json"
    folder = client.download_artifacts(str(tracker.run_id), listed.path, str(tmp_path))
    stored = json.loads(Path(folder).read_text())
    assert stored == {
        "checkpoint_best.pth": {
            "path": str(path),
            "bytes": 7,
            "content_hash": content_hash(path),
        }
    }


def test_without_a_run_or_with_a_lost_one_nothing_is_referred_to(
    config: MlflowConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    refer_to(config, None, "training", [tmp_path / "absent.pth"])
    refer_to(MlflowConfig(tracking_uri="none"), "0" * 32, "training", [tmp_path / "absent.pth"])
    refer_to(config, str(MlflowTracker(config, "demo").run_id), "training", [])
    assert not caplog.text
    (tmp_path / "a.pth").write_bytes(b"a")
    refer_to(config, "0" * 32, "training", [tmp_path / "a.pth"])
    assert "MLflow did not take the references to training" in caplog.text


def test_files_of_one_name_in_two_folders_are_told_apart(
    config: MlflowConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    stored = {}
    monkeypatch.setattr(
        MlflowClient, "log_dict", lambda _, __, content, ___: stored.update(content)
    )
    (tmp_path / "test").mkdir()
    paths = [tmp_path / "table.csv", tmp_path / "test" / "table.csv"]
    for path in paths:
        path.write_text(str(path))
    refer_to(config, "run", "training", paths)
    assert [entry["path"] for entry in stored.values()] == [str(path) for path in paths]
    assert list(stored) == ["table.csv", "test/table.csv"]


def test_a_store_without_space_ends_no_training(
    config: MlflowConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog
):
    def refuse(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(MlflowClient, "log_dict", refuse)
    (tmp_path / "a.pth").write_bytes(b"a")
    refer_to(config, "run", "training", [tmp_path / "a.pth"])
    assert "did not take the references to training: no space left" in caplog.text
