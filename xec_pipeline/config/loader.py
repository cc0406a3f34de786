"""From a preset name or a YAML file, plus overrides, to a checked run."""

from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from xec_pipeline.config.inpainter import InpainterRun
from xec_pipeline.config.legacy import Kind, modernized
from xec_pipeline.config.mae import MaeRun
from xec_pipeline.config.output import check_run_name
from xec_pipeline.config.production import ProductionConfig
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.config.section import Section
from xec_pipeline.errors import ConfigError, did_you_mean

RunT = TypeVar("RunT", RegressorRun, MaeRun, InpainterRun)
SectionT = TypeVar("SectionT", bound=Section)

_PRESET_PREFIXES: Final[Mapping[str, Kind]] = {"mae-": "mae", "inpainter-": "inpainter"}
"""How the presets' names begin, except for regressors."""


def preset_names(kind: Kind = "regressor") -> list[str]:
    """Return the names of the presets of one kind shipped with the package."""
    folder = resources.files("xec_pipeline.config") / "recipes"
    names = [Path(item.name).stem for item in folder.iterdir() if item.name.endswith(".yaml")]
    return sorted(name for name in names if _kind_of_preset(name) == kind)


def load_regressor_run(
    source: str | Path, overrides: Mapping[str, Any] | None = None
) -> RegressorRun:
    """Read, override and check a regressor run.

    Parameters
    ----------
    source
        Name of a preset, or path of a YAML file. The file may begin with `preset: <name>` and then
        states only what differs. The file itself is never changed.
    overrides
        Dotted option to value, for example `{"training.lr": 1e-4}`.

    Returns
    -------
    RegressorRun
        Frozen and complete. Its name is `mlflow.run_name`, or the file's or preset's name.

    Raises
    ------
    ConfigError
        If the source does not exist, is not YAML, or holds an unknown key or a wrong value.
        The message names the file, the key and what is near.
    """
    return _load(RegressorRun, "regressor", source, overrides)


def load_mae_run(source: str | Path, overrides: Mapping[str, Any] | None = None) -> MaeRun:
    """Read, override and check a masked-autoencoder run; see `load_regressor_run`."""
    return _load(MaeRun, "mae", source, overrides)


def load_inpainter_run(
    source: str | Path, overrides: Mapping[str, Any] | None = None
) -> InpainterRun:
    """Read, override and check an inpainter run; see `load_regressor_run`."""
    return _load(InpainterRun, "inpainter", source, overrides)


def load_production(path: Path) -> ProductionConfig:
    """Read and check how the model in use is chosen; see `load_regressor_run`."""
    return validate(ProductionConfig, read_yaml(path), str(path))


def validate(kind: type[SectionT], tree: Mapping[str, Any], label: str) -> SectionT:
    """Build a section from a nested mapping; turn pydantic's report into one ConfigError."""
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        lines = [_explain(kind, detail) for detail in error.errors()]
        raise ConfigError(f"{label}: " + "; ".join(lines)) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """Read one YAML mapping; raise ConfigError with the position of a syntax error."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise ConfigError(f"{path}: no such file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a readable text file: {error}") from None
    return _parsed(text, str(path))


def preset_of(path: Path) -> str | None:
    """Return the preset that the YAML file of a run begins with; None if it states everything."""
    preset = read_yaml(path).get("preset")
    return None if preset is None else str(preset)


def run_from_text(kind: Kind, text: str, label: str) -> RegressorRun | MaeRun | InpainterRun:
    """Return the run that the text of a YAML file describes, not yet named after a file.

    Parameters
    ----------
    kind
        Of the run.
    text
        As in a file; it may begin with `preset: <name>`.
    label
        What messages call it.

    Raises
    ------
    ConfigError
        As for a file.
    """
    tree = _with_preset(modernized(_parsed(text, label), kind, label), kind, label)
    if kind == "mae":
        return validate(MaeRun, tree, label)
    if kind == "inpainter":
        return validate(InpainterRun, tree, label)
    return validate(RegressorRun, tree, label)


def _load(
    kind: type[RunT], name: Kind, source: str | Path, overrides: Mapping[str, Any] | None
) -> RunT:
    tree, label = _read(source, name)
    for key, value in (overrides or {}).items():
        _set(tree, key, value)
    run = validate(kind, tree, label)
    try:
        return run if run.mlflow.run_name else run.named(check_run_name(Path(label).stem))
    except ValueError as error:
        raise ConfigError(f"{label}: {error}") from None


def _read(source: str | Path, kind: Kind) -> tuple[dict[str, Any], str]:
    known = preset_names(kind)
    if isinstance(source, str) and source in known:
        return read_yaml(_preset_path(source)), source
    path = Path(source)
    if path.suffix not in {".yaml", ".yml"}:
        raise ConfigError(
            f"'{source}' is neither a preset nor a .yaml file{did_you_mean(str(source), known)}; "
            f"presets: {', '.join(known)}"
        )
    tree = modernized(read_yaml(path), kind, str(path))
    return _with_preset(tree, kind, str(path)), str(path)


def _with_preset(tree: dict[str, Any], kind: Kind, label: str) -> dict[str, Any]:
    """Return the options of a file on top of those of the preset that it names."""
    known = preset_names(kind)
    preset = tree.pop("preset", None)
    if preset is None:
        return tree
    if preset not in known:
        raise ConfigError(
            f"{label}: unknown preset '{preset}'{did_you_mean(str(preset), known)}; "
            f"presets of this kind: {', '.join(known)}"
        )
    return _merge(read_yaml(_preset_path(preset)), tree)


def _parsed(text: str, label: str) -> dict[str, Any]:
    try:
        loaded = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{label}: not YAML: {error}") from None
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise ConfigError(
            f"{label}: expected sections such as 'data:', got {type(loaded).__name__}"
        )
    return loaded


def _kind_of_preset(name: str) -> Kind:
    kinds = [kind for prefix, kind in _PRESET_PREFIXES.items() if name.startswith(prefix)]
    return kinds[0] if kinds else "regressor"


def _preset_path(name: str) -> Path:
    return Path(str(resources.files("xec_pipeline.config") / "recipes" / f"{name}.yaml"))


def _merge(base: Mapping[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    """Return `base` with the options of `top`; an empty section of `top` changes nothing."""
    merged = dict(base)
    for key, value in top.items():
        below = merged.get(key)
        if isinstance(below, dict) and (value is None or isinstance(value, dict)):
            merged[key] = _merge(below, value or {})
        else:
            merged[key] = value
    return merged


def _set(tree: dict[str, Any], dotted: str, value: object) -> None:
    *parents, leaf = dotted.split(".")
    for parent in parents:
        below = tree.get(parent)
        tree[parent] = dict(below) if isinstance(below, dict) else {}
        tree = tree[parent]
    tree[leaf] = value


def _explain(kind: type[BaseModel], detail: ErrorDetails) -> str:
    path = [str(part) for part in detail["loc"]]
    key = ".".join(path)
    if detail["type"] != "extra_forbidden":
        reason = detail["msg"].removeprefix("Value error, ")
        return f"{key or 'run'}: {reason} (got {detail['input']!r:.80})"
    known = _options(kind, path[:-1])
    return f"unknown key '{key}'{did_you_mean(path[-1], known)}; known here: {', '.join(known)}"


def _options(kind: type[BaseModel], path: Iterable[str]) -> list[str]:
    for part in path:
        field = kind.model_fields[part]
        candidates = (field.annotation, *get_args(field.annotation))
        kind = next(c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel))
    return list(kind.model_fields)
