import argparse

import pytest

from xec_pipeline.config.flags import (
    add_training_flags,
    arguments_from,
    flag_name,
    options,
    overrides_from,
)
from xec_pipeline.config.inpainter import InpainterRun
from xec_pipeline.config.loader import (
    load_inpainter_run,
    load_mae_run,
    load_regressor_run,
    preset_names,
)
from xec_pipeline.config.mae import MaeRun
from xec_pipeline.config.model import EncoderConfig
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.config.run_base import Run
from xec_pipeline.errors import ConfigError

CONTRACT_FLAGS = (
    "train_path val_path tree batch_size chunksize num_workers num_threads prefetch_factor "
    "npho_scale npho_scale2 time_scale time_shift sentinel_time npho_threshold npho_scheme "
    "outer_mode outer_fine_pool hidden_dim drop_path_rate epochs lr weight_decay warmup_epochs "
    "ema_decay channel_dropout_rate grad_clip grad_accum_steps compile tasks loss_balance "
    "resume_from save_dir refresh_lr reset_epoch new_mlflow_run mlflow_experiment run_name onnx "
    "profile save_artifacts"
)


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(allow_abbrev=False)
    add_training_flags(made)
    return made


def parsed(*words: str):
    return overrides_from(parser().parse_args(["--config", "demo", *words]))


def test_every_flag_of_the_contract_exists_and_has_help():
    text = parser().format_help()
    for name in CONTRACT_FLAGS.split():
        assert f"--{name} " in text


def test_every_option_has_its_own_flag_and_a_sentence():
    names = [flag_name(dotted) for dotted, _ in options(RegressorRun)]
    assert len(names) == len(set(names)) > 60
    assert all(field.description for _, field in options(RegressorRun))


@pytest.mark.parametrize("flag", ["--batch_size", "--batch-size"])
def test_underscores_and_hyphens_are_the_same(flag):
    assert parsed(flag, "32") == {"data.batch_size": "32"}


def test_only_flags_that_are_given_override():
    assert parsed() == {}
    assert load_regressor_run("demo", parsed()) == load_regressor_run("demo")


@pytest.mark.parametrize(
    ("words", "read"),
    [
        (["--lr", "1e-4"], lambda run: run.training.lr == 1e-4),
        (["--save_artifacts", "false"], lambda run: run.checkpoint.save_artifacts is False),
        (["--refresh_lr"], lambda run: run.checkpoint.refresh_lr is True),
        (["--onnx", "null"], lambda run: run.export.onnx is None),
        (["--ema_decay", "null"], lambda run: run.training.ema_decay is None),
        (["--lr_scheduler", "none"], lambda run: run.training.lr_scheduler in {None, "none"}),
        (["--outer_fine_pool", "5", "3"], lambda run: run.model.outer_fine_pool == (5, 3)),
        (["--time_shift=-0.46"], lambda run: run.normalization.time_shift == -0.46),
        (["--tasks", "energy", "angle"], lambda run: run.tasks.active == ("angle", "energy")),
        (["--set", "tasks.energy.loss_fn=l1"], lambda run: run.tasks.energy.loss_fn == "l1"),
        (["--set", "data.fiducial.w_max=null"], lambda run: run.data.fiducial.w_max is None),
        (["--fiducial", "--fiducial_w_max", "30"], lambda run: run.data.fiducial.w_max == 30),
        (["--mlflow_experiment", "x"], lambda run: run.mlflow.experiment == "x"),
        (["--compile", "false"], lambda run: run.training.compile == "none"),
    ],
)
def test_a_flag_changes_its_option(words, read):
    assert read(load_regressor_run("demo", parsed(*words)))


def test_a_wrong_value_names_the_option_and_what_was_given():
    with pytest.raises(ConfigError, match=r"data\.batch_size: .*integer.*'many'"):
        load_regressor_run("demo", parsed("--batch_size", "many"))


