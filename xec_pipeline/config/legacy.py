"""Configuration files of the earlier system, brought into the form of this one.

Its files have the same sections and almost the same keys. Some keys have moved, some have lost
their effect, and a few mean something else here; each such change is logged once, by its key.
"""

import copy
import logging
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any, Final, Literal

Kind = Literal["regressor", "mae", "inpainter"]
Tree = dict[str, Any]

_log = logging.getLogger(__name__)

_FLAT_TIME_KEYS: Final = {
    "training.time_weight": "training.time.weight",
    "training.use_npho_time_weight": "training.time.use_npho_weight",
    "training.npho_threshold": "training.time.npho_threshold",
    "model.time_mask_ratio_scale": "training.time.mask_ratio_scale",
}
_MOVED: Final[Mapping[Kind, Mapping[str, str]]] = {
    "regressor": {},
    "mae": _FLAT_TIME_KEYS,
    "inpainter": {
        **_FLAT_TIME_KEYS,
        "checkpoint.save_root_predictions": "checkpoint.save_predictions",
    },
}
_WITHOUT_EFFECT: Final[Mapping[Kind, Mapping[str, str]]] = {
    "regressor": {
        "tasks.angleVec": "there is no such target in the data",
        "tasks.n_gamma": "there is no such target in the data",
        **dict.fromkeys(_FLAT_TIME_KEYS, "a regressor has no loss of sensor times"),
    },
    "mae": {},
    "inpainter": {
        "model.sensor_positions_file": "the positions are those of the geometry",
        "training.auto_channel_weight": "the losses of npho and time have the given weights",
    },
}
_KEYS: Final[Mapping[str, str]] = {
    "data": "train_path val_path tree_name batch_size chunksize num_workers num_threads "
    "prefetch_factor npho_branch time_branch log_invalid_npho",
    "normalization": "npho_scheme npho_scale npho_scale2 time_scale time_shift sentinel_time "
    "sentinel_npho npho_threshold",
    "model": "outer_mode outer_fine_pool encoder_dim dim_feedforward num_fusion_layers",
    "training": "epochs lr lr_scheduler lr_min warmup_epochs weight_decay grad_clip "
    "grad_accum_steps amp ema_decay compile compile_fullgraph profile",
    "checkpoint": "resume_from save_dir save_interval refresh_lr reset_epoch new_mlflow_run",
    "distributed": "num_gpus",
    "mlflow": "experiment run_name",
}
_HIDDEN_SENSOR_KEYS: Final = {
    "training": "loss_fn loss_beta npho_weight time track_mae_rmse track_metrics npho_loss_weight "
    "intensity_reweighting time_weight use_npho_time_weight npho_threshold auto_channel_weight",
    "checkpoint": "save_predictions root_save_interval",
}
"""Of trainings that hide sensors."""
_OWN_KEYS: Final[Mapping[Kind, Mapping[str, str]]] = {
    "regressor": {
        "data": "fiducial",
        "model": "hidden_dim drop_path_rate",
        "tasks": "angle energy timing uvwFI angleVec n_gamma",
        "training": "max_lr pct_start lr_patience lr_factor lr_restart_period lr_restart_mult "
        "channel_dropout_rate",
        "reweighting": "angle energy timing uvwFI",
        "checkpoint": "save_artifacts",
        "export": "onnx",
    },
    "mae": {
        **_HIDDEN_SENSOR_KEYS,
        "model": "mask_ratio predict_channels decoder_dim time_mask_ratio_scale",
    },
    "inpainter": {
        **_HIDDEN_SENSOR_KEYS,
        "model": "mask_ratio mask_npho_flat predict_channels freeze_encoder use_local_context "
        "use_masked_attention head_type sensor_positions_file cross_attn_k cross_attn_hidden "
        "cross_attn_latent_dim cross_attn_pos_dim time_mask_ratio_scale",
        "training": _HIDDEN_SENSOR_KEYS["training"] + " mae_checkpoint",
        "checkpoint": _HIDDEN_SENSOR_KEYS["checkpoint"] + " save_root_predictions",
    },
}
_USUAL_THRESHOLD: Final = 100.0
"""Smallest count [photons] of a used time where the earlier system was told none."""
_EDGED_LOSSES: Final = frozenset({"smooth_l1", "huber", "relative_smooth_l1"})


def modernized(tree: Mapping[str, Any], kind: Kind, label: str) -> Tree:
    """Return the sections of a file in the form of this system.

    Parameters
    ----------
    tree
        What the YAML file holds; not changed.
    kind
        What it trains.
    label
        Name of the file for the log.

    Returns
    -------
    dict
        The same sections. Moved keys stand in their new places, keys without effect are gone, and
        if the whole file is of the earlier system, what meant something else is translated.
        Unknown keys are still there, for the reader to refuse.
    """
    new = {
        name: {} if value is None and name in _sections(kind) else copy.deepcopy(value)
        for name, value in tree.items()
    }
    is_earlier = is_of_earlier_system(new, kind)
    for old, reason in _WITHOUT_EFFECT[kind].items():
        if _has(new, old):
            _pop(new, old)
            _log.info("%s: %s has no effect any more: %s", label, old, reason)
    for old, place in _MOVED[kind].items():
        if _has(new, old):
            _move(new, old, place, label)
    _switch_off_average(new, label)
    for translate in _TRANSLATIONS[kind] if is_earlier else ():
        translate(new, label)
    return new


