"""Checkpoints of the earlier system, converted to those of this one.

Weights have the same names. What differs: prefixes of wrapped models, index tables among the
weights, a flat configuration, heads that were never trained, and the units of two targets.
"""

import dataclasses
import logging
import math
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, Final, Literal

from xec_pipeline.config.inpainter import InpainterRun
from xec_pipeline.config.loader import (
    RunT,
    load_inpainter_run,
    load_mae_run,
    load_regressor_run,
    validate,
)
from xec_pipeline.config.mae import MaeRun
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.config.tasks import TASK_NAMES
from xec_pipeline.detector.layout import Layout
from xec_pipeline.errors import CheckpointError, ConfigError, did_you_mean
from xec_pipeline.models.encoder import build_encoder
from xec_pipeline.models.heads import TASK_OUTPUTS
from xec_pipeline.models.inpainter import build_inpainter
from xec_pipeline.models.mae import build_mae
from xec_pipeline.models.regressor import build_regressor
from xec_pipeline.training.checkpoint import (
    Checkpoint,
    kind_of,
    load_weights,
    read_content,
    unwrapped,
    write_checkpoint,
)
from xec_pipeline.training.legacy_weights import (
    State,
    encoder_part,
    encoder_shapes,
    heads_in,
    inpainter_shapes,
    layout_of,
    with_factors,
    with_heads,
    with_new_vectors,
    without_tables,
)
from xec_pipeline.units import MEV_PER_GEV, NS_PER_S

Kind = Literal["regressor", "mae", "inpainter", "encoder"]
Tree = dict[str, Any]

_log = logging.getLogger(__name__)

_DATA_KEYS: Final = ("npho_branch", "time_branch")
_INPUT_KEYS: Final = (
    "npho_scheme",
    "npho_scale",
    "npho_scale2",
    "time_scale",
    "time_shift",
    "sentinel_time",
    "sentinel_npho",
    "npho_threshold",
)
_MODEL_KEYS: Final = (
    "outer_fine_pool",
    "drop_path_rate",
    "mask_ratio",
    "predict_channels",
    "mask_npho_flat",
    "freeze_encoder",
)
_EARLIER_THRESHOLD: Final = 100.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImportOptions:
    """What a file of the earlier system does not say.

    Attributes
    ----------
    config
        Its YAML file: losses, logarithms, paths. None to do without.
    time_unit
        Unit of `timeTruth` in the files it was trained on.
    tasks
        Heads to keep; None for all that were trained.
    """

    config: Path | None = None
    time_unit: Literal["s", "ns"] = "s"
    tasks: tuple[str, ...] | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Earlier:
    """What a file holds: weights and perhaps their average, flat configuration, sensor maps."""

    source: Path
    weights: State
    average: State | None
    flat: Mapping[str, Any]
    layout: Layout
    options: ImportOptions


def import_checkpoint(
    source: Path, out: Path, kind: Kind, options: ImportOptions | None = None
) -> Checkpoint:
    """Convert a checkpoint; what has to be assumed is logged.

    Predictions come out in MeV, ns, cm and degrees: the factors from GeV and s go into the last
    layers, so that targets have mean 0 and scale 1. Optimizer and schedule are left behind.

    Parameters
    ----------
    source
        `checkpoint_*.pth`, `mae_checkpoint_*.pth`, `inpainter_checkpoint_*.pth` or
        `mae_encoder_epoch_*.pth`; read without running code from it.
    out
        File to write.
    kind
        What to make. An encoder can also be cut out of a checkpoint of kind mae.
    options
        What the file does not say.

    Raises
    ------
    CheckpointError
        If the file is damaged, of another kind, made for other sensor maps, or if its weights do
        not fit its configuration.
    ConfigError
        If the YAML file cannot be used, or a task is asked for that was not trained.
    """
    content = read_content(source)
    _check_kind(source, content, kind)
    state = unwrapped(content["model_state_dict"])
    average = content.get("ema_state_dict")
    found = _Earlier(
        source=source,
        weights=without_tables(state),
        average=without_tables(unwrapped(average)) if average else None,
        flat=content.get("config") or {},
        layout=layout_of(state, source),
        options=options or ImportOptions(),
    )
    convert = _CONVERTERS[kind]
    checkpoint = dataclasses.replace(convert(found), **_history(source, content, kind))
    write_checkpoint(out, checkpoint)
    return checkpoint


def _check_kind(source: Path, content: Mapping[str, Any], kind: Kind) -> None:
    if "config_digest" in content:
        raise CheckpointError(
            f"{source}: already a checkpoint of this program, of kind '{kind_of(content)}'; "
            "expected one of the earlier system"
        )
    found = kind_of(content)
    if found != kind and (found, kind) != ("mae", "encoder"):
        is_known = found in _CONVERTERS
        advice = f"; import it with --kind {found}" if is_known else ""
        raise CheckpointError(f"{source}: holds a {found} checkpoint, expected {kind}{advice}")


