import argparse
import functools
import re

import pytest
import yaml

from xec_pipeline.cli import train
from xec_pipeline.config.flags import arguments_from
from xec_pipeline.config.loader import load_regressor_run
from xec_pipeline.errors import ConfigError
from xec_pipeline.training import tracking
from xec_pipeline.workers import displays
from xec_pipeline_tests.training.tiny import tiny_tree

REFERENCE_FLAGS = {
    # The flags of the earlier system, and those that its documents promise.
    "regressor": "config train_path val_path tree batch_size chunksize num_workers num_threads "
    "prefetch_factor npho_scale npho_scale2 time_scale time_shift sentinel_time npho_threshold "
    "npho_scheme outer_mode outer_fine_pool hidden_dim drop_path_rate epochs lr weight_decay "
    "warmup_epochs ema_decay channel_dropout_rate grad_clip grad_accum_steps compile tasks "
    "loss_balance resume_from save_dir refresh_lr reset_epoch new_mlflow_run mlflow_experiment "
    "run_name onnx profile save_artifacts",
    "mae": "config train_root val_root save_path epochs batch_size chunksize num_workers "
    "num_threads prefetch_factor npho_branch time_branch npho_scale npho_scale2 time_scale "
    "time_shift sentinel_time sentinel_npho outer_mode outer_fine_pool mask_ratio decoder_dim lr "
    "lr_scheduler lr_min warmup_epochs weight_decay loss_fn loss_beta npho_weight time_weight "
    "auto_channel_weight grad_clip grad_accum_steps ema_decay time_mask_ratio_scale npho_threshold "
    "npho_time_weight no_npho_time_weight track_mae_rmse no_track_mae_rmse track_metrics "
    "no_track_metrics profile npho_scheme npho_loss_weight_enabled npho_loss_weight_alpha "
    "intensity_reweighting_enabled intensity_reweighting_nbins intensity_reweighting_target "
    "compile mlflow_experiment mlflow_run_name resume_from reset_epoch refresh_lr new_mlflow_run "
    "save_predictions",
    "inpainter": "config train_root val_root save_path mae_checkpoint freeze_encoder "
    "finetune_encoder global_only disable_mae_rmse_metrics mask_npho_flat save_interval "
    "mask_ratio loss_fn loss_beta npho_weight time_weight resume_from reset_epoch refresh_lr "
    "new_mlflow_run save_root_predictions",
}


def parsed(*words: str, kind: str = "regressor") -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    train.add_parser(parser.add_subparsers())
    return parser.parse_args(["train", kind, *words])


def test_ranks_come_from_the_flag_or_the_configuration():
    demo, many = load_regressor_run("demo"), load_regressor_run("full-ddp")
    assert train.rank_count(None, demo) == 1
    assert train.rank_count(None, many) == 4
    assert train.rank_count("2", many) == 2
    assert train.rank_count("auto", demo) >= 1
    with pytest.raises(ConfigError, match="expected auto or a number"):
        train.rank_count("two", demo)


def test_several_ranks_are_started_by_torchrun_with_the_same_flags(monkeypatch):
    started = []

    def record(command, env, check):
        started.append(command)
        return argparse.Namespace(returncode=7)

    monkeypatch.setattr("subprocess.run", record)
    args = parsed("--config", "demo", "--batch-size", "16", "--nproc-per-node", "2", "--overwrite")
    assert train.run(args) == 7
    (command,) = started
    assert "--nproc_per_node=2" in command
    worker = command.index("xec_pipeline.workers.train")
    assert command[worker + 1 :] == arguments_from(args)
    assert {"--batch_size=16", "--overwrite=true", "--auto_resume=false"} <= set(command)


def test_a_run_leaves_figures_of_test_events_and_a_checked_export(
    tiny_shards, tmp_path, monkeypatch
):
    few = functools.partial(displays.DisplayOptions, n_worst=1, n_events=10)
    monkeypatch.setattr(displays, "DisplayOptions", few)
    told = {}
    monkeypatch.setattr(tracking, "refer_to", lambda *words: told.update({words[2]: words}))
    tree = tiny_tree(tmp_path / "artifacts")
    tree["data"] |= {f"{name}_path": str(tiny_shards.path) for name in ("train", "val", "test")}
    tree["training"]["epochs"] = 1
    config = tmp_path / "tiny.yaml"
    config.write_text(yaml.safe_dump(tree))
    assert train.run(parsed("--config", str(config), "--nproc_per_node", "1")) == 0
    run_dir = load_regressor_run(config).run_dir
    for folder in (run_dir, run_dir / "test"):
        assert (folder / "predictions_energy_tiny.csv").is_file()
        assert (folder / "resolution_energy_tiny.pdf").is_file()
        assert (folder / "worst_events" / "worst_01_tiny.pdf").is_file()
    assert (run_dir / "face_weights_tiny.pdf").is_file()
    assert (run_dir / "model_raw.onnx").is_file()
    *_, figures = told["resolution_pdf"]
    drawn = {path.relative_to(run_dir).as_posix() for path in figures}
    assert {"resolution_energy_tiny.pdf", "test/resolution_energy_tiny.pdf"} <= drawn
    *_, shown = told["event_displays"]
    assert run_dir / "test" / "worst_events" / "worst_01_tiny.pdf" in shown
    exported = {path.name for path in told["onnx"][-1]}
    assert {"model.onnx", "model_raw.onnx"} <= exported
    assert run_dir / "test" / "predictions_energy_tiny.csv" in told["predictions_csv"][-1]


def test_an_mae_has_its_own_worker_and_flags(monkeypatch):
    started = []

    def record(command, env, check):
        started.append(command)
        return argparse.Namespace(returncode=0)

    monkeypatch.setattr("subprocess.run", record)
    words = ["--config", "mae-demo", "--nproc_per_node", "2", "--predict_channels", "npho"]
    assert train.run(parsed(*words, kind="mae")) == 0
    (command,) = started
    worker = command.index("xec_pipeline.workers.train_mae")
    assert command[worker + 1 : worker + 5] == [
        "--config",
        "mae-demo",
        "--predict_channels",
        "npho",
    ]


@pytest.mark.parametrize("kind", REFERENCE_FLAGS)
def test_the_help_of_a_command_shows_every_flag_of_the_reference(kind, capsys):
    with pytest.raises(SystemExit):
        parsed("--help", kind=kind)
    shown = set(re.findall(r"--(\w+)", capsys.readouterr().out))
    assert not set(REFERENCE_FLAGS[kind].split()) - shown
