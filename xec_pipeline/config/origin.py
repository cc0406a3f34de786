"""Which registered run a training goes on from, if its configuration names a checkpoint of one."""

from pathlib import Path
from typing import Final, NamedTuple

from xec_pipeline.config.registry import RunKind, run_names
from xec_pipeline.config.run_base import Run

_PREFIXES: Final[dict[str, RunKind]] = {"mae_": "mae", "inpainter_": "inpainter"}
"""How file names of weights begin; those of regressors have no prefix."""


class Origin(NamedTuple):
    """A registered run whose weights another run takes over."""

    kind: RunKind
    name: str


def resumed_run(run: Run) -> Origin | None:
    """Return the run that `checkpoint.resume_from` belongs to; None if it is no registered one.

    Runs keep their weights in `save_dir/<run name>/`.
    """
    if run.checkpoint.resume_from is None:
        return None
    path = Path(run.checkpoint.resume_from)
    if path.parent.parent.resolve() != Path(run.checkpoint.save_dir).resolve():
        return None
    kinds = [kind for prefix, kind in _PREFIXES.items() if path.name.startswith(prefix)]
    kind = kinds[0] if kinds else "regressor"
    return Origin(kind, path.parent.name) if path.parent.name in run_names(kind) else None
