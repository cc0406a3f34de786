"""Checkpoints: what they hold, how they are written whole and read safely.

State dictionaries are those of the unwrapped model: no `module.` of DDP, no `_orig_mod.` of
torch.compile, so that any number of ranks can read what any other number has written.
"""

import dataclasses
import hashlib
import io
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from xec_pipeline.atomic import replacing
from xec_pipeline.config.loader import RunT, validate
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.errors import CheckpointError, ConfigError, did_you_mean
from xec_pipeline.models.input_norm import InputNormalizer
from xec_pipeline.models.regressor import Regressor, build_regressor
from xec_pipeline.models.target_scaling import TargetScaling
from xec_pipeline.training.sidecar import read_sidecar, sidecar_path, write_sidecar

SCHEMA_VERSION: Final = 1
KINDS: Final = ("regressor", "mae", "inpainter", "encoder")

_PROVENANCE: Final = (
    "kind",
    "epoch",
    "best_val",
    "best_epoch",
    "mlflow_run_id",
    "config",
    "config_digest",
    "normalization",
    "layout",
    "data",
    "git_revision",
    "resumed_from",
    "schema_version",
)
"""Fields of a checkpoint in plain values that stand beside bare weights."""
_WRAPPERS: Final = ("module.", "_orig_mod.")
_OLD_NAMES: Final = {"best_val_loss": "best_val"}
_DAMAGED: Final = (RuntimeError, pickle.UnpicklingError, EOFError, zipfile.BadZipFile, KeyError)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Everything needed to go on training, or to predict; field names are the keys of the file.

    Attributes
    ----------
    kind
        What was trained: one of `KINDS`.
    model_state_dict, ema_state_dict
        Weights by name, and their running average (None without one), both unwrapped.
    optimizer_state_dict, scheduler_state_dict
        State of AdamW and of the learning-rate schedule.
    best_val, best_epoch
        Smallest validation loss so far and the epoch (from 1) that reached it.
    best_metrics
        Numbers of that epoch by MLflow name.
    mlflow_run_id
        Run to continue in MLflow; None without tracking.
    epoch, step_in_epoch, steps_per_epoch, global_step
        Completed epochs, optimizer steps done of the next epoch and in a whole one, steps in all.
    epoch_sums
        Running sums of the unfinished epoch's training loss.
    config, config_digest
        The whole run configuration, and the digest of what decides the weights.
    normalization, target_statistics, layout
        How inputs and targets became network numbers, and the sensor maps.
    data
        Data versions of the training and validation shards.
    git_revision
        Commit of the code, None outside a repository.
    code_version
        Version of the code that Dagster trained it with; None if it was trained by hand.
    rng_state
        Random generators of each rank, as tensors by name.
    ema_updates
        Updates of the average so far; its decay warms up with them.
    objective_state_dict
        What the objective itself learned, such as the weights of tasks; None if nothing.
    resumed_from
        The checkpoint that the training was told to go on from: file, run, epoch, digests, data
        versions, MLflow run, and its own `resumed_from`. None if it began by itself.
    encoder_source
        Where a pre-trained encoder came from: file, kind, digests, data versions, MLflow run.
        None for weights that were drawn at random.
    schema_version
        Version of this list.
    """

    kind: str
    model_state_dict: Mapping[str, Tensor]
    ema_state_dict: Mapping[str, Tensor] | None = None
    optimizer_state_dict: Mapping[str, Any] | None = None
    scheduler_state_dict: Mapping[str, Any] | None = None
    best_val: float = float("inf")
    best_epoch: int = 0
    best_metrics: Mapping[str, float] = dataclasses.field(default_factory=dict)
    mlflow_run_id: str | None = None
    epoch: int = 0
    step_in_epoch: int = 0
    steps_per_epoch: int = 0
    global_step: int = 0
    epoch_sums: Mapping[str, float] = dataclasses.field(default_factory=dict)
    config: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    config_digest: str = ""
    normalization: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    target_statistics: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    layout: str = "physical"
    data: Mapping[str, str] = dataclasses.field(default_factory=dict)
    git_revision: str | None = None
    code_version: str | None = None
    rng_state: tuple[Mapping[str, Tensor], ...] = ()
    ema_updates: int = 0
    objective_state_dict: Mapping[str, Tensor] | None = None
    encoder_source: Mapping[str, Any] | None = None
    resumed_from: Mapping[str, Any] | None = None
    schema_version: int = SCHEMA_VERSION

    def inference_weights(self, *, use_ema: bool = True) -> Mapping[str, Tensor]:
        """Return the averaged weights if asked for and there are any, else the plain ones."""
        return self.ema_state_dict if use_ema and self.ema_state_dict else self.model_state_dict

    def origin(self, path: Path, *, use_ema: bool = True) -> dict[str, Any]:
        """Return in plain values what this checkpoint, read from `path`, is.

        `use_ema` tells whether its averaged weights are meant, or those of the last step.
        """
        return {
            "file": str(path),
            "kind": self.kind,
            "run_name": self.config.get("mlflow", {}).get("run_name"),
            "epoch": self.epoch,
            "tensor_digest": tensor_digest(self.inference_weights(use_ema=use_ema)),
            "config_digest": self.config_digest,
            "data": dict(self.data),
            "mlflow_run_id": self.mlflow_run_id,
            "git_revision": self.git_revision,
            "resumed_from": self.resumed_from,
        }


def write_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` to `path`; the file is whole or the old one is untouched.

    Raises
    ------
    OutputError
        If the disk is full.
    """
    content = {
        field.name: getattr(checkpoint, field.name) for field in dataclasses.fields(checkpoint)
    }
    content["best_val_loss"] = checkpoint.best_val
    # Readers of MAE checkpoints look for it; bfloat16 needs no scaling of losses.
    content["scaler_state_dict"] = None
    _save(path, content)


