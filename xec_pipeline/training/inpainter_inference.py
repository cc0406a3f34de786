"""A trained inpainter as its checkpoint holds it, for everything that only predicts."""

import dataclasses
from pathlib import Path

from xec_pipeline.config.inpainter import InpainterRun
from xec_pipeline.models.inpainter import Inpainter, build_inpainter
from xec_pipeline.models.input_norm import InputNormalizer
from xec_pipeline.training.checkpoint import (
    Checkpoint,
    load_checkpoint,
    load_weights,
    run_of,
    tensor_digest,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class InferenceInpainter:
    """The parts of a checkpoint that recover sensors.

    Attributes
    ----------
    run
        Configuration it was trained with.
    model, normalizer
        Network with its weights, and what makes its input, both in evaluation mode on the CPU.
    checkpoint
        All the rest.
    sha
        Hash of the weights in use.
    """

    run: InpainterRun
    model: Inpainter
    normalizer: InputNormalizer
    checkpoint: Checkpoint
    sha: str


def load_inpainter_for_inference(path: Path, *, use_ema: bool = True) -> InferenceInpainter:
    """Build the inpainter of a checkpoint and give it its weights.

    Parameters
    ----------
    path
        Inpainter checkpoint.
    use_ema
        Take the averaged weights where there are any; they chose the best epoch.

    Raises
    ------
    CheckpointError
        If the file is not a whole inpainter checkpoint, or its weights do not fit its config.
    """
    checkpoint = load_checkpoint(path, "inpainter")
    run = run_of(checkpoint, path, InpainterRun)
    weights = checkpoint.inference_weights(use_ema=use_ema)
    model = build_inpainter(run)
    load_weights(model, weights, path)
    return InferenceInpainter(
        run=run,
        model=model.eval(),
        normalizer=InputNormalizer(run.normalization).eval(),
        checkpoint=checkpoint,
        sha=tensor_digest(weights),
    )
