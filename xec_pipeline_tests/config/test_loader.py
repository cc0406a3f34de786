from pathlib import Path
from typing import Any

import pytest

from xec_pipeline.config.loader import load_regressor_run, preset_names
from xec_pipeline.config.registry import (
    registered_mae,
    registered_regressor,
    run_names,
    run_path,
)
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.errors import ConfigError


def yaml_file(folder: Path, text: str, name: str = "mine.yaml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_presets_are_complete_runs():
    assert preset_names() == ["demo", "full", "full-ddp"]
    for name in preset_names():
        run = load_regressor_run(name)
        assert run.name == name
        assert run.run_dir == Path("artifacts") / name
        assert run.tasks.active
    assert load_regressor_run("full-ddp").distributed.num_gpus == 4


def test_a_file_states_only_what_differs_from_its_preset(tmp_path: Path):
    path = yaml_file(tmp_path, "preset: demo\ntraining: {epochs: 3}\n")
    run, preset = load_regressor_run(path), load_regressor_run("demo")
    assert run.training.epochs == 3
    assert run.training.lr == preset.training.lr
    assert run.model == preset.model
    assert run.name == "mine"


def test_scientific_notation_without_a_dot_is_a_number(tmp_path: Path):
    path = yaml_file(tmp_path, "tasks: {energy: {enabled: true}}\ntraining: {lr: 1e-4}\n")
    assert load_regressor_run(path).training.lr == 1e-4


def test_an_unknown_key_names_file_key_and_what_is_near(tmp_path: Path):
    text = "preset: demo\ntraining: {epoch: 3}\n"
    path = yaml_file(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_regressor_run(path)
    message = str(caught.value)
    assert str(path) in message
    assert "unknown key 'training.epoch' (did you mean 'epochs'" in message
    assert path.read_text() == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("trainng: {}\n", r"unknown key 'trainng' \(did you mean 'training'\?\)"),
        ("training: {lr: fast}\n", r"training\.lr: .*\(got 'fast'\)"),
        ("training: {lr: -1}\n", r"training\.lr: .*greater than 0"),
        ("training: {lr: .inf}\n", r"training\.lr: .*finite"),
        ("training: {compile: quick}\n", r"compile must be one of none, default"),
        ("model: {encoder_dim: 100}\n", r"multiple of 32, got 100"),
        ("tasks: {energie: {enabled: true}}\n", r"'tasks\.energie' \(did you mean 'energy'"),
        ("mlflow: {run_name: a/b}\n", r"run name 'a/b' must start with .* hold only letters"),
        ("training:\n  lr: [\n", r"not YAML"),
        ("- a list\n", r"expected sections such as 'data:'.*, got list"),
        ("{}\n", r"no task is enabled; set tasks"),
    ],
)
def test_what_is_wrong_is_said_with_the_file(tmp_path: Path, text: str, expected: str):
    path = yaml_file(tmp_path, text)
    with pytest.raises(ConfigError, match=expected) as caught:
        load_regressor_run(path)
    assert str(path) in str(caught.value)


def test_all_mistakes_are_reported_together(tmp_path: Path):
    path = yaml_file(tmp_path, "preset: demo\ntraining: {epoch: 3, lr: x}\n")
    with pytest.raises(ConfigError, match=r"(?=.*'training\.epoch')(?=.*training\.lr)"):
        load_regressor_run(path)


def test_a_source_that_is_not_there_names_the_near_preset(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"did you mean 'demo'\?\); presets: demo, full"):
        load_regressor_run("deno")
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: no such file"):
        load_regressor_run(tmp_path / "nowhere.yaml")
    path = yaml_file(tmp_path, "preset: dmo\n")
    with pytest.raises(ConfigError, match=r"unknown preset 'dmo' \(did you mean 'demo'\?\)"):
        load_regressor_run(path)


def test_overrides_win_and_are_checked():
    run = load_regressor_run("demo", {"training.lr": "2e-5", "tasks.angle.enabled": False})
    assert run.training.lr == 2e-5
    assert "angle" not in run.tasks.active
    with pytest.raises(ConfigError, match=r"unknown key 'training\.rl'"):
        load_regressor_run("demo", {"training.rl": 1})


@pytest.mark.parametrize("name", ["a/b", "", ".hidden", "a b", "../up"])
def test_a_run_name_must_be_a_folder_name(name: str):
    with pytest.raises(ConfigError, match="must start with a letter or digit"):
        load_regressor_run("demo", {"mlflow.run_name": name})


def test_a_registered_run_is_called_like_its_file(tmp_path, monkeypatch):
    monkeypatch.setenv("XEC_RUNS", str(tmp_path))
    (tmp_path / "regressor").mkdir()
    (tmp_path / "regressor" / "mine.yaml").write_text("preset: demo\n")
    assert registered_regressor("mine").name == "mine"
    (tmp_path / "regressor" / "mine.yaml").write_text("preset: demo\nmlflow: {run_name: other}\n")
    with pytest.raises(ConfigError, match=r"run_name is 'other', expected 'mine' like the file"):
        registered_regressor("mine")