def test_an_unknown_task_or_a_set_without_value_is_refused(capsys):
    with pytest.raises(SystemExit):
        parsed("--tasks", "enrgy")
    assert "'energy'" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="expected OPTION=VALUE"):
        parsed("--set", "training.lr")


def test_a_command_line_comes_back_from_what_was_parsed():
    words = ["--config", "demo", "--time_shift=-0.5", "--outer-fine-pool", "5", "3", "--refresh_lr"]
    words += ["--tasks", "energy", "--overwrite", "--set", "tasks.energy.weight=2"]
    args = parser().parse_args(words)
    again = parser().parse_args(arguments_from(args))
    assert vars(again) == vars(args)


HIDING_FLAGS = (
    "config train_root train_path val_root val_path save_path save_dir run_name epochs batch_size "
    "chunksize num_workers num_threads prefetch_factor npho_branch time_branch tree "
    "npho_scale npho_scale2 time_scale time_shift sentinel_time sentinel_npho npho_scheme "
    "outer_mode outer_fine_pool encoder_dim dim_feedforward num_fusion_layers mask_ratio "
    "predict_channels lr lr_scheduler lr_min warmup_epochs weight_decay loss_fn "
    "loss_beta npho_weight time_weight channel_dropout_rate grad_clip "
    "grad_accum_steps ema_decay amp time_mask_ratio_scale npho_threshold time_npho_threshold "
    "npho_time_weight no_npho_time_weight track_mae_rmse no_track_mae_rmse track_metrics "
    "no_track_metrics profile npho_loss_weight npho_loss_weight_enabled npho_loss_weight_alpha "
    "intensity_reweighting intensity_reweighting_enabled intensity_reweighting_nbins "
    "intensity_reweighting_target intensity_reweighting_max_weight compile compile_fullgraph "
    "mlflow_experiment mlflow_run_name resume_from reset_epoch refresh_lr new_mlflow_run "
    "save_predictions save_interval root_save_interval num_gpus auto_resume overwrite "
    "max_events max_val_events save_root_predictions"
)
FLAGS = {
    MaeRun: f"{HIDING_FLAGS} decoder_dim auto_channel_weight",
    InpainterRun: f"{HIDING_FLAGS} mae mae_checkpoint freeze_encoder finetune_encoder head_type "
    "global_only disable_mae_rmse_metrics mask_npho_flat use_local_context use_masked_attention "
    "cross_attn_k cross_attn_hidden cross_attn_latent_dim cross_attn_pos_dim onnx torchscript",
}


def mae_parser(kind: type[Run] = MaeRun) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(allow_abbrev=False)
    add_training_flags(made, kind)
    return made


def mae_of(*words: str) -> MaeRun:
    args = mae_parser().parse_args(["--config", "mae-demo", *words])
    return load_mae_run("mae-demo", overrides_from(args, MaeRun))


def inpainter_of(*words: str) -> InpainterRun:
    args = mae_parser(InpainterRun).parse_args(["--config", "inpainter-demo", *words])
    return load_inpainter_run("inpainter-demo", overrides_from(args, InpainterRun))


