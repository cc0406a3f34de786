from pathlib import Path

import pytest

from xec_pipeline.errors import CheckpointError
from xec_pipeline.models.regressor import build_regressor
from xec_pipeline.training.checkpoint import Checkpoint, write_checkpoint
from xec_pipeline.training.start import GoingOn, Recorded
from xec_pipeline.training.transfer import read_encoder
from xec_pipeline.workers.upstream import recorded_path, recorded_weights, require_recorded
from xec_pipeline_tests.training.tiny import tiny_run


@pytest.fixture
def encoder(tmp_path: Path):
    """An encoder that was read from its file."""
    weights = build_regressor(tiny_run(tmp_path)).backbone.state_dict()
    path = tmp_path / "mae_encoder_best.pth"
    write_checkpoint(path, Checkpoint(kind="encoder", model_state_dict=weights))
    return read_encoder(path)


def recorded(path: Path, version: str) -> dict[str, dict[str, str]]:
    return {"encoder": {"path": str(path), "data_version": version}}


def test_the_recorded_encoder_is_accepted(encoder, tmp_path):
    extras = recorded(encoder.path, encoder.digest)
    assert recorded_path(extras) == encoder.path
    require_recorded(extras, encoder)
    went_on = Checkpoint(kind="regressor", model_state_dict={}, encoder_source=encoder.source)
    require_recorded(extras, GoingOn(went_on, tmp_path / "checkpoint_last.pth"))
    require_recorded(extras, None)


def test_by_hand_nothing_is_recorded(encoder):
    assert recorded_path({}) is None
    require_recorded({}, encoder)


def test_a_worker_is_told_what_was_recorded_of_its_asset():
    assert recorded_weights({}) is None
    asset = {"key": "regressor/weights", "partition": "demo", "data_version": "v1"}
    told = recorded_weights({"asset": {**asset, "code_version": "c1"}})
    assert told == Recorded(data_version="v1", code_version="c1")


def test_another_encoder_is_refused(encoder, tmp_path):
    extras = recorded(encoder.path, "0123")
    with pytest.raises(CheckpointError, match=r"mae_encoder_best.pth: its .* recorded 0123"):
        require_recorded(extras, encoder)
    scratch = Checkpoint(kind="regressor", model_state_dict={})
    with pytest.raises(CheckpointError, match=r"checkpoint_last.pth: its .* version None"):
        require_recorded(extras, GoingOn(scratch, tmp_path / "checkpoint_last.pth"))