def test_digest_changes_with_what_decides_the_weights_only():
    base = load_regressor_run("demo")
    same = load_regressor_run("demo", {"mlflow.run_name": "b", "checkpoint.save_interval": 3})
    other = load_regressor_run("demo", {"training.seed": 5})
    assert base.digest() == same.digest() != other.digest()


@pytest.mark.parametrize(
    "option",
    [
        "data.test_path=elsewhere",
        "data.shard_dir=elsewhere",
        "data.num_workers=7",
        "data.num_threads=7",
        "data.prefetch_factor=7",
        "data.chunksize=7",
        "data.log_invalid_npho=false",
        "training.profile=true",
        "distributed.num_gpus=2",
        "checkpoint.save_dir=elsewhere",
        "checkpoint.save_artifacts=false",
        "checkpoint.refresh_lr=true",  # there is nothing to resume
        "export.onnx=other.onnx",
    ],
)
def test_digest_ignores_where_and_how_fast(option):
    key, _, value = option.partition("=")
    assert load_regressor_run("demo", {key: value}).digest() == load_regressor_run("demo").digest()


def test_a_copy_of_the_checkpoint_is_kept_every_ten_epochs():
    assert load_regressor_run("full").checkpoint.save_interval == 10


def test_digest_of_the_evaluation_knows_the_fiducial_volume():
    def digest(**cut: object) -> str:
        changes = {f"data.fiducial.{name}": value for name, value in cut.items()}
        return load_regressor_run("demo", changes).evaluation_digest()

    assert digest(enabled=False, w_max=30.0) == digest()
    assert digest(enabled=True) != digest()
    assert digest(enabled=True, w_max=30.0) != digest(enabled=True)


def test_digest_knows_where_the_weights_come_from():
    start = {"checkpoint.resume_from": "old.pth"}
    changes: list[dict[str, Any]] = [
        {},
        start,
        {"mae": "first"},
        {"training.epochs": 99},
        {**start, "checkpoint.reset_epoch": True},
        {**start, "checkpoint.refresh_lr": True},
        {"checkpoint.resume_from": "new.pth"},
    ]
    digests = {load_regressor_run("demo", change).digest() for change in changes}
    assert len(digests) == len(changes)


def test_a_run_survives_the_way_through_plain_values():
    run = load_regressor_run("demo")
    assert RegressorRun.model_validate(run.model_dump()) == run


def test_registry_lists_runs_and_names_the_near_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XEC_RUNS", str(tmp_path))
    folder = tmp_path / "regressor"
    folder.mkdir()
    yaml_file(folder, "preset: demo\n", "deep.yaml")
    yaml_file(folder, "preset: demo\n", "alpha.yaml")
    assert run_names("regressor") == ["alpha", "deep"]
    assert run_names("mae") == []
    assert registered_regressor("alpha").name == "alpha"
    with pytest.raises(ConfigError, match=r"no regressor run 'deeep' .*did you mean 'deep'"):
        run_path("regressor", "deeep")


def test_a_file_that_cannot_be_a_run_is_left_out(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("XEC_RUNS", str(tmp_path))
    folder = tmp_path / "regressor"
    folder.mkdir()
    for name in ("alpha", "alpha-2", "Copy of alpha", "production"):
        yaml_file(folder, "preset: demo\n", f"{name}.yaml")
    assert run_names("regressor") == ["alpha", "alpha-2"]
    told = caplog.text
    assert "Copy of alpha.yaml: run name 'Copy of alpha' must start" in told
    assert "production.yaml: 'production' is no run name" in told
    with pytest.raises(ConfigError, match=r"Copy of alpha\.yaml: run name 'Copy of alpha' must"):
        run_path("regressor", "Copy of alpha")
    with pytest.raises(ConfigError, match=r"no regressor run 'Copy' .*registered: alpha, alpha-2$"):
        run_path("regressor", "Copy")


def test_a_regressor_names_a_registered_mae(tmp_path, monkeypatch):
    monkeypatch.setenv("XEC_RUNS", str(tmp_path))
    for kind in ("mae", "regressor"):
        (tmp_path / kind).mkdir()
    (tmp_path / "mae" / "base.yaml").write_text("")
    (tmp_path / "regressor" / "mine.yaml").write_text("preset: demo\nmae: base\n")
    assert registered_regressor("mine").mae == "base"
    assert registered_mae("base").encoder_path == Path("artifacts/base/mae_encoder_best.pth")
    (tmp_path / "regressor" / "mine.yaml").write_text("preset: demo\nmae: bas\n")
    with pytest.raises(ConfigError, match=r"mine.yaml: mae: no mae run 'bas' .* mean 'base'"):
        registered_regressor("mine")
    (tmp_path / "mae" / "base.yaml").write_text("mlflow: {run_name: other}\n")
    with pytest.raises(ConfigError, match="expected 'base' like the file"):
        registered_mae("base")