@pytest.mark.parametrize("kind", FLAGS)
def test_every_flag_of_a_training_that_hides_sensors_exists_and_has_help(kind):
    shown = {
        text: action.help
        for action in mae_parser(kind)._actions
        for text in action.option_strings
        if action.help != argparse.SUPPRESS
    }
    assert all(shown[f"--{name}"] for name in FLAGS[kind].split())
    names = [flag_name(dotted) for dotted, _ in options(kind)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("words", "read"),
    [
        (["--predict_channels", "npho"], lambda run: run.model.predict_channels == ("npho",)),
        (
            ["--predict-channels", "npho", "time"],
            lambda run: run.model.predict_channels == ("npho", "time"),
        ),
        (["--save_predictions"], lambda run: run.checkpoint.save_predictions is True),
        (["--save-predictions=false"], lambda run: run.checkpoint.save_predictions is False),
        (["--no_track_mae_rmse"], lambda run: run.training.track_mae_rmse is False),
        (["--no-npho-time-weight"], lambda run: run.training.time.use_npho_weight is False),
        (["--time_weight", "2"], lambda run: run.training.time.weight == 2),
        (["--train_root", "x/"], lambda run: run.data.train_path == "x/"),
        (["--save_path", "out/a"], lambda run: str(run.run_dir) == "out/a" and run.name == "a"),
        (["--intensity_reweighting"], lambda run: run.training.intensity_reweighting.enabled),
        (["--npho-loss-weight-enabled"], lambda run: run.training.npho_loss_weight.enabled),
        (["--ema_decay", "null"], lambda run: run.training.ema_decay is None),
    ],
)
def test_a_flag_of_an_mae_changes_its_option(words, read):
    assert read(mae_of(*words))


@pytest.mark.parametrize(
    ("words", "read"),
    [
        (["--freeze_encoder"], lambda run: run.model.freeze_encoder is True),
        (["--finetune_encoder"], lambda run: run.model.freeze_encoder is False),
        (["--global-only"], lambda run: run.model.use_local_context is False),
        (["--disable_mae_rmse_metrics"], lambda run: run.training.track_mae_rmse is False),
        (["--mask_npho_flat"], lambda run: run.model.mask_npho_flat is True),
        (["--mask_ratio", "0.2"], lambda run: run.model.mask_ratio == 0.2),
        (["--set", "model.mask_ratio.us=0.2"], lambda run: run.model.mask_ratio.us == 0.2),
        (["--mae_checkpoint", "a.pth"], lambda run: str(run.encoder_path) == "a.pth"),
        (
            ["--mae", "x"],
            lambda run: str(run.encoder_path) == "artifacts/x/mae_encoder_best.pth",
        ),
        (
            ["--save_root_predictions=false"],
            lambda run: run.checkpoint.save_predictions is False,
        ),
        (["--torchscript", "null"], lambda run: run.export.torchscript is None),
        (["--set", "validation.seed=3"], lambda run: run.validation.seed == 3),
    ],
)
def test_a_flag_of_an_inpainter_changes_its_option(words, read):
    assert read(inpainter_of(*words))


def test_the_command_line_of_an_mae_comes_back():
    words = ["--config", "mae-demo", "--predict_channels", "npho", "--no_track_mae_rmse"]
    args = mae_parser().parse_args([*words, "--save_path", "out/a", "--val-root", "v"])
    again = mae_parser().parse_args(arguments_from(args, MaeRun))
    assert vars(again) == vars(args)


def test_presets_of_one_kind_are_not_offered_to_the_other():
    assert preset_names("mae") == ["mae-demo", "mae-full"]
    for name in preset_names("mae"):
        assert load_mae_run(name).name == name
    assert preset_names("inpainter") == ["inpainter-demo", "inpainter-full"]
    for name in preset_names("inpainter"):
        assert load_inpainter_run(name).name == name
    assert preset_names() == ["demo", "full", "full-ddp"]
    with pytest.raises(ConfigError, match="neither a preset nor"):
        load_mae_run("demo")


def test_the_presets_fit_together():
    pairs: list[tuple[str, RegressorRun | InpainterRun]] = [
        ("mae-demo", load_regressor_run("demo")),
        ("mae-full", load_regressor_run("full")),
        ("mae-demo", load_inpainter_run("inpainter-demo")),
        ("mae-full", load_inpainter_run("inpainter-full")),
    ]
    for mae, fine in pairs:
        pre = load_mae_run(mae)
        assert pre.normalization == fine.normalization
        shared = set(EncoderConfig.model_fields) - {"drop_path_rate", "dropout"}
        assert pre.model.model_dump(include=shared) == fine.model.model_dump(include=shared)
