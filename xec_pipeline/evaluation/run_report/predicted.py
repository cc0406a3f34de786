"""From which events the numbers of a report come."""

import json
from dataclasses import dataclass
from pathlib import Path

from xec_pipeline.config.file_names import ANALYSIS_FOLDER
from xec_pipeline.errors import CorruptFileError
from xec_pipeline.evaluation.metadata import read_meta
from xec_pipeline.evaluation.tables import TEST_FOLDER


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """Events that a run was measured with; None or empty means not known.

    Attributes
    ----------
    sample
        ROOT files or shards as they were named.
    data_version
        Hash of their content.
    n_events
        How many were predicted.
    is_toy
        True if they come from the toy detector.
    dead_pattern
        Which sensors were dead, in words.
    """

    sample: str | None = None
    data_version: str | None = None
    n_events: int | None = None
    is_toy: bool | None = None
    dead_pattern: str = ""

    @property
    def is_known(self) -> bool:
        """Whether anything was predicted."""
        return bool(self.sample or self.data_version or self.n_events)


def predicted_events(run_dir: Path, run_name: str, kind: str) -> Predicted:
    """Return the test events of a regressor, or those whose sensors an inpainter recovered.

    Raises
    ------
    CorruptFileError
        If the file that tells it cannot be read.
    """
    if kind == "regressor":
        meta = read_meta(run_dir / TEST_FOLDER, run_name)
        return Predicted(
            sample=meta.sample,
            data_version=meta.data_version,
            n_events=meta.n_events,
            is_toy=meta.is_toy,
        )
    path = run_dir / ANALYSIS_FOLDER / f"recovery_table_{run_name}.json"
    return _recovered(path) if kind == "inpainter" and path.is_file() else Predicted()


def _recovered(path: Path) -> Predicted:
    try:
        content = json.loads(path.read_text())
        return Predicted(
            sample=content.get("sample") or None,
            data_version=content.get("data_version") or None,
            n_events=content.get("n_events") or None,
            is_toy=content.get("is_toy"),
            dead_pattern=str(content.get("dead_pattern") or ""),
        )
    except (ValueError, AttributeError, OSError) as error:
        raise CorruptFileError(f"{path}: not a table of recovered sensors: {error!r}") from None
