"""Command-line flags of a run: one flag per option of the configuration.

A flag is called like the last part of the option (`training.lr` is `--lr`), except where that would
not say enough; its help is the option's own sentence. Underscores and hyphens are the same.
"""

import argparse
from collections.abc import Iterable, Iterator, Mapping
from pathlib import PurePath
from types import NoneType
from typing import Any, Final, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from xec_pipeline.config.run import RegressorRun
from xec_pipeline.config.run_base import Run
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
    "training.time.weight": "time_weight",
    "training.time.mask_ratio_scale": "time_mask_ratio_scale",
    "training.time.use_npho_weight": "npho_time_weight",
    "training.time.npho_threshold": "time_npho_threshold",
    "training.npho_loss_weight.enabled": "npho_loss_weight",
    "training.npho_loss_weight.alpha": "npho_loss_weight_alpha",
    "training.intensity_reweighting.enabled": "intensity_reweighting",
    "training.intensity_reweighting.nbins": "intensity_reweighting_nbins",
    "training.intensity_reweighting.target": "intensity_reweighting_target",
    "training.intensity_reweighting.max_weight": "intensity_reweighting_max_weight",
}
_OTHER_NAMES: Final[Mapping[str, str]] = {
    "data.train_path": "train_root",
    "data.val_path": "val_root",
    "mlflow.run_name": "mlflow_run_name",
    "checkpoint.save_predictions": "save_root_predictions",
    "training.npho_loss_weight.enabled": "npho_loss_weight_enabled",
    "training.intensity_reweighting.enabled": "intensity_reweighting_enabled",
}
"""Second names of flags of trainings that hide sensors."""
_NEGATED: Final[Mapping[str, tuple[str, ...]]] = {
    "training.time.use_npho_weight": ("no_npho_time_weight",),
    "training.track_mae_rmse": ("no_track_mae_rmse", "disable_mae_rmse_metrics"),
    "training.track_metrics": ("no_track_metrics",),
    "model.freeze_encoder": ("finetune_encoder",),
    "model.use_local_context": ("global_only",),
}
_SAVE_PATH: Final = "save_path"
_NONE_WORDS: Final = frozenset({"null", "none", "None", "~"})
_SWITCHES: Final[Mapping[str, str]] = {
    "auto_resume": "Go on from this run's last checkpoint if it fits",
    "overwrite": "Begin again where checkpoints of another training stand",
    "skip_final": "Leave the final tables and figures to a later step",
}
_REGRESSOR_SWITCHES: Final = frozenset({"skip_final"})
_SECTIONS_WITHOUT_FLAGS: Final = frozenset({"tasks", "reweighting", "validation", "schedule"})