def _history(source: Path, content: Mapping[str, Any], kind: Kind) -> Tree:
    if content.get("mlflow_run_id"):
        _log.info("%s: it was MLflow run %s", source, content["mlflow_run_id"])
    best = content.get("best_val_loss", content.get("best_val"))
    # Only the epochs of a regressor counted from 1.
    first = 1 if kind == "regressor" else 0
    completed = int(content["epoch"]) + 1 - first if "epoch" in content else 0
    return {"best_val": math.inf if best is None else float(best), "epoch": completed}


def _regressor(found: _Earlier) -> Checkpoint:
    options = found.options
    yaml = None if options.config is None else load_regressor_run(options.config)
    if yaml is None:
        _log.warning(
            "%s: no --config is given, so no target is taken to have been learned as a logarithm",
            found.source,
        )
    tasks = _trained_tasks(found, yaml)
    tree = _tree(found, yaml.model_dump() if yaml else {})
    encoder = {
        name.removeprefix("backbone."): weight
        for name, weight in found.weights.items()
        if name.startswith("backbone.")
    }
    width = len(found.weights[f"heads.{tasks[0]}.0.weight"])
    tree["model"] |= {**encoder_shapes(encoder, found.source), "hidden_dim": width}
    tree["data"]["truth_time_unit"] = options.time_unit
    tree["tasks"] = _tasks(tree.get("tasks", {}), tasks, found.flat.get("nll_tasks") or ())
    run = _validated(RegressorRun, tree, found.source)
    factors = {"energy": MEV_PER_GEV, "timing": NS_PER_S if options.time_unit == "s" else 1.0}
    states = [
        None if state is None else with_factors(with_heads(state, tasks), factors, run)
        for state in (found.weights, found.average)
    ]
    for state in filter(None, states):
        load_weights(build_regressor(run), state, found.source)
    return Checkpoint(
        kind="regressor",
        model_state_dict=states[0] or {},
        ema_state_dict=states[1],
        config=run.model_dump(),
        config_digest=run.digest(),
        normalization=run.normalization.model_dump(),
        target_statistics={task: _unit_statistics(task, run) for task in tasks},
        layout=found.layout.name,
    )


def _mae(found: _Earlier) -> Checkpoint:
    config = found.options.config
    tree = _tree(found, {} if config is None else load_mae_run(config).model_dump())
    shapes = encoder_shapes(encoder_part(found.weights), found.source)
    if shapes["outer_mode"] == "split":
        raise CheckpointError(
            f"{found.source}: has no decoder for the centre of the outer face, which an MAE with "
            "outer_mode 'split' needs here; import its encoder with --kind encoder"
        )
    decoder = found.weights.get("dec_top.proj_in.weight")
    tree["model"] |= shapes | ({} if decoder is None else {"decoder_dim": len(decoder)})
    learns_variances = "channel_log_vars" in found.weights
    tree["training"] = {**tree.get("training", {}), "auto_channel_weight": learns_variances}
    run = _validated(MaeRun, tree, found.source)
    for state in filter(None, (found.weights, found.average)):
        load_weights(build_mae(run), state, found.source)
    return Checkpoint(
        kind="mae",
        model_state_dict=found.weights,
        ema_state_dict=found.average,
        config=run.model_dump(),
        config_digest=run.digest(),
        normalization=run.normalization.model_dump(),
        layout=found.layout.name,
    )


def _inpainter(found: _Earlier) -> Checkpoint:
    config = found.options.config
    tree = _tree(found, {} if config is None else load_inpainter_run(config).model_dump())
    shapes = encoder_shapes(encoder_part(found.weights), found.source)
    heads = inpainter_shapes(found.weights, found.source)
    if shapes["outer_mode"] == "split" and heads["head_type"] == "per_face":
        raise CheckpointError(
            f"{found.source}: has no head for the centre of the outer face, which an inpainter "
            "with outer_mode 'split' and a head for each face needs here"
        )
    tree["model"] |= shapes | heads
    run = _validated(InpainterRun, tree, found.source)
    own = build_inpainter(run)
    states = [
        None if state is None else with_new_vectors(state, own.state_dict())
        for state in (found.weights, found.average)
    ]
    for state in filter(None, states):
        load_weights(own, state, found.source)
    _tell_of_masks(found, run, is_new=len(states[0] or ()) > len(found.weights))
    return Checkpoint(
        kind="inpainter",
        model_state_dict=states[0] or {},
        ema_state_dict=states[1],
        config=run.model_dump(),
        config_digest=run.digest(),
        normalization=run.normalization.model_dump(),
        layout=found.layout.name,
    )


