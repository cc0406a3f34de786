"""A working folder in which the whole graph can be made by workers that only pretend."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import xec_pipeline.units

PACKAGE = Path(xec_pipeline.units.__file__).parent
HALF_COMPILED = shutil.ignore_patterns("*.pyc.*", ".*.part.*")
"""Files that another process is writing just now; what is compiled may be copied."""
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
DRAWN = ("resolution_pdf", "resolution_table")
ONCE = ("event_displays", "efficiency", "onnx")
INPAINTED = ("predictions_root", "dead_study", "export")


REPORTS = {"regressor/report[demo]", "mae/report[demo]", "inpainter/report[demo]"}


def regressor(*names: str, runs: tuple[str, ...] = REGRESSORS) -> set[str]:
    return {f"regressor/{name}[{run}]" for name in names for run in runs}


def inpainter(*names: str) -> set[str]:
    return {f"inpainter/{name}[demo]" for name in names}


ALL = {
    *(f"data/shards[{dataset}]" for dataset in DATASETS),
    "mae/encoder[demo]",
    *regressor("weights", "predictions_csv"),
    *regressor(*DRAWN, "baselines_csv", *ONCE, runs=("demo",)),
    *inpainter("weights", "analysis", *INPAINTED),
    *REPORTS,
}


class Copy:
    """A working folder with a copy of the package, a registry of four runs, and an instance."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(PACKAGE, folder / "xec_pipeline", ignore=HALF_COMPILED)
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

    def duplicate(self, folder: Path, *without: str) -> "Copy":
        """Return a copy of this folder, to be edited."""
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns(*without))
        again = Copy.__new__(Copy)
        again.folder = folder
        return again


def finished_copy(folder: Path) -> Copy:
    """Return a working folder after a first demo."""
    copy = Copy(folder)
    made, not_fresh = copy.demo()
    assert made == ALL
    assert not_fresh == set()
    return copy