def write_weights(path: Path, checkpoint: Checkpoint) -> None:
    """Write nothing but the weights of `checkpoint`, by name, and beside them where they come from.

    Any program reads such a file with `module.load_state_dict(torch.load(path))`. `read_content`
    puts both parts together again.

    Raises
    ------
    OutputError
        If the disk is full.
    """
    weights = dict(checkpoint.inference_weights())
    about = {name: getattr(checkpoint, name) for name in _PROVENANCE}
    averaged = checkpoint.ema_state_dict is not None
    _save(path, weights)
    write_sidecar(path, {**about, "averaged": averaged, "tensor_digest": tensor_digest(weights)})


def load_checkpoint(path: Path, kind: str = "regressor") -> Checkpoint:
    """Read and check a checkpoint; tensors come to the CPU and no code in the file is run.

    Parameters
    ----------
    path
        File written by `write_checkpoint`, perhaps with older key names.
    kind
        What must have been trained.

    Raises
    ------
    CheckpointError
        If the file is missing, damaged, of another kind, or newer than this program.
    """
    content = read_content(path)
    found = kind_of(content)
    if found != kind:
        raise CheckpointError(
            f"{path}: holds a {found} checkpoint, expected a {kind} checkpoint{_near(path, kind)}"
        )
    return checkpoint_from(content, path)


def kind_of(content: Mapping[str, Any]) -> str:
    """Return what was trained: one of `KINDS`, or `foreign`; older files tell by their weights."""
    return str(content.get("kind") or _kind_by_names(content))


def checkpoint_from(content: Mapping[str, Any], path: Path) -> Checkpoint:
    """Return raw content, which was read from `path`, as a checkpoint of whatever kind it is.

    Raises
    ------
    CheckpointError
        If it is newer than this program, or lacks what a checkpoint needs.
    """
    version = content.get("schema_version")
    if not isinstance(version, int) or version > SCHEMA_VERSION:
        raise CheckpointError(
            f"{path}: schema version {version}, this program reads versions 1 to {SCHEMA_VERSION}"
        )
    return _from_content(path, dict(content))


def read_content(path: Path) -> dict[str, Any]:
    """Return the raw content of a checkpoint file of any kind (tensors on the CPU).

    A file of nothing but tensors by name becomes the `model_state_dict` of a bare encoder, or of
    the kind that its names tell; what `write_weights` wrote beside it is added.
    """
    if not path.is_file():
        present = [item.name for item in path.parent.glob("*.pth")]
        raise CheckpointError(
            f"{path}: no such checkpoint{did_you_mean(path.name, present)}; "
            f"in that folder: {', '.join(sorted(present)) or 'none'}"
        )
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except _DAMAGED as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path}: damaged, or not a checkpoint of tensors and plain values ({reason:.150})"
        ) from None
    if _is_bare(content):
        content = _with_provenance(content, path)
    if not isinstance(content, dict) or "model_state_dict" not in content:
        keys = ", ".join(sorted(map(str, content))[:8]) if isinstance(content, dict) else "no keys"
        raise CheckpointError(f"{path}: expected the key 'model_state_dict', found {keys}")
    return content


