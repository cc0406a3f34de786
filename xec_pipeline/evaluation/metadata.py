"""What a set of predictions was made from; a JSON beside the CSVs."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from xec_pipeline.atomic import replacing
from xec_pipeline.errors import CorruptFileError


@dataclasses.dataclass(frozen=True, kw_only=True)
class PredictionMeta:
    """Origin of the predictions of one run on one sample; None means not known."""

    run_name: str
    sample: str | None = None
    """ROOT files as named in the configuration."""
    is_toy: bool | None = None
    """True if the events come from the toy detector."""
    n_events: int | None = None
    """Events predicted."""
    n_without_truth: Mapping[str, int] = dataclasses.field(default_factory=dict)
    """Events without truth, by task; they are not in the CSV."""
    data_version: str | None = None
    """Hash of the shard arrays."""
    model: str | None = None
    """Checkpoint or ONNX file."""
    model_digest: str | None = None
    """Hash of the weights used."""
    weights: str | None = None
    """`ema`, `raw` or `onnx`."""
    epoch: int | None = None
    """Completed epochs of the checkpoint."""
    git_revision: str | None = None
    """Commit of the code that trained."""
    normalization: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """How the inputs were normalized."""


def meta_path(run_dir: Path | str, run_name: str, suffix: str = "") -> Path:
    """Return where the origin of the CSVs in `run_dir` is written."""
    return Path(run_dir) / f"predictions_meta_{run_name}{suffix}.json"


def write_meta(meta: PredictionMeta, run_dir: Path | str, suffix: str = "") -> Path:
    """Write `meta` beside the CSVs and return the path."""
    path = meta_path(run_dir, meta.run_name, suffix)
    write_json(path, dataclasses.asdict(meta))
    return path


def read_meta(run_dir: Path | str, run_name: str, suffix: str = "") -> PredictionMeta:
    """Read the origin of the CSVs in `run_dir`; all unknown if there is no such file.

    Raises
    ------
    CorruptFileError
        If the file is not JSON.
    """
    path = meta_path(run_dir, run_name, suffix)
    if not path.is_file():
        return PredictionMeta(run_name=run_name)
    try:
        content = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CorruptFileError(f"{path}: not JSON: {error}") from None
    known = {field.name for field in dataclasses.fields(PredictionMeta)}
    kept = {name: value for name, value in content.items() if name in known}
    return PredictionMeta(**{**kept, "run_name": run_name})


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON with NaN and infinity as null, equal content as equal bytes."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(_plain(content), indent=1, allow_nan=False) + "\n")


def _plain(value: Any) -> Any:
    """Return JSON's own types."""
    if isinstance(value, Mapping):
        return {str(name): _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
