import json
import math

from xec_pipeline.training.record import RecordingTracker, read_epochs
from xec_pipeline_tests.training.tiny import Curve

PARAMS = {"training": {"epochs": 3}, "world_size": 2}
TAGS = {"git_revision": "f00"}


def test_a_record_tells_what_a_tracker_is_told(tmp_path):
    path, inner = tmp_path / "training_record.json", Curve()
    tracker = RecordingTracker(inner, path)
    tracker.start(PARAMS, TAGS)
    assert not path.exists(), "an earlier training's files go only when epochs begin"
    tracker.epoch(1, {"val/loss": 0.5, "theta_skew": math.nan})
    running = json.loads(path.read_text())
    assert running["status"] == "RUNNING"
    assert running["epochs"] == {"1": {"val/loss": 0.5}}
    tracker.finish("KILLED")
    told = json.loads(path.read_text())
    assert (told["status"], told["parameters"], told["tags"]) == ("KILLED", PARAMS, TAGS)
    assert told["mlflow_run_id"] is None
    assert {"python", "torch", "numpy", "system", "gpus", "ranks"} <= set(told["environment"])
    assert told["started"] <= told["ended"]
    assert inner.epochs[1]["val/loss"] == 0.5


def test_a_training_that_goes_on_keeps_the_epochs_before(tmp_path):
    path = tmp_path / "training_record.json"
    first = RecordingTracker(Curve(), path)
    first.start(PARAMS, TAGS)
    for epoch in (1, 2):
        first.epoch(epoch, {"val/loss": 1 / epoch})
    # The checkpoint is of epoch 1: the second was lost with the process.
    second = RecordingTracker(Curve(), path, read_epochs(path, up_to=1))
    second.start(PARAMS, TAGS)
    second.epoch(2, {"val/loss": 0.4})
    assert read_epochs(path, up_to=9) == {1: {"val/loss": 1.0}, 2: {"val/loss": 0.4}}


def test_without_an_epoch_nothing_is_written(tmp_path):
    tracker = RecordingTracker(Curve(), tmp_path / "training_record.json")
    tracker.start(PARAMS, TAGS)
    tracker.finish("FAILED")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_record_has_no_epochs(tmp_path):
    path = tmp_path / "training_record.json"
    assert read_epochs(path, up_to=3) == {}
    for text in ("{", "[]", '{"epochs": 3}', '{"epochs": {"one": {}}}'):
        path.write_text(text)
        assert read_epochs(path, up_to=3) == {}
