import argparse

import pytest

from xec_pipeline.config.flags import (
    add_training_flags,
    arguments_from,
    flag_name,
    options,
    overrides_from,
)
from xec_pipeline.config.loader import load_regressor_run
from xec_pipeline.config.run import RegressorRun
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
