"""A new run of the registry: a preset, or another run, and what is to be different."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from xec_pipeline.atomic import replacing
from xec_pipeline.config.loader import (
    load_inpainter_run,
    load_mae_run,
    load_regressor_run,
    preset_of,
    run_from_text,
)
from xec_pipeline.config.output import check_run_name
from xec_pipeline.config.pretrained import PretrainedRun
from xec_pipeline.config.registry import RunKind, check_named_runs, registry_root, run_path
from xec_pipeline.config.run_base import Run
from xec_pipeline.errors import ConfigError, OutputError

_LOADERS: Final[Mapping[RunKind, Callable[..., Run]]] = {
    "regressor": load_regressor_run,
    "mae": load_mae_run,
    "inpainter": load_inpainter_run,
}


def new_run(
    kind: RunKind,
    name: str,
    *,
    preset: str | None = None,
    other: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> tuple[Run, str]:
    """Return a run that is not yet in the registry, and the text of its file.

    Parameters
    ----------
    kind, name
        Of the new run.
    preset
        What the file begins with; None for that of `other`.
    other
        Registered run of this kind whose options the new run takes over.
    options
        Dotted option to value; they win over preset and other run.

    Returns
    -------
    run, text
        The checked run, and YAML that states only what differs from the preset.

    Raises
    ------
    ConfigError
        If name, preset, other run, an option or a run that is named by one cannot be used; the
        message is that of loading such a file.
    """
    path = path_of_new(kind, name)
    preset, source = _source(kind, preset, other)
    run = _LOADERS[kind](source, {**(options or {}), "mlflow.run_name": name})
    check_named_runs(run, path)
    base = None if preset is None else _plain(_LOADERS[kind](preset))
    wanted = _plain(run)
    tree = wanted if base is None else _difference(wanted, base)
    tree = ({} if preset is None else {"preset": preset}) | tree
    text = _header(kind, path, other) + yaml.safe_dump(tree, sort_keys=False)
    read_back = run_from_text(kind, text, str(path)).named(name)
    if read_back != run:
        raise ConfigError(
            f"{path}: the options cannot be stated as a difference to the preset '{preset}': an "
            "option of it would have to be removed; choose another preset"
        )
    return run, text


def write_new_run(path: Path, text: str, *, overwrite: bool = False) -> None:
    """Write the file of a run, whole or not at all.

    Raises
    ------
    OutputError
        If it exists already and may not be overwritten.
    """
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: this run exists already; give --overwrite to replace its file")
    with replacing(path) as partial:
        partial.write_text(text)


def path_of_new(kind: RunKind, name: str) -> Path:
    """Return where the file of a run is to be.

    Raises
    ------
    ConfigError
        If the name cannot be that of a run.
    """
    try:
        return registry_root() / kind / f"{check_run_name(name)}.yaml"
    except ValueError as error:
        raise ConfigError(str(error)) from None


def stated_options(text: str) -> dict[str, Any]:
    """Return the options that the text of a run states, by dotted name, in its order."""
    return _flat(yaml.safe_load(text))


def _source(kind: RunKind, preset: str | None, other: str | None) -> tuple[str | None, str | Path]:
    """Return the preset to state, None for none, and what is loaded."""
    if other is not None:
        path = run_path(kind, other)
        return (preset or preset_of(path)), path
    if preset is None:
        raise ConfigError("name a preset (--preset) or another run (--from) to begin with")
    if Path(preset).suffix in {".yaml", ".yml"}:
        raise ConfigError(f"'{preset}' is a file; --preset takes the name of a preset")
    return preset, preset


def _plain(run: Run) -> dict[str, Any]:
    """Return the options as YAML has them, without the name of the run."""
    tree = run.model_dump(mode="json")
    tree["mlflow"].pop("run_name")
    if isinstance(run, PretrainedRun):  # which encoder comes first, as a person would write it
        tree = {"mae": tree.pop("mae"), **tree}
    return tree


def _difference(wanted: Mapping[str, Any], base: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of `wanted` that `base` has not or has otherwise."""
    found: dict[str, Any] = {}
    for name, value in wanted.items():
        known = base.get(name)
        if isinstance(value, dict) and isinstance(known, dict):
            if inner := _difference(value, known):
                found[name] = inner
        elif name not in base or not _equal(value, known):
            found[name] = value
    return found


def _equal(first: object, second: object) -> bool:
    if isinstance(first, float) and isinstance(second, float):
        return first == second or (math.isnan(first) and math.isnan(second))
    return type(first) is type(second) and first == second


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in tree.items():
        inner = _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {}
        flat |= inner or {f"{prefix}{name}": value}
    return flat


def _header(kind: RunKind, path: Path, other: str | None) -> str:
    begun = f"# Made from the {kind} run '{other}'.\n" if other is not None else ""
    return f"{begun}# Train it: xec train {kind} --config {path}\n"
