"""What must hold for a regressor's files; each check records the numbers it looked at."""

import csv
import math
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from xec_pipeline.config.registry import registered_regressor
from xec_pipeline.defs import keys
from xec_pipeline.defs.checks.latest import (
    holds_present_weights,
    reproduces_network,
    run_name,
)
from xec_pipeline.defs.checks.partitioned import partition_check
from xec_pipeline.defs.partitions import run_partitions
from xec_pipeline.evaluation.metadata import read_meta


@partition_check(
    asset=keys.PREDICTIONS,
    partitions_def=run_partitions,
    blocking=True,
    description="Every event with truth has a row in each table, and every prediction is a number.",
)
def predictions_are_complete(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Count rows and values that are not finite, in the tables of all samples."""
    run = registered_regressor(run_name(context))
    numbers: dict[str, int | str] = {"run": run.name}
    complete = True
    for folder, task, path in _tables(run.run_dir, run.name):
        meta = read_meta(folder, run.name, task=task)
        expected = (meta.n_events or 0) - meta.n_without_truth.get(task, 0)
        rows, bad = _count(path)
        name = path.relative_to(run.run_dir).as_posix()
        numbers |= {f"{name} rows": rows, f"{name} not finite": bad}
        complete = complete and rows == expected and bad == 0
    return dg.AssetCheckResult(passed=complete and len(numbers) > 1, metadata=numbers)


@partition_check(
    asset=keys.ONNX,
    partitions_def=run_partitions,
    blocking=True,
    description=(
        "The ONNX model was exported from the present weights; differences to them are recorded."
    ),
)
def onnx_matches_weights(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Compare the versions of the weights."""
    return holds_present_weights(context, keys.ONNX, keys.WEIGHTS)


@partition_check(
    asset=keys.ONNX,
    partitions_def=run_partitions,
    blocking=True,
    description=(
        "onnxruntime gives what torch gives: the largest difference over all outputs, events and "
        "batch sizes is at most what is allowed (3e-4 of the spread of the target)."
    ),
)
def onnx_reproduces_network(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Look at the differences that the export found."""
    return reproduces_network(context, keys.ONNX)


def _tables(run_dir: Path, run_name: str) -> Iterator[tuple[Path, str, Path]]:
    """Yield folder, task and path of each prediction table."""
    for folder in (run_dir, run_dir / "test"):
        for path in sorted(folder.glob(f"predictions_*_{run_name}.csv")):
            yield folder, path.name.removeprefix("predictions_").split("_", 1)[0], path


def _count(path: Path) -> tuple[int, int]:
    """Return the number of rows, and of predictions that are not finite."""
    n_rows = n_bad = 0
    with path.open(newline="") as stream:
        for row in csv.DictReader(stream):
            n_rows += 1
            n_bad += sum(
                not math.isfinite(float(value or "nan"))
                for name, value in row.items()
                if name.startswith("pred_")
            )
    return n_rows, n_bad
