"""What Dagster recorded of the asset that a worker makes, and of the encoder it begins with."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from xec_pipeline.errors import CheckpointError
from xec_pipeline.training.start import GoingOn, Recorded
from xec_pipeline.training.transfer import PretrainedEncoder

_ADVICE: Final = {
    True: "materialize that again",
    False: "remove checkpoint.resume_from to begin with the present one",
}
"""For an encoder to begin with, and for a checkpoint that began with another one."""


def recorded_path(extras: Mapping[str, Any]) -> Path | None:
    """Return the encoder's file as Dagster recorded it; None by hand, or without an encoder."""
    return Path(extras["encoder"]["path"]) if "encoder" in extras else None


def recorded_weights(extras: Mapping[str, Any]) -> Recorded | None:
    """Return what Dagster knows of the weights that are to be trained; None by hand."""
    asset = extras.get("asset")
    return None if asset is None else Recorded(asset["data_version"], asset["code_version"])


def require_recorded(
    extras: Mapping[str, Any], present: PretrainedEncoder | GoingOn | None
) -> None:
    """Refuse an encoder that is not the one Dagster shows as the regressor's origin.

    Parameters
    ----------
    extras
        Of the worker's report: `encoder` holds path and data version. By hand nothing is recorded.
    present
        Encoder to begin with, or checkpoint to go on from, which knows the encoder it began with.
        None if this is not known yet.

    Raises
    ------
    CheckpointError
        If the weights differ from those recorded.
    """
    if "encoder" not in extras or present is None:
        return
    if isinstance(present, PretrainedEncoder):
        path, version = present.path, str(present.digest)
    else:
        path, version = (
            present.path,
            str((present.checkpoint.encoder_source or {}).get("tensor_digest")),
        )
    expected = extras["encoder"]["data_version"]
    if version != expected:
        raise CheckpointError(
            f"{path}: its encoder has data version {version}, but Dagster recorded {expected} for "
            f"mae/encoder; {_ADVICE[isinstance(present, PretrainedEncoder)]}"
        )
