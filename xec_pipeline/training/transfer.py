"""A pre-trained encoder: read from a file, checked against a run, given to its network."""

import dataclasses
import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from torch import Tensor, nn

from xec_pipeline.config.inpainter import InpainterRun
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.errors import CheckpointError
from xec_pipeline.training.checkpoint import (
    Checkpoint,
    checkpoint_from,
    kind_of,
    read_content,
    tensor_digest,
)

_log = logging.getLogger(__name__)

_PREFIX: Final = "encoder."
_MODEL_OPTIONS: Final = (
    "encoder",
    "layout",
    "outer_mode",
    "outer_fine_pool",
    "encoder_dim",
    "hex_dim",
    "dim_feedforward",
    "num_fusion_layers",
)
"""Options that decide the encoder's function or the shapes of its weights."""
_WITHOUT_HARM: Final = frozenset({"npho_threshold"})
"""Inputs may differ in these from what the encoder has seen: more or fewer times are missing."""
_MOST_NAMED: Final = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainedEncoder:
    """Weights of an encoder and where they come from.

    Attributes
    ----------
    path
        File.
    weights
        By the encoder's own names; the averaged ones where the file has an average.
    source
        Provenance in plain values, kept in the checkpoints of what is trained from here: `file`,
        `file_sha256`, `kind`, `weights` (ema or raw), `tensor_digest`, `epoch`, `data` (versions of
        its own events), `mlflow_run_id`, `run_name`, `config_digest`, `git_revision`.
    model, normalization
        Options it was trained with; empty for a file of weights alone.
    """

    path: Path
    weights: Mapping[str, Tensor]
    source: Mapping[str, Any]
    model: Mapping[str, Any]
    normalization: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """Data version of the weights; the same for a checkpoint and the encoder cut out of it."""
        return str(self.source["tensor_digest"])


def read_encoder(path: Path) -> PretrainedEncoder:
    """Read the encoder of an MAE checkpoint, or a file that holds an encoder alone.

    Raises
    ------
    CheckpointError
        If the file is missing or damaged, or holds no encoder under `encoder.*`.
    """
    content = read_content(path)
    checkpoint = checkpoint_from(content, path)
    weights = _encoder_part(checkpoint, path)
    config = checkpoint.config
    if not config:
        _log.info("%s: weights alone; where they come from is not known", path)
    source = {
        "file": str(path),
        "file_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "kind": kind_of(content),
        "weights": "ema" if checkpoint.ema_state_dict else "raw",
        "tensor_digest": tensor_digest(weights),
        "epoch": checkpoint.epoch,
        "data": dict(checkpoint.data),
        "mlflow_run_id": checkpoint.mlflow_run_id,
        "run_name": config.get("mlflow", {}).get("run_name"),
        "config_digest": checkpoint.config_digest,
        "git_revision": checkpoint.git_revision,
    }
    return PretrainedEncoder(
        path=path,
        weights=weights,
        source=source,
        model={"layout": checkpoint.layout, **config.get("model", {})} if config else {},
        normalization=checkpoint.normalization,
    )


def encoder_checkpoint(checkpoint: Checkpoint, path: Path) -> Checkpoint:
    """Return the encoder alone, with all that tells where it comes from.

    Parameters
    ----------
    checkpoint
        A checkpoint of an MAE.
    path
        Its file, for messages.

    Returns
    -------
    Checkpoint
        Of kind `encoder`; its weights are the averaged ones where there is an average.
    """
    weights = _encoder_part(checkpoint, path)
    return dataclasses.replace(
        checkpoint,
        kind="encoder",
        model_state_dict=weights,
        # The same tensors, which a file holds once: they are an average, and readers may tell.
        ema_state_dict=weights if checkpoint.ema_state_dict else None,
        optimizer_state_dict=None,
        scheduler_state_dict=None,
        objective_state_dict=None,
        rng_state=(),
    )


def load_encoder(
    encoder: nn.Module, pretrained: PretrainedEncoder, run: RegressorRun | InpainterRun
) -> None:
    """Give pre-trained weights to `encoder`, all of them or none.

    Raises
    ------
    CheckpointError
        If names, shapes, options of the network or the normalization of its inputs differ; names
        them all.
    """
    differing = [*_differing_options(pretrained, run), *_differing_weights(encoder, pretrained)]
    if differing:
        raise CheckpointError(
            f"{pretrained.path}: its encoder does not fit this run: {'; '.join(differing)}. Set "
            "these options as in the file, or pre-train an encoder with those of the run"
        )
    encoder.load_state_dict(pretrained.weights)
    _log.info("the encoder begins with the weights of %s", pretrained.path)


def _encoder_part(checkpoint: Checkpoint, path: Path) -> dict[str, Tensor]:
    weights = dict(checkpoint.inference_weights())
    part = {
        name.removeprefix(_PREFIX): weight
        for name, weight in weights.items()
        if name.startswith(_PREFIX)
    }
    if part:
        return part
    if checkpoint.kind == "encoder":
        return weights
    raise CheckpointError(
        f"{path}: expected weights named {_PREFIX}*, found {', '.join(sorted(weights)[:5])}"
    )


def _differing_options(
    pretrained: PretrainedEncoder, run: RegressorRun | InpainterRun
) -> list[str]:
    own_model = _comparable(run.model.model_dump())
    model = _comparable(pretrained.model)
    pairs = [(f"model.{name}", model.get(name), own_model[name]) for name in _MODEL_OPTIONS]
    differing = [pair for pair in pairs if pair[0].partition(".")[2] in model]
    own = run.normalization.model_dump()
    for name, value in pretrained.normalization.items():
        if name in _WITHOUT_HARM and value != own[name]:
            _log.warning("the encoder was trained with normalization.%s %s", name, value)
        elif name in own:
            differing.append((f"normalization.{name}", value, own[name]))
    return [
        f"{name} is {theirs} in the file, {ours} in the run"
        for name, theirs, ours in differing
        if theirs != ours
    ]


def _comparable(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of a model with lists as tuples and the implied width written out."""
    made = {
        name: tuple(value) if isinstance(value, list) else value for name, value in options.items()
    }
    if made.get("dim_feedforward", 0) is None and "encoder_dim" in made:
        made["dim_feedforward"] = 4 * made["encoder_dim"]
    return made


def _differing_weights(encoder: nn.Module, pretrained: PretrainedEncoder) -> list[str]:
    own, found = encoder.state_dict(), pretrained.weights
    shapes = [
        f"{name} is {tuple(found[name].shape)} in the file, {tuple(own[name].shape)} in the run"
        for name in own
        if name in found and found[name].shape != own[name].shape
    ]
    lacking = [name for name in own if name not in found]
    unknown = [name for name in found if name not in own]
    return [
        *_first(shapes, "weights of other shape"),
        *_first([f"{name} is missing" for name in lacking], "weights missing"),
        *_first([f"{name} is unknown" for name in unknown], "weights unknown"),
    ]


def _first(items: list[str], what: str) -> list[str]:
    """Return the first items, and how many more there are."""
    more = len(items) - _MOST_NAMED
    return items[:_MOST_NAMED] + ([f"{more} more {what}"] if more > 0 else [])
