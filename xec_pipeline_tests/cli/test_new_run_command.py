from pathlib import Path

import pytest
import yaml

from xec_pipeline.__main__ import main
from xec_pipeline.config.loader import load_regressor_run
from xec_pipeline.config.registry import (
    registered_inpainter,
    registered_mae,
    registered_regressor,
)


@pytest.fixture(autouse=True)
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder with an encoder `base` in its registry."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XEC_RUNS", raising=False)
    path = tmp_path / "runs" / "mae" / "base.yaml"
    path.parent.mkdir(parents=True)
    path.write_text("preset: mae-demo\n")
    return tmp_path / "runs"


def new_run(*words: str) -> int:
    return main(["new-run", *words])


def options_of(path: Path) -> dict[str, object]:
    content = yaml.safe_load(path.read_text())
    assert isinstance(content, dict)
    return content


def test_the_file_states_only_what_differs_and_says_how_to_train(registry, capsys):
    words = ["--set", "training.lr=1e-3", "--set", "training.epochs=3", "--mae", "base"]
    words += ["--set", "checkpoint.save_artifacts=false"]
    assert new_run("regressor", "deep", "--preset", "demo", *words) == 0
    path = registry / "regressor" / "deep.yaml"
    # Three epochs are what the preset has.
    assert options_of(path) == {
        "preset": "demo",
        "mae": "base",
        "training": {"lr": 1e-3},
        "checkpoint": {"save_artifacts": False},
    }
    assert path.read_text().startswith(
        "# Train it: xec train regressor --config runs/regressor/deep.yaml\n"
    )
    run = registered_regressor("deep")
    assert (run.name, run.training.lr, run.mae) == ("deep", 1e-3, "base")
    shown = capsys.readouterr().out
    assert "training.lr                0.001" in shown
    assert "checkpoint.save_artifacts  false" in shown
    assert "xec train regressor --config runs/regressor/deep.yaml" in shown
    assert "materialize regressor/weights [deep]" in shown


def test_another_run_is_taken_over_with_its_preset(registry):
    assert new_run("regressor", "deep", "--preset", "demo", "--set", "training.lr=1e-3") == 0
    words = ["--from", "deep", "--mae", "base", "--set", "model.outer_fine_pool=null"]
    assert new_run("regressor", "deeper", *words) == 0
    path = registry / "regressor" / "deeper.yaml"
    assert options_of(path) == {"preset": "demo", "mae": "base", "training": {"lr": 1e-3}}
    assert "# Made from the regressor run 'deep'." in path.read_text()
    assert new_run("regressor", "alone", "--from", "deeper", "--mae", "null") == 0
    assert registered_regressor("alone").mae is None


def test_another_preset_gives_the_same_run_in_other_words(registry):
    (registry / "regressor").mkdir()
    (registry / "regressor" / "first.yaml").write_text("preset: full\ntraining: {epochs: 7}\n")
    assert new_run("regressor", "second", "--from", "first", "--preset", "full-ddp") == 0
    first, second = registered_regressor("first"), registered_regressor("second")
    assert options_of(registry / "regressor" / "second.yaml")["preset"] == "full-ddp"
    assert first.named("second") == second
    assert first.digest() == second.digest()


@pytest.mark.parametrize(
    ("kind", "preset", "words", "read"),
    [
        ("mae", "mae-demo", ["--set", "model.mask_ratio=0.5"], registered_mae),
        (
            "inpainter",
            "inpainter-demo",
            ["--mae", "base", "--set", "training.epochs=5"],
            registered_inpainter,
        ),
    ],
)
def test_runs_of_the_other_kinds(kind, preset, words, read):
    assert new_run(kind, "mine", "--preset", preset, *words) == 0
    assert read("mine").name == "mine"


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--set", "training.epoch=3"], "unknown key 'training.epoch' (did you mean 'epochs'"),
        (["--set", "training.lr"], "--set training.lr: expected OPTION=VALUE"),
        (["--set", "training.lr=-1"], "training.lr: Input should be greater than 0"),
        (["--set", "trainng.lr=1"], "unknown key 'trainng' (did you mean 'training'"),
        (["--mae", "bas"], "no mae run 'bas' in runs/mae (did you mean 'base'?)"),
        (["--preset", "dem"], "'dem' is neither a preset nor a .yaml file (did you mean 'demo'?)"),
        (["--from", "none"], "no regressor run 'none' in runs/regressor"),
    ],
)
def test_a_mistake_is_said_as_in_loading_and_nothing_is_written(registry, words, expected, capsys):
    assert new_run("regressor", "mine", "--preset", "demo", *words) == 2
    assert expected in capsys.readouterr().err
    assert not list(registry.glob("regressor/*"))


@pytest.mark.parametrize(
    ("kind", "name", "words", "expected"),
    [
        ("regressor", "a/b", ["--preset", "demo"], "run name 'a/b' must start with"),
        ("regressor", "mine", [], "name a preset (--preset) or another run (--from)"),
        ("mae", "mine", ["--preset", "mae-demo", "--mae", "base"], "leave --mae out"),
        ("mae", "mine", ["--preset", "demo"], "'demo' is neither a preset"),
        ("regressor", "mine", ["--preset", "runs/x.yaml"], "is a file; --preset takes the name"),
    ],
)
def test_what_cannot_be_a_run(kind, name, words, expected, capsys):
    assert new_run(kind, name, *words) == 2
    assert expected in capsys.readouterr().err


def test_an_existing_run_is_replaced_only_if_asked(registry, capsys):
    path = registry / "regressor" / "mine.yaml"
    path.parent.mkdir()
    path.write_text("preset: demo  # by hand\n")
    assert new_run("regressor", "mine", "--preset", "demo", "--set", "training.lr=1e-3") == 2
    assert "this run exists already; give --overwrite" in capsys.readouterr().err
    assert path.read_text() == "preset: demo  # by hand\n"
    words = ["--preset", "demo", "--set", "training.lr=1e-3", "--overwrite"]
    assert new_run("regressor", "mine", *words) == 0
    assert load_regressor_run(path).training.lr == 1e-3
    assert [item.name for item in path.parent.iterdir()] == ["mine.yaml"]


def test_missing_events_are_a_warning(registry, caplog):
    words = ["--set", "data.train_path=/nowhere/train", "--set", "data.val_path="]
    assert new_run("regressor", "mine", "--preset", "demo", *words) == 0
    assert (registry / "regressor" / "mine.yaml").is_file()
    assert "data.train_path: /nowhere/train: no such file or folder" in caplog.text
    assert "data.val_path is empty; give --set data.val_path=PATH" in caplog.text
