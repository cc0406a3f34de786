"""Where a run comes from, with what it was made and what it left, as tables of text."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from xec_pipeline.config.file_names import parity_file
from xec_pipeline.errors import CorruptFileError
from xec_pipeline.evaluation.run_report.content import Cells
from xec_pipeline.evaluation.run_report.parts import files_of
from xec_pipeline.evaluation.run_report.predicted import Predicted
from xec_pipeline.evaluation.run_report.record import Training
from xec_pipeline.versioning import content_hash

NOT_RECORDED: Final = "not recorded"
_KILO: Final = 1000.0
_ENDS: Final = {
    "_sec": "s",
    "_per_sec": "events/s",
    "_pct": "%",
    "_GB": "GB",
    "_gb": "GB",
    "_skew": "",
    "_ratio": "",
    "efficiency": "%",
    "_deg": "deg",
}
_BEGINNINGS: Final = {
    "energy_": "MeV",
    "timing_": "ns",
    "uvw_": "cm",
    "theta_": "deg",
    "phi_": "deg",
    "angle_": "deg",
    "mae_": "normalized",
    "rmse_": "normalized",
}
_ORIGINS: Final = {"encoder": "encoder", "resumed_from": "resumed from"}
_OF_ORIGIN: Final = {
    "run_name": "run",
    "file": "file",
    "kind": "kind",
    "epoch": "epoch",
    "tensor_digest": "data version (weights)",
    "train_data_version": "training events, data version",
    "val_data_version": "validation events, data version",
    "config_digest": "configuration, digest",
    "mlflow_run_id": "MLflow run",
    "git_revision": "commit",
}
_ENVIRONMENT: Final = {
    "python": "Python",
    "torch": "torch",
    "numpy": "numpy",
    "uproot": "uproot",
    "dagster": "Dagster",
    "mlflow": "MLflow",
    "cuda": "CUDA",
    "system": "system",
    "cpu_cores": "CPU cores",
    "gpus": "GPUs",
    "ranks": "ranks (world size)",
}


def unit_of(metric: str) -> str:
    """Return the unit of a metric of a training; empty for those without."""
    for end in sorted(_ENDS, key=len, reverse=True):
        if metric.endswith(end):
            return _ENDS[end]
    name = metric.rpartition("/")[2]
    return next((unit for start, unit in _BEGINNINGS.items() if name.startswith(start)), "")


def metric_cells(training: Training) -> Cells:
    """Return all metrics of the best epoch, and of the last if that is another one."""
    best = training.best_epoch
    last = max(training.epochs, default=None)
    shown = list(dict.fromkeys(epoch for epoch in (best, last) if epoch is not None))
    names = dict.fromkeys(name for epoch in shown for name in training.epochs[epoch])
    titles = {best: "best", last: "last"} if best != last else {best: "best and last"}
    rows = tuple(
        (name, unit_of(name) or "-", *(_number(training.epochs[epoch], name) for epoch in shown))
        for name in sorted(names, key=_metric_order)
    )
    header = ("metric", "unit", *(f"epoch {epoch} ({titles[epoch]})" for epoch in shown))
    note = "" if rows else f"no metrics: {training.source}"
    return Cells(header=header, rows=rows, n_left=2, note=note)


def lineage_cells(run_dir: Path, training: Training, predicted: Predicted) -> Cells:
    """Return datasets with the hashes of their content, and the weights it began with.

    Parameters
    ----------
    run_dir, training
        The run.
    predicted
        Events that the run was measured with.
    """
    tags = training.tags
    rows = [
        *_dataset("training events", training.option("data.train_path"), tags, "train"),
        *_dataset("validation events", training.option("data.val_path"), tags, "val"),
    ]
    rows += _predicted(predicted, training.option("data.test_path"))
    for what, title in _ORIGINS.items():
        rows += _origin(what, title, tags)
    rows += [
        ("this run", "folder", str(run_dir)),
        ("", "weights, data version", training.data_version or NOT_RECORDED),
        ("", "configuration, digest", tags.get("config_digest", NOT_RECORDED)),
        ("", "began as", str(training.facts.get("resume_state", NOT_RECORDED))),
        ("", "MLflow run", training.mlflow_run_id or NOT_RECORDED),
    ]
    if "continues.mlflow_run_id" in tags:
        rows.append(("", "goes on from MLflow run", tags["continues.mlflow_run_id"]))
    return Cells(header=("what", "of it", "value"), rows=tuple(rows), n_left=3)


def environment_cells(training: Training) -> Cells:
    """Return commit, versions and machine of the training."""
    known = training.environment
    rows = [("commit", training.tags.get("git_revision", NOT_RECORDED))]
    for name, title in _ENVIRONMENT.items():
        if name in known:
            rows.append((title, _text(known[name])))
    if not known:
        ranks = training.facts.get("world_size", NOT_RECORDED)
        rows += [("ranks (world size)", str(ranks)), ("versions and machine", NOT_RECORDED)]
    rows += [
        ("began", training.started or NOT_RECORDED),
        ("ended", training.ended or NOT_RECORDED),
        ("ended as", training.status or NOT_RECORDED),
    ]
    return Cells(header=("what", "value"), rows=tuple(rows), n_left=2)


def parity_cells(run_dir: Path, run_name: str, kind: str) -> Cells:
    """Return how well the exported models agree with the network.

    Raises
    ------
    CorruptFileError
        If the file that tells it cannot be read.
    """
    header = ("file", "output", "unit", "largest |file - torch|", "of what is allowed")
    path = run_dir / parity_file(kind, run_name)
    if not path.is_file():
        note = f"{path.name} is not there; an export writes it."
        return Cells(header=header, rows=(), n_left=3, note=note)
    try:
        content = json.loads(path.read_text())
        rows = tuple(
            (
                str(file["file"]),
                str(entry["output"]),
                str(entry["unit"]),
                f"{entry['largest_absolute']:.2g}",
                # Earlier exports told the difference over two kinds of scale instead.
                f"{entry['of_allowed']:.2g}" if "of_allowed" in entry else NOT_RECORDED,
            )
            for file in content["files"]
            for entry in file["outputs"]
        )
        note = (
            f"{content['n_events']} events, in batches of "
            f"{', '.join(map(str, content['batches']))}; allowed is {content['tolerance']}."
        )
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise CorruptFileError(f"{path}: not the parity of an export: {error!r}") from None
    return Cells(header=header, rows=rows, n_left=3, note=note)


def file_cells(run_dir: Path, kind: str) -> Cells:
    """Return names, sizes and hashes of all files of the run."""
    rows = tuple(
        (path.relative_to(run_dir).as_posix(), content_hash(path), _size(path.stat().st_size))
        for path in files_of(run_dir, kind)
    )
    header = ("file", "content hash (xxh3, 128 bits)", "size")
    return Cells(header=header, rows=rows, n_left=2)


def headline(training: Training) -> dict[str, str]:
    """Return what stands under the title of the report."""
    best, facts = training.best_epoch, training.facts
    n_events = facts.get("n_train_events")
    n_weights = facts.get("total_params")
    found = {
        "trained": training.ended or NOT_RECORDED,
        "epochs": str(max(training.epochs, default=NOT_RECORDED)),
        "best epoch": str(best or NOT_RECORDED),
        "training events": f"{n_events:,}" if isinstance(n_events, int) else NOT_RECORDED,
        "weights of the network": f"{n_weights:,}" if isinstance(n_weights, int) else NOT_RECORDED,
        "commit": training.tags.get("git_revision", NOT_RECORDED),
        "data version": training.data_version or NOT_RECORDED,
        "MLflow run": training.mlflow_run_id or NOT_RECORDED,
    }
    if training.status not in {"", "FINISHED"}:
        found["state"] = training.status
    return found


def _dataset(
    title: str, path: Any, tags: Mapping[str, str], sample: str
) -> list[tuple[str, str, str]]:
    version = tags.get(f"{sample}_data_version", NOT_RECORDED)
    return [(title, "path", str(path or NOT_RECORDED)), ("", "data version", version)]


def _predicted(predicted: Predicted, test_path: Any) -> list[tuple[str, str, str]]:
    path = predicted.sample or test_path
    if not path and not predicted.is_known:
        return []
    is_test = predicted.sample in {None, test_path}
    unknown = NOT_RECORDED if predicted.is_known else f"{NOT_RECORDED}: not predicted"
    rows = [
        ("test events" if is_test else "predicted events", "path", str(path or NOT_RECORDED)),
        ("", "data version", predicted.data_version or unknown),
    ]
    if predicted.n_events:
        rows.append(("", "predicted events", f"{predicted.n_events:,}"))
    if predicted.dead_pattern:
        rows.append(("", "dead sensors", predicted.dead_pattern))
    return rows


def _origin(what: str, title: str, tags: Mapping[str, str]) -> list[tuple[str, str, str]]:
    known = {
        name.removeprefix(f"{what}."): value
        for name, value in tags.items()
        if name.startswith(f"{what}.")
    }
    if not known:
        return [(title, "", "none")]
    rows = [(label, known[name]) for name, label in _OF_ORIGIN.items() if name in known]
    return [(title if i == 0 else "", label, value) for i, (label, value) in enumerate(rows)]


def _metric_order(name: str) -> tuple[int, str]:
    """Sort losses first, the machine's numbers last."""
    order = {"val": 1, "train": 2, "system": 9}
    head = name.partition("/")[0]
    return (0 if name in {"val/loss", "train/loss"} else order.get(head, 3), name)


def _number(metrics: Mapping[str, float], name: str) -> str:
    return f"{metrics[name]:.5g}" if name in metrics else ""


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _size(n_bytes: float) -> str:
    for unit in ("B", "kB", "MB"):
        if n_bytes < _KILO:
            return f"{n_bytes:.0f} {unit}" if unit == "B" else f"{n_bytes:.1f} {unit}"
        n_bytes /= _KILO
    return f"{n_bytes:.2f} GB"
