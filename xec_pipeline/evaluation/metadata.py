"""What a set of predictions was made from; a JSON beside the CSVs."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from xec_pipeline.atomic import replacing
from xec_pipeline.errors import CorruptFileError

_EARLIER: Final = "earlier_tables"


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

    def is_like(self, other: "PredictionMeta") -> bool:
        """Return whether two tables are of the same events, predicted with the same weights."""
        return _identity(self) == _identity(other)

    def in_words(self) -> str:
        """Return sample and weights, as far as known."""
        sample = f"sample {self.sample}" if self.sample else "a sample that is not stated"
        version = f" (content {self.data_version[:12]})" if self.data_version else ""
        digest = f", weights {self.model_digest[:12]}" if self.model_digest else ""
        return f"{sample}{version}{digest}"


def _identity(meta: PredictionMeta) -> tuple[str | None, ...]:
    return meta.sample, meta.data_version, meta.model_digest, meta.weights


def meta_path(run_dir: Path | str, run_name: str, suffix: str = "") -> Path:
    """Return where the origin of the CSVs in `run_dir` is written."""
    return Path(run_dir) / f"predictions_meta_{run_name}{suffix}.json"


def write_meta(
    meta: PredictionMeta,
    run_dir: Path | str,
    suffix: str = "",
    *,
    earlier: Mapping[str, PredictionMeta] | None = None,
) -> Path:
    """Write the origin of CSVs beside them and return the path.

    Parameters
    ----------
    meta
        The origin.
    run_dir, suffix
        Where the CSVs stand, and the end of their names; see `tables.prediction_path`.
    earlier
        Origin, by task, of CSVs that stand there and have another one.
    """
    content = dataclasses.asdict(meta)
    if earlier:
        content[_EARLIER] = {task: dataclasses.asdict(known) for task, known in earlier.items()}
    path = meta_path(run_dir, meta.run_name, suffix)
    write_json(path, content)
    return path


def read_meta(
    run_dir: Path | str, run_name: str, suffix: str = "", *, task: str | None = None
) -> PredictionMeta:
    """Read the origin of the CSVs in `run_dir`; all unknown if there is no such file.

    Parameters
    ----------
    run_dir, run_name, suffix
        Where the CSVs stand, and the name in theirs.
    task
        Task of the CSV that is asked about; None for those that were written last.

    Raises
    ------
    CorruptFileError
        If the file is not JSON.
    """
    content = _content(run_dir, run_name, suffix)
    earlier = content.get(_EARLIER, {})
    return _from(earlier.get(task, content), run_name)


def earlier_tables(
    run_dir: Path | str, run_name: str, suffix: str = ""
) -> dict[str, PredictionMeta]:
    """Return the origin, by task, of CSVs that are of other events or weights than the last ones.

    Raises
    ------
    CorruptFileError
        If the file of origins is not JSON.
    """
    earlier = _content(run_dir, run_name, suffix).get(_EARLIER, {})
    return {task: _from(known, run_name) for task, known in earlier.items()}


def _content(run_dir: Path | str, run_name: str, suffix: str) -> dict[str, Any]:
    path = meta_path(run_dir, run_name, suffix)
    if not path.is_file():
        return {}
    try:
        content: dict[str, Any] = json.loads(path.read_text())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise CorruptFileError(f"{path}: not JSON: {error}") from None
    return content


def _from(content: Mapping[str, Any], run_name: str) -> PredictionMeta:
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
