"""Whether a dataset can answer what is asked of it, decided before any work starts."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from xec_pipeline.config.tasks import TASK_NAMES
from xec_pipeline.data.root_io import open_tree
from xec_pipeline.data.schema import BRANCHES
from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline.data.targets import TARGETS, target_named
from xec_pipeline.errors import DataError

_DERIVED_FROM_TIMES: Final = "time_min_used"
"""Shards hold this column also where the file lacks it, made from the sensor times."""


def require_targets(
    source: ShardSet | Path | str, tasks: Iterable[str], *, timing_reference: str = "interaction"
) -> None:
    """Raise unless every source file holds a truth for every task.

    Parameters
    ----------
    source
        Opened shards (all their source files are looked at), or one ROOT file.
    tasks
        Names of the tasks asked for.
    timing_reference
        `interaction` also needs the true vertex and first interaction point.

    Raises
    ------
    ConfigError
        If a task is unknown.
    DataError
        Naming file, task and branch, and the tasks that this file allows.
    """
    asked = [target_named(task).name for task in tasks]
    for path, measured in _measured_by_file(source).items():
        lacking = _lacking(measured, timing_reference)
        for task in asked:
            if lacking[task]:
                raise DataError(_describe(path, task, lacking, measured))


def possible_tasks(
    source: ShardSet | Path | str, *, timing_reference: str = "interaction"
) -> list[str]:
    """Return the tasks for which every source file holds a truth; see `require_targets`."""
    files = [_lacking(m, timing_reference) for m in _measured_by_file(source).values()]
    return [task for task in TASK_NAMES if not any(lacking[task] for lacking in files)]


def _lacking(measured: Mapping[str, int], timing_reference: str) -> dict[str, list[str]]:
    """Return by task the branches it needs and the file lacks."""
    return {
        task: [
            name for name in target.required_branches(timing_reference) if not measured.get(name, 0)
        ]
        for task, target in TARGETS.items()
    }


def _measured_by_file(source: ShardSet | Path | str) -> dict[str, Mapping[str, int]]:
    """Return how many values are measured by file and column; 1 for a branch of a ROOT file."""
    if isinstance(source, ShardSet):
        return {part.source: part.n_measured for part in source.manifest.sources}
    with open_tree(Path(source)) as tree:
        present = dict.fromkeys(BRANCHES.keys() & set(tree.keys()), 1)
    if "time" in present:
        present[_DERIVED_FROM_TIMES] = 1
    return {str(source): present}


def _describe(
    path: str, task: str, lacking: Mapping[str, list[str]], measured: Mapping[str, int]
) -> str:
    branch = BRANCHES[lacking[task][0]]
    unit = f" [{branch.unit}]" if branch.unit else ""
    state = "holds no measured value (all 1e10)" if branch.name in measured else "is missing"
    possible = [name for name in TASK_NAMES if not lacking[name]]
    return (
        f"{path}: task '{task}' needs branch '{branch.name}' ({branch.meaning}{unit}), "
        f"which {state}; tasks possible with this file: {', '.join(possible) or 'none'}"
    )
