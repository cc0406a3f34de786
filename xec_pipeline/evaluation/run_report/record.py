"""What is known of the training of a run: from its record, else from its checkpoint."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from xec_pipeline.config.file_names import checkpoint_file, finished_file, training_record_file
from xec_pipeline.errors import CorruptFileError, XecError

_NOT_OPTIONS: Final = (
    "total_params",
    "trainable_params",
    "world_size",
    "n_train_events",
    "resume_state",
    "active_tasks",
)
"""Parameters of a training that are no options of its configuration."""
VAL_LOSS: Final = "val/loss"


@dataclass(frozen=True, kw_only=True)
class Training:
    """A training as its files tell of it; empty means not known.

    Attributes
    ----------
    config
        All options of the run, by section.
    facts
        Sizes of the network and of the training.
    tags
        Origin of events, weights and code.
    environment
        Versions and machine.
    epochs
        Metrics by epoch.
    started, ended, status, mlflow_run_id, data_version
        Of the last process that trained; the version is that of the best weights.
    source
        File that tells this, and what it lacks.
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    epochs: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    started: str = ""
    ended: str = ""
    status: str = ""
    mlflow_run_id: str = ""
    data_version: str = ""
    source: str = ""

    @property
    def best_epoch(self) -> int | None:
        """Epoch of the lowest validation loss, whose weights are kept as the best."""
        losses = {
            epoch: metrics[VAL_LOSS]
            for epoch, metrics in self.epochs.items()
            if math.isfinite(metrics.get(VAL_LOSS, math.nan))
        }
        return min(losses, key=lambda epoch: losses[epoch]) if losses else None

    def at_best(self) -> Mapping[str, float]:
        """Return the metrics of the best epoch; none without epochs."""
        best = self.best_epoch
        return {} if best is None else self.epochs[best]

    def option(self, dotted: str) -> Any:
        """Return an option of the configuration; None if it is not there."""
        found: Any = self.config
        for part in dotted.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
        return found


def read_training(run_dir: Path, kind: str) -> Training:
    """Return what is known of a training.

    Raises
    ------
    CorruptFileError
        If its record cannot be read.
    """
    path = run_dir / training_record_file(kind)
    finished = run_dir / finished_file(kind)
    version = finished.read_text().strip() if finished.is_file() else ""
    if path.is_file():
        return _of_record(path, version)
    checkpoint = run_dir / checkpoint_file(kind, "best")
    if checkpoint.is_file():
        return _of_checkpoint(checkpoint, kind, version)
    return Training(
        source=f"neither {path.name} nor {checkpoint.name} is there", data_version=version
    )


def _of_record(path: Path, version: str) -> Training:
    try:
        content = json.loads(path.read_text())
        config, facts = _split(content["parameters"])
        return Training(
            config=config,
            facts=facts,
            tags=content["tags"],
            environment=content["environment"],
            epochs={int(epoch): metrics for epoch, metrics in content["epochs"].items()},
            started=content["started"],
            ended=content["ended"],
            status=content["status"],
            mlflow_run_id=content["mlflow_run_id"] or "",
            data_version=version,
            source=path.name,
        )
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise CorruptFileError(f"{path}: not the record of a training: {error!r}") from None


def _of_checkpoint(path: Path, kind: str, version: str) -> Training:
    """Return what a checkpoint holds; of a training that left no record."""
    # Only here: it takes seconds.
    from xec_pipeline.training.checkpoint import load_checkpoint

    try:
        checkpoint = load_checkpoint(path, kind)
    except XecError as error:
        return Training(source=str(error), data_version=version)
    tags = {
        "git_revision": checkpoint.git_revision or "",
        "config_digest": checkpoint.config_digest,
        **{f"{sample}_data_version": digest for sample, digest in checkpoint.data.items()},
    }
    origins = {"encoder": checkpoint.encoder_source, "resumed_from": checkpoint.resumed_from}
    for what, origin in origins.items():
        tags |= {f"{what}.{name}": str(value) for name, value in (origin or {}).items() if value}
    return Training(
        config=checkpoint.config,
        facts={"world_size": len(checkpoint.rng_state)} if checkpoint.rng_state else {},
        tags={name: value for name, value in tags.items() if value},
        epochs={checkpoint.best_epoch: {VAL_LOSS: checkpoint.best_val, **checkpoint.best_metrics}},
        mlflow_run_id=checkpoint.mlflow_run_id or "",
        data_version=version,
        source=f"{path.name}, which knows its own epoch only; the training left no "
        f"{training_record_file(kind)}",
    )


def _split(parameters: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return options and facts."""
    facts = {name: parameters[name] for name in _NOT_OPTIONS if name in parameters}
    return {name: value for name, value in parameters.items() if name not in facts}, facts