def unwrapped(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return `state` without the prefixes of DDP, torch.compile and AveragedModel."""
    return {_bare(name): tensor for name, tensor in state.items() if name != "n_averaged"}


def tensor_digest(state: Mapping[str, Tensor]) -> str:
    """Return the data version of weights: a hash of sorted names, dtypes, shapes and bytes."""
    digest = hashlib.sha256()
    for name in sorted(state):
        tensor = state[name].detach().cpu().contiguous()
        digest.update(f"{name}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        # Viewed as bytes, because numpy has no bfloat16.
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()[:16]


def _from_content(path: Path, content: dict[str, Any]) -> Checkpoint:
    for old, new in _OLD_NAMES.items():
        content.setdefault(new, content.get(old, float("inf")))
    known = {field.name for field in dataclasses.fields(Checkpoint)}
    kept = {name: value for name, value in content.items() if name in known}
    kept["model_state_dict"] = unwrapped(kept["model_state_dict"])
    if kept.get("ema_state_dict"):
        kept["ema_state_dict"] = unwrapped(kept["ema_state_dict"])
    try:
        return Checkpoint(**kept)
    except TypeError as error:
        raise CheckpointError(f"{path}: incomplete: {error}") from None


def _save(path: Path, content: Mapping[str, Any]) -> None:
    # In memory first: when torch writes to a full disk itself, the reason does not get out.
    buffer = io.BytesIO()
    torch.save(content, buffer)
    with replacing(path) as partial:
        partial.write_bytes(buffer.getbuffer())


def _with_provenance(weights: dict[str, Tensor], path: Path) -> dict[str, Any]:
    """Return bare weights as the content of a checkpoint, with what is known of them."""
    content: dict[str, Any] = {"model_state_dict": weights, "schema_version": SCHEMA_VERSION}
    content["kind"] = {"foreign": "encoder"}.get(kind_of(content), kind_of(content))
    about = read_sidecar(path)
    if about is None or "tensor_digest" not in about:
        return content  # there is none, or it belongs to something else
    if about["tensor_digest"] != tensor_digest(weights):
        raise CheckpointError(
            f"{sidecar_path(path)}: tells of other weights than those in {path.name}; remove it to "
            "take these without their origin"
        )
    content |= {name: about[name] for name in _PROVENANCE if name in about}
    if about.get("averaged"):
        content["ema_state_dict"] = weights
    return content


def _is_bare(content: object) -> bool:
    return (
        isinstance(content, dict)
        and bool(content)
        and all(isinstance(value, Tensor) for value in content.values())
    )


def _bare(name: str) -> str:
    for prefix in _WRAPPERS:
        name = name.removeprefix(prefix)
    return name


def _kind_by_names(content: Mapping[str, Any]) -> str:
    """Recognize a file without the key `kind` by its weights, as older programs did."""
    names = [_bare(str(name)) for name in content["model_state_dict"]]
    if any(name.startswith("heads.") for name in names):
        return "regressor"
    if any(name.startswith("encoder.") for name in names):
        has_heads = any(name.startswith(("head_", "cross_attn_head.")) for name in names)
        return "inpainter" if has_heads else "mae"
    return "foreign"


def _near(path: Path, kind: str) -> str:
    prefix = "" if kind == "regressor" else f"{kind}_"
    near = sorted(item.name for item in path.parent.glob(f"{prefix}checkpoint_*.pth"))
    near = [name for name in near if name != path.name]
    return f"; beside it: {', '.join(near)}" if near else ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class InferenceModel:
    """A trained regressor, ready to predict on the CPU; move its three modules to use a GPU.

    Attributes
    ----------
    run
        Configuration it was trained with.
    regressor
        Network in evaluation mode: normalized inputs to standardized outputs by task.
    normalizer, scaling
        Raw sensor values to network inputs; network outputs to physical units.
    checkpoint
        All else that the file holds.
    sha
        Data version: `tensor_digest` of the weights in use.
    """

    run: RegressorRun
    regressor: Regressor
    normalizer: InputNormalizer
    scaling: TargetScaling
    checkpoint: Checkpoint
    sha: str


def load_regressor_for_inference(path: Path, *, use_ema: bool = True) -> InferenceModel:
    """Build the regressor of a checkpoint and give it its weights.

    Parameters
    ----------
    path
        Regressor checkpoint.
    use_ema
        Take the averaged weights where there are any; they chose the best epoch.

    Raises
    ------
    CheckpointError
        If the file is not a whole regressor checkpoint, or its weights do not fit its config.
    """
    checkpoint = load_checkpoint(path, "regressor")
    run = run_of(checkpoint, path, RegressorRun)
    weights = checkpoint.inference_weights(use_ema=use_ema)
    regressor = build_regressor(run)
    load_weights(regressor, weights, path)
    return InferenceModel(
        run=run,
        regressor=regressor.eval(),
        normalizer=InputNormalizer(run.normalization).eval(),
        scaling=TargetScaling(checkpoint.target_statistics).eval(),
        checkpoint=checkpoint,
        sha=tensor_digest(weights),
    )


def run_of(checkpoint: Checkpoint, path: Path, kind: type[RunT]) -> RunT:
    """Return the configuration in a checkpoint; raise CheckpointError if it is unusable."""
    try:
        return validate(kind, checkpoint.config, "config")
    except ConfigError as error:
        raise CheckpointError(f"{path}: its configuration cannot be used: {error}") from None


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Give `weights` to `model`; raise CheckpointError naming what does not fit."""
    own = model.state_dict()
    lacking, unknown = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    shapes = [
        f"{name}: {tuple(weights[name].shape)} in the file, {tuple(own[name].shape)} in the model"
        for name in sorted(own.keys() & weights.keys())
        if own[name].shape != weights[name].shape
    ]
    if lacking or unknown or shapes:
        raise CheckpointError(
            f"{path}: weights do not fit the model: {len(lacking)} missing {lacking[:3]}, "
            f"{len(unknown)} unknown {unknown[:3]}, {len(shapes)} of other shape {shapes[:3]}"
        )
    model.load_state_dict(weights)
