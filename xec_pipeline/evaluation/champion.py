"""The model in use on disk: what is kept of a champion, and which one it is.

In the folder of the model in use:

- `champions/<run>_<weights version>/`: checkpoint, ONNX files and prediction tables of a model, as
  they were when it became champion. A retraining of the same run does not touch them;
- `champion.json`: which of them is the champion, since which decision;
- `current`: link to the folder of the champion whose ONNX files passed all checks.
"""

import dataclasses
import json
import os
import shutil
from pathlib import Path
from typing import Any, Final

from xec_pipeline.atomic import replacing
from xec_pipeline.config.file_names import checkpoint_file, raw_onnx_file
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.errors import CorruptFileError, DataError
from xec_pipeline.evaluation.compared_tables import sample_dir
from xec_pipeline.evaluation.metadata import meta_path, write_json
from xec_pipeline.evaluation.tables import TASK_QUANTITIES, prediction_path

CHAMPION_FILE: Final = "champion.json"
CURRENT: Final = "current"
SIDECAR: Final = "model.json"
ONNX: Final = "model.onnx"
ONNX_RAW: Final = raw_onnx_file(ONNX)
CHECKPOINT: Final = checkpoint_file("regressor", "best")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
    """A complete run: weights, predictions and ONNX files that belong together.

    Attributes
    ----------
    run
        Name.
    weights_version
        Hash of the weights.
    dagster_run
        Dagster run that trained them; empty if not known.
    mlflow_run
        MLflow run of the training; empty without tracking.
    """

    run: str
    weights_version: str
    dagster_run: str = ""
    mlflow_run: str = ""

    @property
    def label(self) -> str:
        """Name and weights, `run@weights version`: the data version of a selection."""
        return f"{self.run}@{self.weights_version}"

    @property
    def folder_name(self) -> str:
        """Folder of what is kept of it as champion."""
        return f"{self.run}_{self.weights_version[:12]}"


def read_champion(production: Path) -> Candidate | None:
    """Return the champion; None before the first selection.

    Raises
    ------
    CorruptFileError
        If the file cannot be read: another model must not become champion by accident.
    """
    path = production / CHAMPION_FILE
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text())
        known = {field.name for field in dataclasses.fields(Candidate)}
        return Candidate(**{name: content[name] for name in known})
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptFileError(
            f"{path}: does not say which model is in use ({error!r}); mend it, or remove it and "
            "choose again: xec promote RUN --reason TEXT"
        ) from None


def write_champion(production: Path, champion: Candidate, **decision: Any) -> Path:
    """Write which model is the champion, with the decision."""
    path = production / CHAMPION_FILE
    write_json(path, {**dataclasses.asdict(champion), **decision})
    return path


def keep_champion(production: Path, champion: Candidate, run: RegressorRun) -> Path:
    """Keep a run's present files as those of a champion; return their folder.

    Large files are linked, not copied: whoever writes them anew writes other files.

    Raises
    ------
    DataError
        If a file is missing.
    """
    folder = champion_dir(production, champion)
    sample = sample_dir(run.run_dir, run.name)
    onnx = run.run_dir / str(run.export.onnx)
    large = {
        CHECKPOINT: run.run_dir / CHECKPOINT,
        ONNX: onnx,
        ONNX_RAW: onnx.with_name(raw_onnx_file(onnx.name)),
    }
    tables = [path for task in TASK_QUANTITIES if (path := _table(sample, task, run.name))]
    small = {path.name: path for path in (*tables, meta_path(sample, run.name)) if path.is_file()}
    for name, source in {**large, **small}.items():
        if not source.is_file():
            raise DataError(f"{source}: missing, so run {run.name} cannot be put to use")
        _link(source, folder / name)
    return folder


def champion_dir(production: Path, champion: Candidate) -> Path:
    """Return the folder of what is kept of a champion."""
    return production / "champions" / champion.folder_name


def point_current_to(production: Path, folder: Path) -> Path:
    """Make the link `current` point to a champion's folder, in one step; return it."""
    link = production / CURRENT
    partial = production / f".{CURRENT}.{os.getpid()}.part"
    partial.unlink(missing_ok=True)
    partial.symlink_to(folder.relative_to(production), target_is_directory=True)
    partial.replace(link)
    return link


def read_sidecar(folder: Path) -> dict[str, Any]:
    """Return what stands beside a published model; empty if nothing readable does."""
    try:
        content = json.loads((folder / SIDECAR).read_text())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _table(folder: Path, task: str, run_name: str) -> Path | None:
    path = prediction_path(folder, task, run_name)
    return path if path.is_file() else None


def _link(source: Path, target: Path) -> None:
    with replacing(target) as partial:
        try:
            partial.hardlink_to(source)
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, partial)
