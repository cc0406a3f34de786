"""What a training was and how it went, in a JSON file beside its checkpoints.

It holds what a tracker is told: configuration, origin of events and weights, environment, and the
metrics of every epoch. So a run can be looked at without torch, and without the MLflow store.
"""

import json
import math
import os
import platform
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any, Final

import torch

from xec_pipeline.atomic import replacing
from xec_pipeline.training.tracking import Tracker

SCHEMA_VERSION: Final = 1
_LIBRARIES: Final = ("torch", "numpy", "dagster", "mlflow", "uproot")


class RecordingTracker:
    """Passes everything on to another tracker, and keeps it in a file of the run's folder.

    Parameters
    ----------
    inner
        Where the numbers go as well.
    path
        The JSON file; it is written with the first epoch and after each.
    carried
        Metrics by epoch of the part of the training that this one goes on from.
    """

    def __init__(
        self, inner: Tracker, path: Path, carried: Mapping[int, Mapping[str, float]] | None = None
    ) -> None:
        self._inner, self._path = inner, path
        self._about: dict[str, Any] = {}
        self._epochs = {epoch: dict(metrics) for epoch, metrics in (carried or {}).items()}

    @property
    def run_id(self) -> str | None:
        """Id of the MLflow run; None without one."""
        return self._inner.run_id

    def start(self, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """Note what is about to be trained."""
        self._inner.start(params, tags)
        self._about = {
            "schema_version": SCHEMA_VERSION,
            "mlflow_run_id": self.run_id,
            "started": now(),
            "parameters": dict(params),
            "tags": dict(tags),
            "environment": environment(),
        }

    def epoch(self, epoch: int, metrics: Mapping[str, float]) -> None:
        """Note an epoch's numbers; those not finite are left out."""
        self._inner.epoch(epoch, metrics)
        finite = {name: float(value) for name, value in metrics.items() if math.isfinite(value)}
        self._epochs[epoch] = finite
        self._write("RUNNING")

    def finish(self, status: str) -> None:
        """Note how it ended, if there was an epoch."""
        self._inner.finish(status)
        if self._path.is_file():
            self._write(status)

    def _write(self, status: str) -> None:
        content = {**self._about, "status": status, "ended": now()}
        content["epochs"] = {str(epoch): self._epochs[epoch] for epoch in sorted(self._epochs)}
        with replacing(self._path) as partial:
            partial.write_text(json.dumps(content, indent=1, default=str) + "\n")


def read_epochs(path: Path, up_to: int) -> dict[int, dict[str, float]]:
    """Return the metrics of the epochs up to `up_to` in a record; none if it cannot be read."""
    try:
        epochs = json.loads(path.read_text())["epochs"]
        found = {int(epoch): dict(metrics) for epoch, metrics in epochs.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}  # an older training left none, or something else lies there
    return {epoch: metrics for epoch, metrics in found.items() if epoch <= up_to}


def environment() -> dict[str, Any]:
    """Return with what this process trains: versions, kind of machine, GPUs."""
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "python": platform.python_version(),
        **{name: _version(name) for name in _LIBRARIES},
        "cuda": torch.version.cuda if gpus else None,
        "system": f"{platform.system()} {platform.machine()}",
        "cpu_cores": os.cpu_count(),
        "gpus": gpus,
        "ranks": int(os.environ.get("WORLD_SIZE", "1")),
    }


def now() -> str:
    """Return the time, UTC, to the second."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")


def _version(library: str) -> str | None:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return None
