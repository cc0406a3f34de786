"""Files of the earlier system, of each kind and with every key it knew, load as they are."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from xec_pipeline.config.inpainter import FaceRatios
from xec_pipeline.config.legacy import Kind, is_of_earlier_system, modernized
from xec_pipeline.config.loader import load_inpainter_run, load_mae_run, load_regressor_run
from xec_pipeline.config.mae import MaeRun
from xec_pipeline.config.run_base import Run
from xec_pipeline.errors import ConfigError

FOLDER = Path(__file__).parent / "earlier"
KINDS: tuple[Kind, ...] = ("regressor", "mae", "inpainter")
LOADERS: dict[Kind, Callable[[Path], Run]] = {
    "regressor": load_regressor_run,
    "mae": load_mae_run,
    "inpainter": load_inpainter_run,
}


def tree(kind: Kind) -> dict[str, Any]:
    return dict(yaml.safe_load((FOLDER / f"{kind}.yaml").read_text()))


def changed(folder: Path, kind: Kind, old: str, new: str) -> Path:
    """Return a copy of the file of one kind in which `new` stands for `old`."""
    text = (FOLDER / f"{kind}.yaml").read_text()
    assert text.count(old) == 1
    path = folder / f"{kind}.yaml"
    path.write_text(text.replace(old, new))
    return path


def test_a_regressor_file_keeps_its_meaning(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        run = load_regressor_run(FOLDER / "regressor.yaml")
    assert run.name == "scan_step7"
    assert run.tasks.active == ("angle", "energy", "timing")
    assert run.training.lr == 3e-4
    assert run.training.max_lr == 6e-4
    assert run.training.lr_scheduler == "onecycle"
    assert run.normalization.npho_threshold == 10
    assert run.normalization.time_scale == 6.5e-8
    assert run.data.fiducial.enabled
    assert run.tasks.energy.log_transform
    assert run.tasks.timing.reference == "emission"
    assert run.model.layout == "physical"
    assert run.loss_balance == "auto"
    assert run.reweighting.energy.enabled
    assert run.data.chunksize == 4000
    log = caplog.text
    for key in ("data.chunksize", "tasks.angleVec", "tasks.n_gamma"):
        assert f"{key} " in log
        assert log.count(key) == 1
    assert "tasks.angleVec has no effect any more: there is no such target" in log
    assert "tasks.angle.loss_beta 1.0 now counts in standard deviations" in log
    assert "tasks.energy.loss_beta" not in log


def test_a_mae_file_keeps_its_meaning(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        run = load_mae_run(FOLDER / "mae.yaml")
    assert run.name == "mae_wide"
    assert run.run_dir == Path("artifacts/mae_wide")
    assert run.training.weight_decay == 5e-5
    assert run.training.lr_scheduler is None
    assert run.training.time.mask_ratio_scale == 2
    assert run.time_threshold == run.normalization.npho_threshold == 10
    assert "normalization.npho_threshold 100 is replaced by training.time.npho_threshold 1e1" in (
        caplog.text
    )


def test_an_inpainter_file_keeps_its_meaning(caplog: pytest.LogCaptureFixture):
    with caplog.at_level(logging.INFO):
        run = load_inpainter_run(FOLDER / "inpainter.yaml")
    assert run.name == "inp_step3"
    assert run.run_dir == Path("artifacts/inp_step3")
    assert run.encoder_path == Path("artifacts/mae_wide/mae_checkpoint_best.pth")
    assert isinstance(run.model.mask_ratio, FaceRatios)
    assert (run.model.mask_ratio.inner, run.model.mask_ratio.bot) == (0.05, 0.15)
    assert run.model.mask_npho_flat
    assert not run.model.freeze_encoder
    assert run.training.grad_accum_steps == 4
    assert run.training.npho_loss_weight.enabled
    assert run.time_threshold == run.normalization.npho_threshold == 100
    assert run.checkpoint.save_predictions
    for text in (
        "model.sensor_positions_file has no effect any more: the positions are those of the",
        "checkpoint.save_root_predictions is now called checkpoint.save_predictions",
    ):
        assert caplog.text.count(text) == 1


def test_a_file_says_once_what_it_changes_and_stays_as_it_is(caplog: pytest.LogCaptureFixture):
    before = (FOLDER / "regressor.yaml").read_text()
    with caplog.at_level(logging.INFO):
        load_regressor_run(FOLDER / "regressor.yaml")
    assert len(caplog.messages) == len(set(caplog.messages))
    assert all(str(FOLDER / "regressor.yaml") in message for message in caplog.messages)
    assert (FOLDER / "regressor.yaml").read_text() == before


@pytest.mark.parametrize(
    ("kind", "old", "new", "message"),
    [
        ("regressor", "  epochs: 50", "  epoch: 50", "unknown key 'training.epoch'"),
        ("regressor", "  angleVec:", "  angleVek:", "unknown key 'tasks.angleVek'"),
        ("regressor", "  lr: 3e-4", "  lr: 3e-", r"training\.lr: .*got '3e-'"),
        ("mae", "  mask_ratio: 0.65", "  mask_ration: 0.65", "unknown key 'model.mask_ration'"),
        ("mae", "    weight: 1.0", "    wait: 1.0", r"unknown key 'training\.time\.wait'"),
        ("mae", "  sentinel_npho: -1.0", "  sentinel_nfo: -1", "unknown key 'normalization.sent"),
        ("inpainter", "  cross_attn_k: 16", "  cross_attn_n: 16", "key 'model.cross_attn_n'"),
        ("inpainter", "{inner: 5e-2,", "{iner: 5e-2,", "unknown face 'iner'.*mean 'inner'"),
        ("mae", "    npho_threshold: 1e1", "    npho_threshold: x", r"npho_threshold: .*got 'x'"),
    ],
)
def test_an_unknown_key_is_still_an_error(
    tmp_path: Path, kind: Kind, old: str, new: str, message: str
):
    path = changed(tmp_path, kind, old, new)
    with pytest.raises(ConfigError, match=message) as caught:
        LOADERS[kind](path)
    assert str(path) in str(caught.value)


def test_flat_keys_go_to_their_new_places(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    old = tree("mae")
    del old["training"]["time"]
    old["training"] |= {"time_weight": "5e-1", "use_npho_time_weight": False, "npho_threshold": 30}
    old["model"]["time_mask_ratio_scale"] = 3
    path = tmp_path / "flat.yaml"
    path.write_text(yaml.safe_dump(old))
    with caplog.at_level(logging.INFO):
        run = load_mae_run(path)
    time = run.training.time
    assert (time.weight, time.use_npho_weight, time.mask_ratio_scale) == (0.5, False, 3)
    assert run.normalization.npho_threshold == 30
    assert "training.time_weight is now called training.time.weight" in caplog.text
    assert "model.time_mask_ratio_scale is now called training.time.mask_ratio_scale" in caplog.text


def test_a_flat_key_yields_to_its_new_name(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    path = changed(tmp_path, "mae", "  npho_weight: 1.0\n", "  npho_weight: 1\n  time_weight: 7\n")
    with caplog.at_level(logging.INFO):
        assert load_mae_run(path).training.time.weight == 1
    assert "training.time_weight has no effect beside training.time.weight" in caplog.text


def test_flat_keys_of_times_have_no_effect_on_a_regressor(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    path = changed(tmp_path, "regressor", "  epochs: 50", "  epochs: 50\n  time_weight: 2.0")
    with caplog.at_level(logging.INFO):
        load_regressor_run(path)
    assert "training.time_weight has no effect any more" in caplog.text


@pytest.mark.parametrize(
    ("save_dir", "name", "folder"),
    [
        ("artifacts/mae_wide", "null", "artifacts/mae_wide"),
        ("artifacts/mae_wide", "mae_wide", "artifacts/mae_wide"),
        ("artifacts", "null", "artifacts/mae"),
        ("artifacts/first", "second", "artifacts/first/second"),
    ],
)
def test_artifacts_of_a_mae_stay_in_their_folder(
    tmp_path: Path, save_dir: str, name: str, folder: str
):
    path = changed(tmp_path, "mae", "save_dir: artifacts/mae_wide", f"save_dir: {save_dir}")
    path.write_text(path.read_text().replace("run_name: mae_wide", f"run_name: {name}"))
    assert load_mae_run(path).run_dir == Path(folder)


@pytest.mark.parametrize("kind", KINDS)
def test_only_files_of_the_earlier_system_are_translated(kind: Kind):
    old = tree(kind)
    assert is_of_earlier_system(old, kind)
    assert not is_of_earlier_system(old | {"preset": "demo"}, kind)
    assert not is_of_earlier_system(old | {"model": {**old["model"], "encoder": "xec_v2"}}, kind)
    assert not is_of_earlier_system({"training": {"lr": 1e-3}}, kind)
    assert modernized({"data": {"chunksize": 100}}, kind, "x") == {"data": {"chunksize": 100}}


def test_overrides_win_over_translations():
    run = load_regressor_run(FOLDER / "regressor.yaml", {"data.chunksize": 1000})
    assert run.data.chunksize == 1000


@pytest.mark.parametrize("decay", ["0", "0.0"])
def test_empty_sections_and_a_decay_of_zero_are_understood(
    tmp_path: Path, decay: str, caplog: pytest.LogCaptureFixture
):
    text = (FOLDER / "mae.yaml").read_text()
    tree = yaml.safe_load(text)
    tree |= {"distributed": None}
    tree["training"] |= {"ema_decay": float(decay), "time": None}
    path = tmp_path / "old.yaml"
    path.write_text(yaml.safe_dump(tree))
    with caplog.at_level(logging.INFO):
        run = load_mae_run(path)
    assert run.training.ema_decay is None
    assert run.training.time == MaeRun().training.time
    assert run.distributed.num_gpus == 1
    assert "training.ema_decay 0 is taken as null" in caplog.text


def test_an_empty_section_of_a_new_file_has_its_defaults(tmp_path: Path):
    path = tmp_path / "new.yaml"
    path.write_text("preset: mae-demo\nmodel:\ntraining:\n  time:\n")
    assert load_mae_run(path).model_dump(exclude={"mlflow"}) == load_mae_run("mae-demo").model_dump(
        exclude={"mlflow"}
    )
