"""What an exported file says about itself, so that it can be used alone."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Final

from xec_pipeline.config.inpainter import InpainterRun
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.detector.sensors import N_SENSORS
from xec_pipeline.export.graph import ExportGraph, NormalizedGraph
from xec_pipeline.export.inpainter_graph import InpainterGraph
from xec_pipeline.revision import git_revision
from xec_pipeline.training.checkpoint import InferenceModel
from xec_pipeline.training.inpainter_inference import InferenceInpainter

SCHEMA_VERSION: Final = 1
"""Of the metadata; raised when a key changes its meaning."""

_INVALID = "NaN, infinity or magnitude above 9e9 (the marker is 1e10)"


def file_metadata(
    graph: ExportGraph, model: InferenceModel, checkpoint_path: Path
) -> dict[str, str]:
    """Return the `metadata_props` of one exported file; structured values are JSON.

    Parameters
    ----------
    graph
        Which of the two variants.
    model
        The checkpoint it was made from.
    checkpoint_path
        File to name and to hash.
    """
    run = model.run
    time_of = f"{run.tasks.timing.reference} of the photon"
    structured = {
        "inputs": _inputs(graph, model),
        "outputs": {output.name: dataclasses.asdict(output) for output in graph.outputs()},
        "tasks": list(run.tasks.active),
        "normalization": run.normalization.model_dump(),
        "target_statistics": model.scaling.statistics(),
        "config": run.model_dump(mode="json"),
    }
    return {
        **common_metadata(run, model.sha, checkpoint_path),
        "variant": "normalized" if isinstance(graph, NormalizedGraph) else "raw",
        "timing_reference": time_of,
        **{name: json.dumps(value, sort_keys=True) for name, value in structured.items()},
    }


def inpainter_metadata(
    graph: InpainterGraph, model: InferenceInpainter, checkpoint_path: Path
) -> dict[str, str]:
    """Return the same for an exported inpainter; structured values are JSON.

    Parameters
    ----------
    graph
        What is exported.
    model, checkpoint_path
        As for `file_metadata`.
    """
    run = model.run
    shape = f"(batch, {N_SENSORS})"
    inputs = {
        "input": {
            "shape": f"(batch, {N_SENSORS}, 2)",
            "unit": "photons, s",
            "meaning": f"branches {run.data.npho_branch} and {run.data.time_branch} by sensor "
            f"number; dead, or not measured, where {_INVALID}",
        },
        "mask": {
            "shape": shape,
            "unit": "none",
            "meaning": "1 for sensors to recover, whose input is not seen; 0 for the others",
        },
    }
    structured = {
        "inputs": inputs,
        "outputs": {
            name: {
                "shape": shape,
                "unit": unit,
                "meaning": f"{what} of the sensors to recover, the input of the others",
            }
            for name, unit, what in zip(
                graph.output_names, ("photons", "s"), ("light", "time"), strict=False
            )
        },
        "features": list(model.model.features),
        "normalization": run.normalization.model_dump(),
        "clamp_negative": graph.clamp_negative,
    }
    return {
        **common_metadata(run, model.sha, checkpoint_path),
        "variant": "raw",
        "head_type": run.model.head_type,
        **{name: json.dumps(value, sort_keys=True) for name, value in structured.items()},
    }


def common_metadata(
    run: RegressorRun | InpainterRun, weights_version: str, checkpoint_path: Path
) -> dict[str, str]:
    """Return where the weights come from."""
    return {
        "schema_version": str(SCHEMA_VERSION),
        "producer": "xec_pipeline",
        "run_name": run.name,
        "encoder": run.model.encoder,
        "layout": run.model.layout,
        "checkpoint": checkpoint_path.name,
        "checkpoint_sha256": hashlib.sha256(checkpoint_path.read_bytes()).hexdigest(),
        "weights_version": weights_version,
        "config_digest": run.digest(),
        "git_revision": git_revision(),
    }


def _inputs(graph: ExportGraph, model: InferenceModel) -> dict[str, dict[str, str]]:
    shape = f"(batch, {N_SENSORS})"
    if isinstance(graph, NormalizedGraph):
        return {
            "input": {
                "shape": f"(batch, {N_SENSORS}, 2)",
                "unit": "none",
                "meaning": "npho and time by sensor number, normalized as `normalization` says",
            }
        }
    data = model.run.data
    return {
        "npho": {
            "shape": shape,
            "unit": "photons",
            "meaning": f"branch {data.npho_branch}; dead where {_INVALID}",
        },
        "time": {
            "shape": shape,
            "unit": "s",
            "meaning": f"branch {data.time_branch}; not measured where {_INVALID}",
        },
    }
