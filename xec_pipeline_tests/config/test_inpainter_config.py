from pathlib import Path
from typing import Any

import pytest

from xec_pipeline.config.inpainter import InpainterRun
from xec_pipeline.config.loader import load_inpainter_run, validate
from xec_pipeline.config.registry import registered_inpainter
from xec_pipeline.errors import ConfigError

DEFAULTS = {
    "data.batch_size": 1024,
    "model.mask_ratio": 0.05,
    "model.mask_npho_flat": False,
    "model.predict_channels": ("npho",),
    "model.freeze_encoder": True,
    "model.use_local_context": True,
    "model.use_masked_attention": False,
    "model.head_type": "per_face",
    "model.cross_attn_k": 16,
    "model.cross_attn_hidden": 64,
    "model.cross_attn_latent_dim": 128,
    "model.cross_attn_pos_dim": 96,
    "mae": None,
    "training.mae_checkpoint": None,
    "training.epochs": 50,
    "training.lr": 1e-4,
    "training.lr_min": 1e-6,
    "training.warmup_epochs": 0,
    "training.weight_decay": 1e-4,
    "training.loss_fn": "smooth_l1",
    "training.loss_beta": 1.0,
    "training.track_mae_rmse": True,
    "training.track_metrics": True,
    "training.grad_accum_steps": 1,
    "training.ema_decay": None,
    "checkpoint.save_predictions": True,
    "checkpoint.root_save_interval": 10,
    "checkpoint.save_interval": 10,
    "checkpoint.max_predicted_events": 1000,
    "mlflow.experiment": "inpainting",
    "export.torchscript": "inpainter.pt",
    "export.onnx": "inpainter.onnx",
    "export.clamp_negative": True,
    "validation.n_artificial.inner": 10,
    "validation.n_artificial.top": 1,
}


@pytest.mark.parametrize("option", DEFAULTS)
def test_default(option: str):
    found: Any = InpainterRun()
    for part in option.split("."):
        found = getattr(found, part)
    assert found == DEFAULTS[option]


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("model", "mask_ratio", 1.0, r"model\.mask_ratio: expected a fraction"),
        ("model", "mask_ratio", "many", r"expected a fraction.*'many'"),
        ("model", "mask_ratio", {"inner": 0.1, "up": 0.1}, "unknown face 'up'"),
        ("model", "mask_ratio", {"inner": 0.0}, "no sensor would be hidden"),
        ("model", "predict_channels", ["time"], r"must be \[npho\] or \[npho, time\]"),
        ("model", "cross_attn_pos_dim", 100, "must be a multiple of 6, got 100"),
        ("model", "cross_attn_latent_dim", 66, "must be a multiple of 4"),
        ("model", "head_width", 60, "must be a multiple of 8"),
        ("model", "hex_head_width", 95, "must be a multiple of 2"),
        ("model", "encoder_dim", 100, "must be a multiple of 32"),
        ("model", "decoder_dim", 32, "unknown key 'model.decoder_dim'"),
        ("validation", "baselines", ["local"], r"validation\.baselines"),
    ],
)
def test_wrong_values_are_refused(section: str, key: str, value: object, message: str):
    with pytest.raises(ConfigError, match=message):
        validate(InpainterRun, {section: {key: value}}, "run.yaml")


def test_two_encoders_are_refused():
    tree = {"mae": "a", "training": {"mae_checkpoint": "b.pth"}}
    with pytest.raises(ConfigError, match=r"mae and training\.mae_checkpoint both name"):
        validate(InpainterRun, tree, "run.yaml")


def test_two_rules_by_light_are_refused():
    tree = {"model": {"mask_npho_flat": True}, "training": {"time": {"mask_ratio_scale": 2}}}
    with pytest.raises(ConfigError, match="both choose sensors by their light"):
        validate(InpainterRun, tree, "run.yaml")


def test_the_digest_counts_what_changes_the_weights_and_nothing_else():
    def digest(option: str, value: object) -> str:
        return load_inpainter_run("inpainter-demo", {option: value}).digest()

    own = load_inpainter_run("inpainter-demo").digest()
    without_effect: dict[str, object] = {
        "validation.seed": 7,
        "validation.n_artificial.inner": 5,
        "export.clamp_negative": False,
        "checkpoint.max_predicted_events": 5,
        "training.track_mae_rmse": False,
    }
    for option, value in without_effect.items():
        assert digest(option, value) == own, option
    decisive = {"model.mask_ratio.inner": 0.1, "model.freeze_encoder": True, "mae": "other"}
    for option, value in decisive.items():
        assert digest(option, value) != own, option


def test_measurements_depend_on_the_content_of_the_dead_sensors_files(tmp_path: Path):
    folder = tmp_path / "dead"
    folder.mkdir()
    path = folder / "dead_run1.txt"

    def digest(source: Path) -> str:
        run = load_inpainter_run("inpainter-demo", {"validation.dead_file": str(source)})
        return run.measurement_digest()

    for source in (path, folder):
        path.write_text("3\n")
        before = digest(source)
        assert digest(source) == before
        path.write_text("4\n")
        assert digest(source) != before
    before = digest(folder)
    path.rename(folder / "dead_run2.txt")
    assert digest(folder) != before


def test_a_run_comes_back_from_what_a_checkpoint_keeps_of_it():
    run = load_inpainter_run("inpainter-demo", {"model.mask_ratio": {"inner": 0.05, "top": 0.2}})
    assert validate(InpainterRun, run.model_dump(), "checkpoint") == run


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("mae: wide", r"a\.yaml: mae: no mae run 'wide'"),
        ("validation: {regressor: best}", r"validation\.regressor: no regressor run 'best'"),
    ],
)
def test_a_registered_run_names_registered_runs(
    line: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XEC_RUNS", str(tmp_path))
    (tmp_path / "inpainter").mkdir()
    path = tmp_path / "inpainter" / "a.yaml"
    path.write_text("preset: inpainter-demo\n")
    assert registered_inpainter("a").name == "a"
    path.write_text(f"preset: inpainter-demo\n{line}\n")
    with pytest.raises(ConfigError, match=message):
        registered_inpainter("a")
