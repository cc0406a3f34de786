from pathlib import Path
from typing import Any

import pytest

from xec_pipeline.config.loader import load_mae_run, validate
from xec_pipeline.config.mae import MaeRun
from xec_pipeline.errors import ConfigError

DEFAULTS = {
    "data.batch_size": 1024,
    "model.mask_ratio": 0.6,
    "model.predict_channels": ("npho", "time"),
    "model.decoder_dim": 128,
    "training.epochs": 20,
    "training.lr": 1e-4,
    "training.lr_min": 1e-6,
    "training.warmup_epochs": 0,
    "training.weight_decay": 1e-4,
    "training.lr_scheduler": None,
    "training.loss_fn": "smooth_l1",
    "training.loss_beta": 1.0,
    "training.npho_weight": 1.0,
    "training.time.weight": 1.0,
    "training.time.mask_ratio_scale": 1.0,
    "training.time.use_npho_weight": True,
    "training.time.npho_threshold": None,
    "training.auto_channel_weight": False,
    "training.ema_decay": None,
    "training.track_mae_rmse": False,
    "training.track_metrics": False,
    "training.npho_loss_weight.enabled": False,
    "training.npho_loss_weight.alpha": 0.5,
    "training.intensity_reweighting.enabled": False,
    "training.intensity_reweighting.nbins": 5,
    "training.intensity_reweighting.target": "uniform",
    "checkpoint.save_predictions": True,
    "checkpoint.root_save_interval": 10,
    "checkpoint.save_interval": 10,
    "checkpoint.max_predicted_events": 1000,
    "mlflow.experiment": "mae_pretraining",
}


@pytest.mark.parametrize("option", DEFAULTS)
def test_default(option):
    found: Any = MaeRun()
    for part in option.split("."):
        found = getattr(found, part)
    assert found == DEFAULTS[option]


def test_yaml_file_gives_name_and_features(tmp_path: Path):
    path = tmp_path / "small.yaml"
    path.write_text("model: {predict_channels: [npho], mask_ratio: 0.5}\n")
    run = load_mae_run(path)
    assert run.name == "small"
    assert run.model.predict_channels == ("npho",)
    assert run.digest() != MaeRun().digest()
    assert run.named("other").digest() == run.digest()


@pytest.mark.parametrize(
    ("section", "key", "value", "message"),
    [
        ("model", "predict_channels", ["time"], r"must be \[npho\] or \[npho, time\]"),
        ("model", "predict_channels", ["time", "npho"], r"must be \[npho\] or \[npho, time\]"),
        ("model", "mask_ratio", 1.0, "model.mask_ratio"),
        ("model", "decoder_dim", 7, "must be even"),
        ("model", "hidden_dim", 16, "unknown key 'model.hidden_dim'"),
        ("training", "loss_fn", "cosine", "training.loss_fn"),
    ],
)
def test_wrong_values_are_refused(section, key, value, message):
    with pytest.raises(ConfigError, match=message):
        validate(MaeRun, {section: {key: value}}, "run.yaml")
