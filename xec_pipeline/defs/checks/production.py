"""What must hold for the model in use."""

import json
from pathlib import Path

import dagster as dg

from xec_pipeline.defs import keys
from xec_pipeline.defs.lineage import latest_unpartitioned
from xec_pipeline.versioning import content_hash


@dg.asset_check(
    asset=keys.PRODUCTION_ONNX,
    blocking=True,
    description="The published model is the selected one, and its files are as they were checked.",
)
def published_model_is_the_selected_one(
    context: dg.AssetCheckExecutionContext,
) -> dg.AssetCheckResult:
    """Compare versions of weights, and the content of the files with what the sidecar says."""
    selected = latest_unpartitioned(context.instance, keys.SELECTION)
    published = latest_unpartitioned(context.instance, keys.PRODUCTION_ONNX)
    versions = {
        "selected": _text(selected, "champion_weights_version"),
        "published": _text(published, "weights_version"),
    }
    changed = _changed_files(published) if published else ["not published"]
    return dg.AssetCheckResult(
        passed=versions["selected"] == versions["published"] != "" and not changed,
        metadata={**versions, "changed_files": ", ".join(changed) or "none"},
    )


def _changed_files(published: dg.AssetMaterialization) -> list[str]:
    """Return the files that are gone, or are not what the sidecar says."""
    sidecar = Path(_text(published, "sidecar"))
    try:
        hashes = json.loads(sidecar.read_text())["content_hashes"]
    except (OSError, ValueError, KeyError) as error:
        return [f"{sidecar}: {error!r}"]
    return [
        name
        for name, expected in hashes.items()
        if not (path := sidecar.with_name(name)).is_file() or content_hash(path) != expected
    ]


def _text(made: dg.AssetMaterialization | None, name: str) -> str:
    value = made.metadata.get(name) if made else None
    return "" if value is None else str(value.value)
