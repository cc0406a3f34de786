"""Command-line flags of a run: one flag per option of the configuration.

A flag is called like the last part of the option (`training.lr` is `--lr`), except where that would
not say enough; its help is the option's own sentence. Underscores and hyphens are the same.
"""

import argparse
from collections.abc import Iterator, Mapping
from types import NoneType
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from xec_pipeline.config.run import RegressorRun
from xec_pipeline.config.tasks import TASK_NAMES
from xec_pipeline.errors import ConfigError

_RENAMED: Final[Mapping[str, str]] = {
    "data.tree_name": "tree",
    "data.fiducial.enabled": "fiducial",
    "data.fiducial.u_max": "fiducial_u_max",
    "data.fiducial.v_max": "fiducial_v_max",
    "data.fiducial.w_min": "fiducial_w_min",
    "data.fiducial.w_max": "fiducial_w_max",
    "mlflow.experiment": "mlflow_experiment",
}
_NONE_WORDS: Final = frozenset({"null", "none", "None", "~"})
_SWITCHES: Final[Mapping[str, str]] = {
    "auto_resume": "Go on from this run's last checkpoint if it fits",
    "overwrite": "Begin again where checkpoints of another training stand",
    "skip_final": "Leave the final tables and figures to a later step",
}
_SECTIONS_WITHOUT_FLAGS: Final = frozenset({"tasks", "reweighting"})


def add_run_flags(parser: argparse.ArgumentParser) -> None:
    """Add `--config`, one flag for each option, `--tasks` and `--set` to `parser`.

    Only flags that are given appear in the parsed namespace, so that `overrides_from` knows them.
    """
    parser.add_argument(
        "--config", required=True, metavar="RUN", help="YAML file of the run, or name of a preset"
    )
    parser.add_argument(
        "--tasks",
        nargs="+",
        choices=TASK_NAMES,
        default=argparse.SUPPRESS,
        metavar="TASK",
        help=f"Train these targets and no others: {', '.join(TASK_NAMES)}",
    )
    for dotted, field in options(RegressorRun):
        _add_option(parser, dotted, field)
    parser.add_argument(
        "--set",
        action="append",
        default=argparse.SUPPRESS,
        metavar="OPTION=VALUE",
        help="Any option by its full name, for example --set tasks.energy.loss_fn=l1",
    )


def add_switch(parser: argparse.ArgumentParser, name: str, text: str) -> None:
    """Add `--name`, which may be followed by true or false, in both spellings."""
    for spelling in _spellings(name):
        parser.add_argument(
            spelling,
            dest=name,
            nargs="?",
            const=True,
            default=False,
            type=_truth,
            metavar="true|false",
            help=text if spelling == f"--{name}" else argparse.SUPPRESS,
        )


def add_training_flags(parser: argparse.ArgumentParser) -> None:
    """Add all flags of a training: those of the run, and how to begin."""
    add_run_flags(parser)
    for name, text in _SWITCHES.items():
        add_switch(parser, name, text)


def overrides_from(args: argparse.Namespace) -> dict[str, Any]:
    """Return dotted option to value for the flags that were given.

    Raises
    ------
    ConfigError
        If a `--set` is not of the form OPTION=VALUE.
    """
    given = vars(args)
    overrides = {
        dotted: _value(field, given[flag_name(dotted)])
        for dotted, field in options(RegressorRun)
        if flag_name(dotted) in given
    }
    if "tasks" in given:
        overrides |= {f"tasks.{name}.enabled": name in given["tasks"] for name in TASK_NAMES}
    for item in given.get("set", []):
        dotted, found, text = item.partition("=")
        if not found:
            raise ConfigError(f"--set {item}: expected OPTION=VALUE, such as training.lr=1e-4")
        overrides[dotted] = None if text in _NONE_WORDS else text
    return overrides


def arguments_from(args: argparse.Namespace) -> list[str]:
    """Return the command line from which `args` was parsed by a parser with training flags."""
    given = vars(args)
    names = [flag_name(dotted) for dotted, _ in options(RegressorRun)]
    words = ["--config", args.config]
    for name in (*names, *_SWITCHES):
        value = given.get(name)
        if isinstance(value, list):
            words += [f"--{name}", *value]
        elif value is not None:
            # The form with "=" lets a value begin with a minus sign.
            words.append(f"--{name}={str(value).lower() if value in (True, False) else value}")
    words += ["--tasks", *given["tasks"]] if "tasks" in given else []
    return words + [f"--set={item}" for item in given.get("set", [])]


def options(kind: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Yield dotted name and field of every option that has a flag, in the order of the sections."""
    for name, field in kind.model_fields.items():
        dotted = f"{prefix}{name}"
        inner = field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            if name not in _SECTIONS_WITHOUT_FLAGS:
                yield from options(inner, f"{dotted}.")
        else:
            yield dotted, field


def flag_name(dotted: str) -> str:
    """Return the flag, without dashes, of an option."""
    return _RENAMED.get(dotted, dotted.rpartition(".")[2])


def _add_option(parser: argparse.ArgumentParser, dotted: str, field: FieldInfo) -> None:
    name = flag_name(dotted)
    shape: dict[str, Any] = {"metavar": _metavar(field)}
    if field.annotation is bool:
        shape |= {"nargs": "?", "const": "true"}
    elif length := _tuple_length(field):
        shape |= {"nargs": length, "metavar": "N"}
    for spelling in _spellings(name):
        is_shown = spelling == f"--{name}"
        parser.add_argument(
            spelling,
            dest=name,
            default=argparse.SUPPRESS,
            help=_help(dotted, field) if is_shown else argparse.SUPPRESS,
            **shape,
        )


def _spellings(name: str) -> tuple[str, ...]:
    hyphens = name.replace("_", "-")
    return (f"--{name}",) if hyphens == name else (f"--{name}", f"--{hyphens}")


def _help(dotted: str, field: FieldInfo) -> str:
    text = (field.description or "").replace("\n", " ").replace("%", "%%")
    default = {None: "null", "": "empty"}.get(field.default, field.default)
    return f"{text} [{dotted}, default {default}]".replace("`", "")


def _metavar(field: FieldInfo) -> str:
    if field.annotation is bool:
        return "true|false"
    kinds = (field.annotation, *get_args(field.annotation))
    for kind in kinds:
        if get_origin(kind) is Literal:
            return "|".join(get_args(kind))
    return next(kind.__name__.upper() for kind in kinds if isinstance(kind, type))


def _tuple_length(field: FieldInfo) -> int:
    for kind in (field.annotation, *get_args(field.annotation)):
        if get_origin(kind) is tuple:
            return len(get_args(kind))
    return 0


def _value(field: FieldInfo, given: Any) -> Any:
    """Return `given` for pydantic, which turns text into numbers; only null is ours to read."""
    takes_none = NoneType in get_args(field.annotation)
    return None if takes_none and isinstance(given, str) and given in _NONE_WORDS else given


def _truth(text: str) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in words:
        raise argparse.ArgumentTypeError(f"expected true or false, got '{text}'")
    return words[text.lower()]
