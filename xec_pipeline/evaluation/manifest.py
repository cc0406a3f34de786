"""What figures of a run were drawn from, beside them."""

from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from xec_pipeline.evaluation.beside import CONVENTIONAL
from xec_pipeline.evaluation.metadata import meta_path, write_json
from xec_pipeline.evaluation.tables import TASK_QUANTITIES, prediction_path
from xec_pipeline.revision import git_revision
from xec_pipeline.versioning import content_hash

_LIBRARIES: Final = ("matplotlib", "numpy", "pandas", "scipy")


def source_tables(run_dir: Path, run_name: str, csv_suffix: str = "") -> list[Path]:
    """Return the files of a run's folder that its resolution figures are drawn from."""
    wanted = [
        prediction_path(run_dir, task, run_name, suffix=csv_suffix) for task in TASK_QUANTITIES
    ]
    wanted += [
        prediction_path(run_dir, task, run_name, method=CONVENTIONAL) for task in TASK_QUANTITIES
    ]
    wanted.append(meta_path(run_dir, run_name, csv_suffix))
    return [path for path in wanted if path.is_file()]


def write_manifest(
    path: Path,
    sources: Sequence[Path],
    figures: Mapping[str, Path],
    failed: Mapping[str, str],
    choice: Mapping[str, Any],
) -> Path:
    """Write which files with which content became which figures, and with which code.

    Parameters
    ----------
    path
        The JSON.
    sources
        Tables that were read.
    figures
        PDFs by task; the numbers of each stand in the JSON of the same name.
    failed
        Tasks that could not be drawn, and why.
    choice
        What was chosen about the figures.
    """
    content = {
        "sources": {source.name: {"content_hash": content_hash(source)} for source in sources},
        "figures": {
            task: {"pdf": figure.name, "content_hash": content_hash(figure.with_suffix(".json"))}
            for task, figure in figures.items()
        },
        "failed": dict(failed),
        "choice": dict(choice),
        "git_revision": git_revision(),
        "libraries": {name: version(name) for name in _LIBRARIES},
    }
    write_json(path, content)
    return path
