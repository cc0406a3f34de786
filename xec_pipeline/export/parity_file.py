"""How well exported files agree with their network, in a file beside them."""

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from xec_pipeline.atomic import replacing
from xec_pipeline.export.onnx import ExportedFile
from xec_pipeline.export.parity import PARITY_BATCHES, PARITY_EVENTS


def write_parity(path: Path, files: Sequence[ExportedFile], weights: str, tolerance: str) -> Path:
    """Write the differences of all outputs as JSON; equal results give equal bytes.

    Each stands in the output's unit, and as `of_allowed` over what is allowed, 1 being the limit.

    Parameters
    ----------
    path
        The JSON file.
    files
        What was exported and compared.
    weights
        Data version of the weights.
    tolerance
        What is allowed, in words.
    """
    content = {
        "weights_version": weights,
        "n_events": PARITY_EVENTS,
        "batches": list(PARITY_BATCHES),
        "tolerance": tolerance,
        "files": [
            {
                "file": file.path.name,
                "outputs": [dataclasses.asdict(entry) for entry in file.parity],
            }
            for file in files
        ],
    }
    with replacing(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n")
    return path
