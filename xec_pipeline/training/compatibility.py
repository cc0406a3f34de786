"""Which checkpoint can start which training, and what to do where it cannot."""

import enum
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, Protocol

from xec_pipeline.errors import CheckpointError


class HasInputs(Protocol):
    """The part of a checkpoint that tells what its network has seen."""

    @property
    def normalization(self) -> Mapping[str, Any]:
        """Options of the normalization."""

    @property
    def layout(self) -> str:
        """Sensor maps."""


class Transfer(enum.Enum):
    """How much of a checkpoint a training takes over."""

    FULL = "full state"
    ENCODER = "encoder weights only, optimizer reset"


TRANSFERS: Final[Mapping[tuple[str, str], Transfer]] = MappingProxyType(
    {
        ("regressor", "regressor"): Transfer.FULL,
        ("mae", "mae"): Transfer.FULL,
        ("inpainter", "inpainter"): Transfer.FULL,
        ("mae", "regressor"): Transfer.ENCODER,
        ("encoder", "regressor"): Transfer.ENCODER,
        ("mae", "inpainter"): Transfer.ENCODER,
        ("encoder", "inpainter"): Transfer.ENCODER,
    }
)
"""Source and target to what is taken over; all other pairs are refused."""

_FROM_REGRESSOR: Final = (
    "a regressor has heads where the other has decoders, and its encoder has seen the truth"
)
_FROM_INPAINTER: Final = "its encoder was itself taken from an MAE"
_ADVICE: Final[Mapping[tuple[str, str], str]] = MappingProxyType(
    {
        ("regressor", "mae"): (
            f"{_FROM_REGRESSOR}. Pre-train afresh without --resume_from, or resume an "
            "mae_checkpoint_last.pth, and start the regressor from the result"
        ),
        ("regressor", "inpainter"): (
            f"{_FROM_REGRESSOR}. Start the inpainter from an MAE (mae_checkpoint_best.pth or "
            "mae_encoder_epoch_N.pth), or resume an inpainter_checkpoint_last.pth"
        ),
        ("inpainter", "regressor"): (
            f"{_FROM_INPAINTER}. Start the regressor from that one: mae_checkpoint_best.pth or "
            "mae_encoder_epoch_N.pth"
        ),
        ("inpainter", "mae"): (
            f"{_FROM_INPAINTER}. Resume that one: mae_checkpoint_best.pth or "
            "mae_checkpoint_last.pth"
        ),
        ("encoder", "mae"): (
            "a bare encoder has no decoders and no optimizer state. Resume the "
            "mae_checkpoint_best.pth or mae_checkpoint_last.pth beside it"
        ),
    }
)
_UNKNOWN: Final = (
    "it is not a file of this program. Convert files of the earlier system with "
    "'xec import-checkpoint'"
)


def transfer(source: str, target: str, path: Path) -> Transfer:
    """Return what a `target` training takes over from a checkpoint of kind `source`.

    Parameters
    ----------
    source
        Kind of the checkpoint: regressor, mae, inpainter, or encoder for a bare encoder.
    target
        Kind of the training: regressor, mae or inpainter.
    path
        The checkpoint, for the message.

    Raises
    ------
    CheckpointError
        If the pair is forbidden; says what to do instead.
    """
    found = TRANSFERS.get((source, target))
    if found is None:
        raise CheckpointError(
            f"{path}: a checkpoint of kind '{source}' cannot start a training of kind '{target}': "
            f"{_ADVICE.get((source, target), _UNKNOWN)}"
        )
    return found


def require_same_inputs(saved: HasInputs, own: Mapping[str, Any], path: Path) -> None:
    """Refuse weights that have learned from other numbers than they would be given.

    Parameters
    ----------
    saved
        The checkpoint to go on from.
    own
        What checkpoints of the training say of themselves: normalization, layout.
    path
        The checkpoint, for the message.

    Raises
    ------
    CheckpointError
        If normalization or layout differ; names the options.
    """
    inputs = dict(own.get("normalization", {}))
    theirs = {name: value for name, value in saved.normalization.items() if name in inputs}
    pairs = [(f"normalization.{name}", value, inputs[name]) for name, value in theirs.items()]
    pairs.append(("model.layout", saved.layout, own.get("layout", saved.layout)))
    differing = [
        f"{name} is {there} in the file, {here} in the run"
        for name, there, here in pairs
        if there != here
    ]
    if differing:
        raise CheckpointError(
            f"{path}: its weights have learned from other inputs: {'; '.join(differing)}. Set "
            "these options as in the file, or begin afresh"
        )