def is_of_earlier_system(tree: Mapping[str, Any], kind: Kind) -> bool:
    """Return whether a file was written for the earlier system.

    That system wrote every key it missed into the file, so its files have all sections; and they
    have none of the keys that came later.
    """
    known = _sections(kind)
    present = {name: value for name, value in tree.items() if name != "loss_balance"}
    # Two sections came late to the earlier system as well.
    return known.keys() - {"distributed", "reweighting"} <= present.keys() and all(
        isinstance(value, dict) and value.keys() <= known.get(name, set())
        for name, value in present.items()
    )


def _sections(kind: Kind) -> dict[str, set[str]]:
    """Return the keys of the earlier system by section."""
    own = _OWN_KEYS[kind]
    return {
        section: {*_KEYS.get(section, "").split(), *own.get(section, "").split()}
        for section in _KEYS.keys() | own.keys()
    }


def _switch_off_average(tree: Tree, label: str) -> None:
    """Take a decay of 0, which meant no averaged weights, as null."""
    if _has(tree, "training.ema_decay") and _number(tree["training"]["ema_decay"]) == 0:
        tree["training"]["ema_decay"] = None
        _log.info("%s: training.ema_decay 0 is taken as null: no averaged weights", label)


def _use_own_chunksize(tree: Tree, label: str) -> None:
    if _has(tree, "data.chunksize"):
        given = _pop(tree, "data.chunksize")
        _log.info(
            "%s: data.chunksize %s has no effect any more: ROOT files are read once, in small "
            "steps, into shards",
            label,
            given,
        )


def _keep_time_reference(tree: Tree, label: str) -> None:
    timing = _mapping(tree["tasks"], "timing")
    if timing.get("enabled") and "reference" not in timing:
        timing["reference"] = "emission"
        _log.info(
            "%s: tasks.timing.reference is taken as 'emission', the meaning of timeTruth; the "
            "network learns the time relative to time_min_used, tables hold the absolute time",
            label,
        )


def _warn_of_loss_units(tree: Tree, label: str) -> None:
    for name, task in tree["tasks"].items():
        is_on = isinstance(task, dict) and task.get("enabled")
        if is_on and task.get("loss_fn", "smooth_l1") in _EDGED_LOSSES:
            _log.warning(
                "%s: tasks.%s.loss_beta %s now counts in standard deviations of the target; it "
                "counted in GeV, s, cm or degrees",
                label,
                name,
                task.get("loss_beta", 1.0),
            )


def _keep_threshold_of_times(tree: Tree, label: str) -> None:
    """Make the threshold of the time loss that of the inputs too, as it was for this kind."""
    threshold = _mapping(tree["training"], "time").get("npho_threshold")
    threshold = _USUAL_THRESHOLD if threshold is None else threshold
    given = tree["normalization"].get("npho_threshold", _USUAL_THRESHOLD)
    # YAML may give text such as 1e2; compared as text and number, nonsense is left to the reader.
    if str(given) != str(threshold) and _number(given) != _number(threshold):
        tree["normalization"]["npho_threshold"] = threshold
        _log.info(
            "%s: normalization.npho_threshold %s is replaced by training.time.npho_threshold %s, "
            "which decided which times are used",
            label,
            given,
            threshold,
        )


def _split_save_dir(tree: Tree, label: str) -> None:
    """Keep the folder of the artifacts, which here is save_dir/run_name."""
    folder = PurePath(str(tree["checkpoint"].get("save_dir", "")))
    name = tree["mlflow"].get("run_name")
    if len(folder.parts) > 1 and name in (None, folder.name):
        tree["checkpoint"]["save_dir"] = str(folder.parent)
        tree["mlflow"]["run_name"] = folder.name
    else:
        _log.info("%s: artifacts go to the folder checkpoint.save_dir/mlflow.run_name", label)


_TRANSLATIONS: Final[Mapping[Kind, tuple[Callable[[Tree, str], None], ...]]] = {
    "regressor": (_use_own_chunksize, _keep_time_reference, _warn_of_loss_units),
    "mae": (_use_own_chunksize, _keep_threshold_of_times, _split_save_dir),
    "inpainter": (_use_own_chunksize, _keep_threshold_of_times, _split_save_dir),
}


def _move(tree: Tree, old: str, place: str, label: str) -> None:
    value = _pop(tree, old)
    if _has(tree, place):
        _log.info("%s: %s has no effect beside %s, its new name", label, old, place)
        return
    *parents, leaf = place.split(".")
    for parent in parents:
        tree = _mapping(tree, parent)
    tree[leaf] = value
    _log.info("%s: %s is now called %s", label, old, place)


def _number(value: object) -> float | None:
    try:
        return float(str(value))
    except ValueError:
        return None


def _has(tree: object, dotted: str) -> bool:
    for part in dotted.split("."):
        if not isinstance(tree, dict) or part not in tree:
            return False
        tree = tree[part]
    return True


def _pop(tree: Tree, dotted: str) -> Any:
    *parents, leaf = dotted.split(".")
    for parent in parents:
        tree = tree[parent]
    return tree.pop(leaf)


def _mapping(tree: Tree, name: str) -> Tree:
    """Return the sub-section `name`, made if there is none."""
    below = tree.get(name)
    if not isinstance(below, dict):
        below = tree[name] = {}
    return below
