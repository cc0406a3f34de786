"""A project folder of its own: a copy of the package, a small registry, toy events of seconds."""

import shutil
from pathlib import Path
from typing import Any

import yaml

import xec_pipeline.units
from xec_pipeline.config.simulation import simulation_config
from xec_pipeline.simulation.dataset import simulate_dataset
from xec_pipeline_tests.defs.chain_copy import HALF_COMPILED
from xec_pipeline_tests.training.tiny import tiny_tree

PACKAGE = Path(xec_pipeline.units.__file__).parent
ENDLESS = "endless"
TINY = "tiny"
_DATA = {"train_path": "toy/train", "val_path": "toy/val", "batch_size": 8, "num_workers": 1}
TOYS = {"toy/train": (1, 1), "toy/val": (2, 101)}
"""Seed and first run number of the data sets."""
_EVENTS = 32


class Project:
    """The folder that a Dagster of its own works in.

    The package is copied so that a test may edit code as a user would.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("workspace.yaml", "dagster.yaml", "pyproject.toml"):
            shutil.copy(PACKAGE.parent / name, folder / name)
        shutil.copytree(PACKAGE, folder / "xec_pipeline", ignore=HALF_COMPILED)
        for path, (seed, first_run) in TOYS.items():
            options = {"events": _EVENTS, "files": 1, "seed": seed, "first_run": first_run}
            config = simulation_config("meg2", options)
            simulate_dataset(config, folder / path, progress=False)
        self._register("mae", TINY, _mae())
        schedule = {"cron": "0 3 * * 1", "timezone": "Europe/Zurich"}
        self._register("regressor", TINY, {**_regressor(3), "mae": TINY, "schedule": schedule})
        self._register("regressor", ENDLESS, _regressor(1_000_000))

    def append(self, name: str, text: str) -> None:
        """Add text to the end of a file."""
        path = self.folder / name
        path.write_text(path.read_text() + text)

    def _register(self, kind: str, name: str, tree: dict[str, Any]) -> None:
        path = self.folder / "runs" / kind / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(tree))


def _regressor(epochs: int) -> dict[str, Any]:
    tree = tiny_tree(Path("artifacts"))
    tree["data"] = _DATA
    tree["training"] |= {"epochs": epochs, "warmup_epochs": 0}
    del tree["mlflow"]
    return tree


def _mae() -> dict[str, Any]:
    regressor = _regressor(1)
    model = {name: value for name, value in regressor["model"].items() if name not in _HEADS}
    return {
        **{name: regressor[name] for name in ("data", "normalization", "checkpoint")},
        "model": {**model, "decoder_dim": 8},
        "training": {"epochs": 1, "lr": 1e-3},
        "mlflow": {"tracking_uri": "none"},
    }


_HEADS = {"hidden_dim", "head_dropout"}
