from pathlib import Path

import pytest

from xec_pipeline.config.loader import load_regressor_run
from xec_pipeline.config.origin import Origin, resumed_run


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A registry with a run `base` of each kind, in the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XEC_RUNS", str(tmp_path / "runs"))
    for kind in ("mae", "regressor", "inpainter"):
        (tmp_path / "runs" / kind).mkdir(parents=True)
        (tmp_path / "runs" / kind / "base.yaml").write_text("")
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
