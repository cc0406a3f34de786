from pathlib import Path

import pytest

from xec_pipeline.config.loader import load_regressor_run
from xec_pipeline.config.origin import Origin, encoder_by_name, encoder_run, resumed_run


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry with a run `base` of each kind, in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XEC_RUNS", str(tmp_path / "runs"))
    for kind, preset in (
        ("mae", "mae-demo"),
        ("regressor", "demo"),
        ("inpainter", "inpainter-demo"),
    ):
        (tmp_path / "runs" / kind).mkdir(parents=True)
        (tmp_path / "runs" / kind / "base.yaml").write_text(f"preset: {preset}\n")
    there = "preset: demo\ncheckpoint: {save_dir: elsewhere}\n"
    (tmp_path / "runs" / "regressor" / "there.yaml").write_text(there)
    (tmp_path / "runs" / "regressor" / "broken.yaml").write_text("preset: demu\n")
    return tmp_path


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("artifacts/base/checkpoint_best.pth", Origin("regressor", "base")),
        ("artifacts/base/mae_checkpoint_last.pth", Origin("mae", "base")),
        ("artifacts/base/mae_encoder_epoch_10.pth", Origin("mae", "base")),
        ("artifacts/base/inpainter_checkpoint_best.pth", Origin("inpainter", "base")),
        ("artifacts/other/checkpoint_best.pth", None),
        ("elsewhere/base/checkpoint_best.pth", None),
        ("elsewhere/there/checkpoint_best.pth", Origin("regressor", "there")),
        ("artifacts/there/checkpoint_best.pth", None),
        ("artifacts/broken/checkpoint_best.pth", None),
        (None, None),
    ],
)
def test_the_run_of_a_checkpoint_is_that_of_its_folder(registry, file, expected):
    run = load_regressor_run("demo", {"checkpoint.resume_from": file})
    assert resumed_run(run) == expected


def test_absolute_paths_are_the_same(registry):
    file = registry / "artifacts" / "base" / "checkpoint_best.pth"
    run = load_regressor_run("demo", {"checkpoint.resume_from": str(file)})
    assert resumed_run(run) == Origin("regressor", "base")


@pytest.mark.parametrize(
    ("file", "by_name", "begins_with"),
    [
        (None, "named", "named"),
        ("artifacts/base/mae_encoder_best.pth", None, "base"),
        # The encoder came with the checkpoint, from wherever that had it.
        ("artifacts/base/checkpoint_last.pth", None, None),
        ("artifacts/unregistered/mae_encoder_best.pth", None, None),
        # Its own checkpoint began with the encoder that it names.
        ("artifacts/there/../../elsewhere/there/checkpoint_last.pth", "named", "named"),
    ],
)
def test_what_is_resumed_wins_over_the_named_encoder(registry, file, by_name, begins_with):
    options = {"checkpoint.resume_from": file, "mae": "named", "checkpoint.save_dir": "elsewhere"}
    (registry / "artifacts" / "there").mkdir(parents=True)
    run = load_regressor_run("demo", options).named("there")
    assert (encoder_by_name(run), encoder_run(run)) == (by_name, begins_with)
