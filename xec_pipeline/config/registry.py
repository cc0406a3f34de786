"""The run registry: one YAML file per run in `runs/<kind>/`, its name is the partition key."""

import logging
import os
from pathlib import Path
from typing import Literal

from xec_pipeline.config.inpainter import InpainterRun
from xec_pipeline.config.loader import (
    load_inpainter_run,
    load_mae_run,
    load_production,
    load_regressor_run,
)
from xec_pipeline.config.mae import MaeRun
from xec_pipeline.config.output import check_run_name
from xec_pipeline.config.pretrained import PretrainedRun
from xec_pipeline.config.production import ProductionConfig
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.config.run_base import Run
from xec_pipeline.errors import ConfigError, did_you_mean

RunKind = Literal["mae", "regressor", "inpainter"]

_log = logging.getLogger(__name__)


def registry_root() -> Path:
    """Return the registry's folder: environment variable XEC_RUNS, default `runs`."""
    return Path(os.environ.get("XEC_RUNS", "runs"))


def run_names(kind: RunKind) -> list[str]:
    """Return the registered run names of one kind, sorted.

    A file whose name cannot be a run name is left out with a warning: a copy that somebody made
    must not take all other runs with it.
    """
    # Editors leave hidden files beside the one that they hold.
    files = (registry_root() / kind).glob("[!.]*.yaml")
    return sorted(path.stem for path in files if _has_run_name(path))


def _has_run_name(path: Path) -> bool:
    try:
        _check_file_name(path)
    except ConfigError as error:
        _log.warning("%s; the file is left out", error)
        return False
    return True


def _check_file_name(path: Path) -> None:
    try:
        check_run_name(path.stem)
    except ValueError as error:
        raise ConfigError(f"{path}: {error}") from None


def run_path(kind: RunKind, name: str) -> Path:
    """Return the YAML file of a registered run.

    Raises
    ------
    ConfigError
        If there is no such run; the message names the nearest. Also if the name has a file, but
        cannot be that of a run.
    """
    path = registry_root() / kind / f"{name}.yaml"
    if not path.is_file():
        known = run_names(kind)
        raise ConfigError(
            f"no {kind} run '{name}' in {path.parent}{did_you_mean(name, known)}; "
            f"registered: {', '.join(known) or 'none'}"
        )
    _check_file_name(path)
    return path


def registered_regressor(name: str) -> RegressorRun:
    """Return the registered regressor run `name`; the file's name is the run's name.

    Raises
    ------
    ConfigError
        If there is no such run, its file is wrong, or the file gives the run another name: workers
        read the file alone, and must find the same folder. Also if the masked-autoencoder run that
        it names is not registered.
    """
    path = run_path("regressor", name)
    run = load_regressor_run(path)
    _check_name(run, name, path)
    check_named_runs(run, path)
    return run


def registered_mae(name: str) -> MaeRun:
    """Return the registered masked-autoencoder run `name`; see `registered_regressor`."""
    path = run_path("mae", name)
    run = load_mae_run(path)
    _check_name(run, name, path)
    return run


def registered_inpainter(name: str) -> InpainterRun:
    """Return the registered inpainter run `name`; see `registered_regressor`.

    The regressor that is to be tried with it must be registered too.
    """
    path = run_path("inpainter", name)
    run = load_inpainter_run(path)
    _check_name(run, name, path)
    check_named_runs(run, path)
    return run


def production_config() -> ProductionConfig:
    """Return how the model in use is chosen: `production.yaml` of the registry, else defaults.

    Raises
    ------
    ConfigError
        If the file is there but wrong.
    """
    path = registry_root() / "production.yaml"
    return load_production(path) if path.is_file() else ProductionConfig()


def check_named_runs(run: Run, path: Path) -> None:
    """Refuse a run that names another one which is not registered.

    Raises
    ------
    ConfigError
        Naming the file `path`, the option, and the nearest registered run.
    """
    if isinstance(run, PretrainedRun):
        _check_named("mae", run.mae, "mae", path)
    if isinstance(run, InpainterRun):
        _check_named("regressor", run.validation.regressor, "validation.regressor", path)


def _check_named(kind: RunKind, name: str | None, option: str, path: Path) -> None:
    """Refuse an option of the file `path` that names a run which is not registered."""
    if name is None:
        return
    try:
        run_path(kind, name)
    except ConfigError as error:
        raise ConfigError(f"{path}: {option}: {error}") from None


def _check_name(run: Run, name: str, path: Path) -> None:
    if run.name != name:
        raise ConfigError(
            f"{path}: mlflow.run_name is '{run.name}', expected '{name}' like the file; "
            "rename the file or leave the name out"
        )
