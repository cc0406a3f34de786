"""What MLflow and Dagster are told of how a training begins and how it went."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from torch import nn

from xec_pipeline.config.loader import load_mae_run, load_regressor_run
from xec_pipeline.training.checkpoint import Checkpoint
from xec_pipeline.training.distributed import DistContext
from xec_pipeline.training.start import GoingOn
from xec_pipeline.training.tracking import flattened
from xec_pipeline.training.transfer import PretrainedEncoder
from xec_pipeline.workers.pipes import Report
from xec_pipeline.workers.training import AnyRun, described, origin_metadata, report_finished

ENCODER = {
    "file": "mae/mae_encoder_best.pth",
    "run_name": "wide",
    "tensor_digest": "abc",
    "mlflow_run_id": "123",
    "data": {"train": "t1", "val": "v1"},
    "git_revision": None,
}
PARAMETERS = {
    # By the names of the earlier system; where a name here differs, it follows.
    "data": "train_path val_path batch_size chunksize num_workers num_threads",
    "normalization": "npho_scale npho_scale2 time_scale time_shift sentinel_time sentinel_npho "
    "npho_threshold npho_scheme",
    "model": "outer_mode encoder_dim dim_feedforward num_fusion_layers",
    "training": "lr lr_scheduler warmup_epochs weight_decay grad_clip grad_accum_steps epochs amp "
    "compile ema_decay",
    "checkpoint": "save_dir",
    "": "total_params trainable_params resume_state world_size",
}
OF_REGRESSOR = {
    "data.fiducial": "enabled u_max v_max w_min w_max",
    "tasks.energy": "enabled loss_fn loss_beta weight",
    "": "loss_balance",
    # Not logged by the earlier system.
    "model": "drop_path_rate outer_fine_pool hidden_dim",
    "training": "channel_dropout_rate max_lr",
    "reweighting.energy": "enabled",
}
OF_MAE = {
    "model": "mask_ratio decoder_dim predict_channels",
    "training": "loss_fn loss_beta npho_weight",
    "training.time": "weight",
    "training.npho_loss_weight": "enabled alpha",
    "training.intensity_reweighting": "enabled",
}


def told(run: AnyRun, *start: Any) -> tuple[dict[str, Any], dict[str, str]]:
    about = {"git_revision": "f00", "data": {"train": "t", "val": "v"}}
    stage = SimpleNamespace(
        model=nn.Linear(2, 1),
        n_events=5,
        describe=lambda: about,
        validation_shards=SimpleNamespace(toy=True),
    )
    return described(run, DistContext(), stage, *start)


def checkpoint(**content: Any) -> Checkpoint:
    config = {"mlflow": {"run_name": "before"}}
    return Checkpoint(kind="regressor", model_state_dict={}, config=config, epoch=7, **content)


@pytest.mark.parametrize(
    ("run", "own"), [(load_regressor_run("demo"), OF_REGRESSOR), (load_mae_run("mae-demo"), OF_MAE)]
)
def test_all_parameters_of_the_reference_are_logged(run: AnyRun, own: dict[str, str]):
    logged = flattened(told(run)[0])
    for section, names in [*PARAMETERS.items(), *own.items()]:
        for name in names.split():
            assert f"{section}.{name}".removeprefix(".") in logged


def test_the_origin_of_an_encoder_is_in_the_tags():
    encoder = PretrainedEncoder(
        path=Path("x"), weights={}, source=ENCODER, model={}, normalization={}
    )
    params, tags = told(load_regressor_run("demo"), None, encoder)
    assert params["resume_state"] == "encoder"
    assert tags["encoder.run_name"] == "wide"
    assert tags["encoder.tensor_digest"] == "abc"
    assert tags["encoder.mlflow_run_id"] == "123"
    assert tags["encoder.train_data_version"] == "t1"
    assert not {"encoder.data", "encoder.git_revision", "resumed_from.file"} & tags.keys()


def test_a_training_that_goes_on_keeps_the_origin_of_its_encoder():
    found = GoingOn(checkpoint(encoder_source=ENCODER), Path("old/checkpoint_last.pth"))
    params, tags = told(load_regressor_run("demo"), found)
    assert params["resume_state"] == "resumed"
    assert tags["encoder.run_name"] == "wide"
    assert tags["resumed_from.file"] == "old/checkpoint_last.pth"
    assert (tags["resumed_from.run_name"], tags["resumed_from.epoch"]) == ("before", "7")
    own = GoingOn(found.checkpoint, found.path, is_own=True)
    assert "resumed_from.file" not in told(load_regressor_run("demo"), own)[1]


def test_beginning_again_with_weights_is_told():
    run = load_regressor_run("demo", {"checkpoint.reset_epoch": True})
    found = GoingOn(checkpoint(), Path("old/checkpoint_last.pth"))
    assert told(run, found)[0]["resume_state"] == "weights"
    assert told(run)[0]["resume_state"] == "new"


def test_dagster_is_told_which_weights_they_were():
    made = checkpoint(encoder_source=ENCODER, resumed_from=checkpoint().origin(Path("old/a.pth")))
    found = origin_metadata(made)
    assert found["encoder_tensor_digest"] == "abc"
    assert found["resumed_from_file"] == "old/a.pth"
    assert found["resumed_from_run_name"] == "before"
    assert origin_metadata(checkpoint()) == {}


def test_speed_of_a_training_has_the_name_that_all_assets_use(tmp_path: Path):
    class Heard(Report):
        def result(self, metadata: Any, data_version: str) -> None:
            self.told = (metadata, data_version)

    report = Heard(0)
    run = load_regressor_run("demo", {"checkpoint.save_dir": str(tmp_path)})
    run.run_dir.mkdir(parents=True)
    report_finished(run, "regressor", report, {"system/throughput_events_per_sec": 120.0}, "v1")
    assert report.told[0]["events_per_s"] == 120.0
    assert report.told[1] == "v1"
