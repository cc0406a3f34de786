"""Where weights come from, in a JSON file beside a file that holds nothing but tensors."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xec_pipeline.atomic import replacing
from xec_pipeline.errors import CheckpointError


def sidecar_path(weights: Path) -> Path:
    """Return the JSON file that belongs to a file of weights."""
    return weights.with_name(f"{weights.stem}.json")


def write_sidecar(weights: Path, about: Mapping[str, Any]) -> None:
    """Write what is known of the weights beside them.

    Raises
    ------
    OutputError
        If the disk is full.
    """
    with replacing(sidecar_path(weights)) as partial:
        partial.write_text(json.dumps(about, indent=1) + "\n")


def read_sidecar(weights: Path) -> dict[str, Any] | None:
    """Return what is known of the weights; None if nothing lies beside them.

    Raises
    ------
    CheckpointError
        If the JSON file is damaged.
    """
    path = sidecar_path(weights)
    if not path.is_file():
        return None
    try:
        about = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{path}: not JSON: {error}; remove it to do without") from None
    if not isinstance(about, dict):
        raise CheckpointError(f"{path}: expected an object, got {type(about).__name__}")
    return about
