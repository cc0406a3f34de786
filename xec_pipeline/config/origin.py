"""Which registered runs a training begins with the weights of, as its configuration tells."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, NamedTuple

from xec_pipeline.config.inpainter import InpainterRun
from xec_pipeline.config.pretrained import PretrainedRun
from xec_pipeline.config.registry import (
    RunKind,
    registered_inpainter,
    registered_mae,
    registered_regressor,
    run_names,
)
from xec_pipeline.config.run_base import Run
from xec_pipeline.errors import ConfigError

_PREFIXES: Final[dict[str, RunKind]] = {"mae_": "mae", "inpainter_": "inpainter"}
"""How file names of weights begin; those of regressors have no prefix."""
REGISTERED: Final[Mapping[RunKind, Callable[[str], Run]]] = {
    "mae": registered_mae,
    "regressor": registered_regressor,
    "inpainter": registered_inpainter,
}
"""What reads a run of the registry, by kind."""


class Origin(NamedTuple):
    """A registered run whose weights another run takes over."""

    kind: RunKind
    name: str


def resumed_run(run: Run) -> Origin | None:
    """Return the run that `checkpoint.resume_from` belongs to; None if it is no registered one."""
    return None if run.checkpoint.resume_from is None else run_of_file(run.checkpoint.resume_from)


def run_of_file(file: str) -> Origin | None:
    """Return the registered run in whose folder a file of weights lies; None if there is none."""
    path = Path(file).resolve()
    kinds = [kind for prefix, kind in _PREFIXES.items() if path.name.startswith(prefix)]
    kind = kinds[0] if kinds else "regressor"
    name = path.parent.name
    if name not in run_names(kind):
        return None
    try:
        folder = REGISTERED[kind](name).run_dir.resolve()
    except ConfigError:
        return None  # the assets of that run fail with this message
    return Origin(kind, name) if folder == path.parent else None


def encoder_by_name(run: PretrainedRun) -> str | None:
    """Return the masked autoencoder that the line `mae` names, if the training begins with it.

    What a run was told to resume wins over that line, unless it is the run's own checkpoint.
    """
    if run.checkpoint.resume_from is None:
        return run.mae
    origin = resumed_run(run)
    is_own = origin is not None and origin.kind != "mae" and origin.name == run.name
    return run.mae if is_own else None


def encoder_run(run: PretrainedRun) -> str | None:
    """Return the registered masked autoencoder whose encoder a run begins with, if there is one.

    It is named by `mae`, or a file of it is what the run resumes or what its option
    `training.mae_checkpoint` names.
    """
    origin = resumed_run(run)
    if origin is None and run.checkpoint.resume_from is None and isinstance(run, InpainterRun):
        named = run.training.mae_checkpoint
        origin = None if named is None else run_of_file(named)
    if origin is not None and origin.kind == "mae":
        return origin.name
    return encoder_by_name(run)
