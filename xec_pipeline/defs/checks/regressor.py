"""What must hold for a regressor's files; each check records the numbers it looked at.

A check concerns the run whose asset was just made. (Checks with partitions of their own are a
preview in Dagster.)
"""

import csv
import math
from collections.abc import Iterator
from pathlib import Path

import dagster as dg

from xec_pipeline.config.registry import registered_regressor
from xec_pipeline.defs import keys
from xec_pipeline.evaluation.metadata import read_meta


@dg.asset_check(
    asset=keys.PREDICTIONS,
    blocking=True,
    description="Every event with truth has a row in each table, and every prediction is a number.",
)
def predictions_are_complete(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Count rows and values that are not finite, in the tables of all samples."""
    run = registered_regressor(_run_name(context))
    numbers: dict[str, int | str] = {"run": run.name}
    complete = True
    for folder, task, path in _tables(run.run_dir, run.name):
        meta = read_meta(folder, run.name)
        expected = (meta.n_events or 0) - meta.n_without_truth.get(task, 0)
        rows, bad = _count(path)
        name = path.relative_to(run.run_dir).as_posix()
        numbers |= {f"{name} rows": rows, f"{name} not finite": bad}
        complete = complete and rows == expected and bad == 0
    return dg.AssetCheckResult(passed=complete and len(numbers) > 1, metadata=numbers)


@dg.asset_check(
    asset=keys.ONNX,
    description=(
        "The ONNX model was exported from the present weights; differences to them are recorded."
    ),
)
def onnx_matches_weights(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
    """Compare the version of the weights in the model with that of the weights asset.

    A model that does not reproduce its weights is never written; the export fails instead.
    """
    model = _latest(context, keys.ONNX)
    weights = _latest(context, keys.WEIGHTS)
    exported = model.metadata["weights_version"].value if model else None
    present = (weights.tags or {}).get("dagster/data_version") if weights else None
    parity = {
        name: value for name, value in (model.metadata if model else {}).items() if "parity" in name
    }
    return dg.AssetCheckResult(
        passed=exported is not None and exported == present,
        metadata={
            "run": _run_name(context),
            "exported": str(exported),
            "present": str(present),
            **parity,
        },
    )


def _run_name(context: dg.AssetCheckExecutionContext) -> str:
    return context.run.tags["dagster/partition"]


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


def _latest(
    context: dg.AssetCheckExecutionContext, key: dg.AssetKey
) -> dg.AssetMaterialization | None:
    wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[_run_name(context)])
    records = context.instance.fetch_materializations(wanted, limit=1).records
    return records[0].event_log_entry.asset_materialization if records else None
