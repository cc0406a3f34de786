"""Dagster's own verdict on the real graph, after edits of code, data and configuration.

Each case works on a copy of the package, so that code can be edited; only the workers are fake.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import xec_pipeline.units

PACKAGE = Path(xec_pipeline.units.__file__).parent
PROBE = Path(__file__).parent / "fake_chain.py"
RUNS = "preset: demo\ndata: {train_path: toy/train, val_path: toy/val, test_path: toy/test}\n"
MAE = "data: {train_path: toy/train, val_path: toy/val}\n"
INPAINTER = (
    "preset: inpainter-demo\n"
    "data: {train_path: toy/train, val_path: toy/val, test_path: toy/test}\n"
    "mae: demo\nvalidation: {regressor: demo}\n"
)
DATASETS = ("toy.train", "toy.val", "toy.test")
REGRESSORS = ("demo", "demo-scratch")
COMPARED = ("predictions_csv", "baselines_csv")
ONCE = ("event_displays", "efficiency", "onnx")
INPAINTED = ("predictions_root", "dead_study", "export")


def regressor(*names: str, runs: tuple[str, ...] = REGRESSORS) -> set[str]:
    return {f"regressor/{name}[{run}]" for name in names for run in runs}


def inpainter(*names: str) -> set[str]:
    return {f"inpainter/{name}[demo]" for name in names}


ALL = {
    *(f"data/shards[{dataset}]" for dataset in DATASETS),
    "mae/encoder[demo]",
    *regressor("weights", "resolution_table", *COMPARED),
    *regressor("resolution_pdf", *ONCE, runs=("demo",)),
    *inpainter("weights", "analysis", *INPAINTED),
}


class Copy:
    """A working folder with a copy of the package, a registry of four runs, and an instance."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(
            PACKAGE, folder / "xec_pipeline", ignore=shutil.ignore_patterns("__pycache__")
        )
        for name in ("workspace.yaml", "dagster.yaml", "pyproject.toml"):
            shutil.copy(PACKAGE.parent / name, folder / name)
        for dataset in ("train", "val", "test"):
            path = folder / "toy" / dataset / "MCGamma_000001.root"
            path.parent.mkdir(parents=True)
            path.write_text(dataset)
        self.write("runs/mae/demo.yaml", MAE)
        self.write("runs/regressor/demo.yaml", f"{RUNS}mae: demo\n")
        self.write("runs/regressor/demo-scratch.yaml", RUNS)
        self.write("runs/inpainter/demo.yaml", INPAINTER)

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def append(self, name: str, text: str) -> None:
        path = self.folder / name
        path.write_text(path.read_text() + text)

    def demo(
        self, *arguments: str, versions: dict[str, str] | None = None
    ) -> tuple[set[str], set[str]]:
        """Call the fake demo; return what it made and what is then not fresh."""
        env = {
            **os.environ,
            "PYTHONPATH": str(self.folder),
            "DAGSTER_HOME": str(self.folder),
            "FAKE_VERSIONS": json.dumps(versions or {}),
        }
        env.pop("XEC_RUNS", None)
        command = [sys.executable, "-W", "ignore", str(PROBE), *arguments]
        done = subprocess.run(
            command, cwd=self.folder, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        answer = json.loads(done.stdout.splitlines()[-1])
        not_fresh = {name for name, status in answer["status"].items() if status != "FRESH"}
        return set(answer["made"]), not_fresh


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder after a first demo."""
    copy = Copy(tmp_path_factory.mktemp("chain"))
    made, not_fresh = copy.demo()
    assert made == ALL
    assert not_fresh == set()
    return copy.folder


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Copy:
    """A copy of it, to be edited."""
    shutil.copytree(finished, tmp_path / "chain")
    again = Copy.__new__(Copy)
    again.folder = tmp_path / "chain"
    return again


@pytest.mark.slow
def test_second_demo_does_nothing_and_drawing_code_concerns_figures_only(copy):
    copy.append("xec_pipeline/evaluation/plots/energy.py", "\n# a comment is no change\n")
    assert copy.demo() == (set(), set())
    copy.append("xec_pipeline/evaluation/plots/energy.py", "\nADDED = 1\n")
    figures = regressor("resolution_pdf", runs=("demo",))
    never_made = regressor("resolution_pdf", *ONCE, runs=("demo-scratch",))
    assert copy.demo("look", "as_users_do") == (set(), figures | never_made)
    assert copy.demo() == (figures, set())


@pytest.mark.slow
def test_changed_files_are_followed_only_as_far_as_content_changes(copy):
    copy.append("toy/test/MCGamma_000001.root", "more")
    # The mean light of each sensor is in the ROOT files alone.
    assert copy.demo()[0] == {"data/shards[toy.test]", "inpainter/predictions_root[demo]"}
    copy.append("toy/test/MCGamma_000001.root", "and more")
    made, not_fresh = copy.demo(versions={"shards": "other"})
    assert made == {
        "data/shards[toy.test]",
        *regressor(*COMPARED),
        *regressor(*ONCE, runs=("demo",)),
        *inpainter(*INPAINTED),
    }
    assert not_fresh == set()


@pytest.mark.slow
def test_changed_options_retrain_and_a_comment_does_not(copy):
    copy.append("runs/regressor/demo.yaml", "# a comment\n")
    assert copy.demo() == (set(), set())
    copy.append("runs/regressor/demo.yaml", "training: {epochs: 77}\n")
    made, not_fresh = copy.demo(versions={"train": "other"})
    assert not_fresh == set()
    assert "regressor/weights[demo]" in made
    assert "regressor/predictions_csv[demo]" in made
    assert "regressor/resolution_pdf[demo]" not in made
    assert not any(name.startswith(("data/", "mae/")) for name in made)
    assert not any("scratch" in name for name in made)
    assert made & inpainter("weights", "analysis", *INPAINTED) == inpainter("dead_study")


@pytest.mark.slow
def test_regressor_follows_the_encoder_it_names_only_if_its_weights_change(copy):
    copy.append("runs/mae/demo.yaml", "training: {epochs: 7}\n")
    assert copy.demo("look") == (set(), {"mae/encoder[demo]"})
    assert copy.demo() == ({"mae/encoder[demo]"}, set()), "an equal result"
    copy.append("runs/mae/demo.yaml", "model: {mask_ratio: 0.5}\n")
    made, not_fresh = copy.demo(versions={"train_mae": "other"})
    assert made == {
        "mae/encoder[demo]",
        *regressor("weights", "predictions_csv", "event_displays", "onnx", runs=("demo",)),
        *inpainter("weights", *INPAINTED),
    }
    assert not_fresh == set()


@pytest.mark.slow
def test_another_encoder_can_be_named(copy):
    copy.write("runs/mae/other.yaml", MAE)
    copy.write("runs/regressor/demo.yaml", f"{RUNS}mae: other\n")
    made, not_fresh = copy.demo(versions={"train_mae": "other"})
    assert {"mae/encoder[other]", "regressor/weights[demo]"} <= made
    assert not any("scratch" in name for name in made)
    assert not_fresh == set()