def _tell_of_masks(found: _Earlier, run: InpainterRun, *, is_new: bool) -> None:
    """Say where an imported inpainter sees something else than it did."""
    if is_new:
        _log.warning(
            "%s: for a sensor with no visible neighbour it took the mean of the hidden ones; here "
            "such a sensor is predicted without neighbours",
            found.source,
        )
    if "time" in run.model.predict_channels:
        _log.warning(
            "%s: it never saw sensors without a usable time; here they stay visible by their "
            "photons, so predictions differ where there are any",
            found.source,
        )


def _encoder(found: _Earlier) -> Checkpoint:
    """Return the averaged encoder where there is one, and only those options that are known."""
    state = encoder_part(found.average or found.weights)
    config = found.options.config
    is_known = bool(found.flat) or config is not None
    if is_known:
        tree = _tree(found, {} if config is None else load_mae_run(config).model_dump())
    else:
        _log.warning(
            "%s: weights alone; a run that starts from them must have the normalization and the "
            "outer_fine_pool of their training (give --config to have this checked)",
            found.source,
        )
        tree = {"model": {"layout": found.layout.name}}
    tree["model"] |= encoder_shapes(state, found.source)
    run = _validated(MaeRun, {**tree, "mlflow": {}, "checkpoint": {}}, found.source)
    load_weights(build_encoder(run.model, found.layout, run.normalization), state, found.source)
    return Checkpoint(
        kind="encoder",
        model_state_dict=state,
        config={"model": run.model.model_dump(include=set(tree["model"]))},
        normalization=run.normalization.model_dump() if is_known else {},
        layout=found.layout.name,
    )


_CONVERTERS: Final[Mapping[Kind, Callable[[_Earlier], Checkpoint]]] = {
    "regressor": _regressor,
    "mae": _mae,
    "inpainter": _inpainter,
    "encoder": _encoder,
}


def _tree(found: _Earlier, base: Tree) -> Tree:
    """Return the sections of a configuration: those of the YAML file, overruled by the checkpoint.

    Raises
    ------
    CheckpointError
        If neither says how inputs were made.
    """
    flat, tree = dict(found.flat), dict(base)
    if not base and "npho_threshold" not in flat:
        _log.warning(
            "%s: does not say from which photon count on times were used; %g is assumed (give "
            "--config to have it read)",
            found.source,
            _EARLIER_THRESHOLD,
        )
        flat["npho_threshold"] = _EARLIER_THRESHOLD
    missing = [name for name in (*_INPUT_KEYS, "outer_fine_pool") if name not in flat]
    if missing and not base:
        raise CheckpointError(
            f"{found.source}: its configuration lacks {', '.join(missing)}; give --config"
        )
    keys = {"data": _DATA_KEYS, "normalization": _INPUT_KEYS, "model": _MODEL_KEYS}
    for section, names in keys.items():
        given = {name: flat[name] for name in names if name in flat}
        tree[section] = {**tree.get(section, {}), **given}
    tree["model"]["layout"] = found.layout.name
    return tree


def _trained_tasks(found: _Earlier, yaml: RegressorRun | None) -> list[str]:
    """Return the tasks to keep, in contract order."""
    heads = heads_in(found.weights)
    active = found.flat.get("active_tasks") or (yaml.tasks.active if yaml else None)
    if active is None:
        raise CheckpointError(
            f"{found.source}: does not say which of its heads ({', '.join(sorted(heads))}) were "
            "trained; give --config"
        )
    trained = [task for task in TASK_NAMES if task in active and task in heads]
    wanted = trained if found.options.tasks is None else found.options.tasks
    foreign = [task for task in wanted if task not in trained]
    if foreign or not wanted:
        near = did_you_mean(foreign[0], trained) if foreign else ""
        lacking = f"{', '.join(foreign) or 'any known target'}{near}"
        raise ConfigError(
            f"{found.source}: no trained head for {lacking}; trained: {', '.join(active)}"
        )
    left = sorted(heads - set(wanted))
    if left:
        _log.info("%s: heads left behind: %s", found.source, ", ".join(left))
    return [task for task in TASK_NAMES if task in wanted]


def _tasks(given: Mapping[str, Any], trained: Collection[str], nll: Collection[str]) -> Tree:
    tasks: Tree = {name: {**given.get(name, {}), "enabled": name in trained} for name in TASK_NAMES}
    for name, task in tasks.items():
        if name in nll:
            task["loss_fn"] = "gaussian_nll"
        elif task.get("loss_fn") == "gaussian_nll":
            task["loss_fn"] = "smooth_l1"
    tasks["timing"] |= {"reference": "emission", "origin": "none"}
    return tasks


def _unit_statistics(task: str, run: RegressorRun) -> Tree:
    n = TASK_OUTPUTS[task]
    return {"mean": [0.0] * n, "scale": [1.0] * n, "log": run.tasks[task].log_transform}


def _validated(kind: type[RunT], tree: Tree, source: Path) -> RunT:
    try:
        return validate(kind, tree, "config")
    except ConfigError as error:
        raise CheckpointError(f"{source}: its configuration cannot be used: {error}") from None
