"""What Dagster recorded of a regressor's encoder, held against what the training begins with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xec_pipeline.errors import CheckpointError
from xec_pipeline.training.checkpoint import Checkpoint
from xec_pipeline.training.transfer import PretrainedEncoder


def recorded_path(extras: Mapping[str, Any]) -> Path | None:
    """Return the encoder's file as Dagster recorded it; None by hand."""
    return Path(extras["encoder"]["path"]) if "encoder" in extras else None


def require_recorded_encoder(
    extras: Mapping[str, Any],
    encoder: PretrainedEncoder | None,
    found: tuple[Checkpoint, Path] | None,
) -> None:
    """Refuse a training whose encoder is not the one that Dagster shows as its origin.

    Parameters
    ----------
    extras
        Of the worker's report: `encoder` holds path and data version. By hand nothing is recorded.
    encoder
        With which a training begins.
    found
        Checkpoint from which it goes on instead; it knows the encoder it began with.

    Raises
    ------
    CheckpointError
        If the weights differ from those recorded, or if there is no encoder.
    """
    if "encoder" not in extras:
        return
    expected = extras["encoder"]["data_version"]
    path = Path(extras["encoder"]["path"])
    if found is not None:
        present, path = (found[0].encoder_source or {}).get("tensor_digest"), found[1]
    else:
        present = encoder.digest if encoder is not None else None
        path = encoder.path if encoder is not None else path
    if present != expected:
        raise CheckpointError(
            f"{path}: the encoder has data version {present}, but Dagster recorded {expected}; "
            "materialize mae/encoder again, so that the record is that of the file"
        )