def add_run_flags(parser: argparse.ArgumentParser, kind: type[Run] = RegressorRun) -> None:
    """Add `--config`, one flag for each option of a run of this kind, and `--set` to `parser`.

    Only flags that are given appear in the parsed namespace, so that `overrides_from` knows them.
    A regressor has `--tasks`, too, and other runs have the earlier system's names of flags.
    """
    parser.add_argument(
        "--config", required=True, metavar="RUN", help="YAML file of the run, or name of a preset"
    )
    if kind is RegressorRun:
        _add_tasks(parser)
    else:
        _add_save_path(parser)
    for dotted, field in options(kind):
        _add_option(parser, dotted, field, _others(dotted, kind))
        for negation in _NEGATED.get(dotted, ()):
            _add_negation(parser, dotted, negation)
    parser.add_argument(
        "--set",
        action="append",
        default=argparse.SUPPRESS,
        metavar="OPTION=VALUE",
        help="Any option by its full name, for example --set training.lr=1e-4",
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


def add_training_flags(parser: argparse.ArgumentParser, kind: type[Run] = RegressorRun) -> None:
    """Add all flags of a training: those of the run, and how to begin."""
    add_run_flags(parser, kind)
    for name, text in _SWITCHES.items():
        if kind is RegressorRun or name not in _REGRESSOR_SWITCHES:
            add_switch(parser, name, text)


def overrides_from(args: argparse.Namespace, kind: type[Run] = RegressorRun) -> dict[str, Any]:
    """Return dotted option to value for the flags that were given.

    Raises
    ------
    ConfigError
        If a `--set` is not of the form OPTION=VALUE.
    """
    given = vars(args)
    overrides = {
        dotted: _value(field, given[flag_name(dotted)])
        for dotted, field in options(kind)
        if flag_name(dotted) in given
    }
    if _SAVE_PATH in given:
        folder = PurePath(given[_SAVE_PATH])
        overrides |= {"checkpoint.save_dir": str(folder.parent), "mlflow.run_name": folder.name}
    if "tasks" in given:
        overrides |= {f"tasks.{name}.enabled": name in given["tasks"] for name in TASK_NAMES}
    return overrides | set_options(given.get("set", []))


def set_options(items: Iterable[str]) -> dict[str, Any]:
    """Return dotted option to value for the words OPTION=VALUE after `--set`.

    Raises
    ------
    ConfigError
        If one is not of that form.
    """
    overrides: dict[str, Any] = {}
    for item in items:
        dotted, found, text = item.partition("=")
        if not found:
            raise ConfigError(f"--set {item}: expected OPTION=VALUE, such as training.lr=1e-4")
        overrides[dotted] = None if text in _NONE_WORDS else text
    return overrides


def arguments_from(args: argparse.Namespace, kind: type[Run] = RegressorRun) -> list[str]:
    """Return the command line from which `args` was parsed by a parser with training flags."""
    given = vars(args)
    names = [flag_name(dotted) for dotted, _ in options(kind)]
    words = ["--config", args.config]
    for name in (*names, _SAVE_PATH, *_SWITCHES):
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


def _add_tasks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tasks",
        nargs="+",
        choices=TASK_NAMES,
        default=argparse.SUPPRESS,
        metavar="TASK",
        help=f"Train these targets and no others: {', '.join(TASK_NAMES)}",
    )


def _add_save_path(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        *_spellings(_SAVE_PATH),
        dest=_SAVE_PATH,
        default=argparse.SUPPRESS,
        metavar="FOLDER",
        help="Folder of the run's artifacts: --save_dir and --run_name in one",
    )


def _add_negation(parser: argparse.ArgumentParser, dotted: str, negation: str) -> None:
    name = flag_name(dotted)
    parser.add_argument(
        *_spellings(negation),
        dest=name,
        action="store_const",
        const="false",
        default=argparse.SUPPRESS,
        help=f"The same as --{name} false",
    )


def _others(dotted: str, kind: type[Run]) -> tuple[str, ...]:
    is_known = kind is not RegressorRun and dotted in _OTHER_NAMES
    return _spellings(_OTHER_NAMES[dotted]) if is_known else ()


def _add_option(
    parser: argparse.ArgumentParser, dotted: str, field: FieldInfo, others: tuple[str, ...]
) -> None:
    name = flag_name(dotted)
    shape: dict[str, Any] = {"metavar": _metavar(field)}
    if field.annotation is bool:
        shape |= {"nargs": "?", "const": "true"}
    elif length := _tuple_length(field):
        shape |= {"nargs": length} | ({} if length == "+" else {"metavar": "N"})
    shown = (f"--{name}", *others[:1])
    hidden = [text for text in (*_spellings(name), *others) if text not in shown]
    for spellings, text in ((shown, _help(dotted, field)), (hidden, argparse.SUPPRESS)):
        if spellings:
            parser.add_argument(
                *spellings, dest=name, default=argparse.SUPPRESS, help=text, **shape
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


def _tuple_length(field: FieldInfo) -> int | Literal["+"]:
    for kind in (field.annotation, *get_args(field.annotation)):
        if get_origin(kind) is tuple:
            return "+" if Ellipsis in get_args(kind) else len(get_args(kind))
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
