"""Write an inpainter checkpoint as ONNX and as TorchScript, and only if they agree with it."""

import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from xec_pipeline.atomic import replacing
from xec_pipeline.export.inpainter_graph import InpainterGraph
from xec_pipeline.export.inpainter_parity import (
    F32,
    MaskedSample,
    Predict,
    check_inpainter,
    masked_sample,
)
from xec_pipeline.export.metadata import inpainter_metadata
from xec_pipeline.export.onnx import ExportedFile, add_metadata, write_onnx
from xec_pipeline.export.parity import Parity, open_session
from xec_pipeline.export.samples import RawEvents
from xec_pipeline.export.torchscript import open_torchscript, write_torchscript
from xec_pipeline.training.inpainter_inference import (
    InferenceInpainter,
    load_inpainter_for_inference,
)

ONNX_SUFFIX: Final = ".onnx"


@dataclass(frozen=True, kw_only=True)
class ExportedInpainter:
    """The written files, in the order in which they were asked for, and the checkpoint."""

    files: tuple[ExportedFile, ...]
    model: InferenceInpainter


def export_inpainter(
    checkpoint_path: Path,
    out_paths: tuple[Path, ...],
    events: RawEvents,
    *,
    use_ema: bool = True,
    clamp_negative: bool = True,
) -> ExportedInpainter:
    """Export an inpainter checkpoint: as ONNX to names that end in .onnx, else as TorchScript.

    Parameters
    ----------
    checkpoint_path
        Inpainter checkpoint.
    out_paths
        Files to write.
    events
        To compare on.
    use_ema
        Take the averaged weights where there are any.
    clamp_negative
        Let the files predict no fewer than 0 photons.

    Raises
    ------
    CheckpointError
        If the checkpoint cannot be used.
    ParityError
        If a file does not reproduce the checkpoint; then none is written.
    """
    model = load_inpainter_for_inference(checkpoint_path, use_ema=use_ema)
    # The exporters give a module its former mode back, so the graph itself must be in evaluation
    # mode, or dropout would be on in what follows.
    graph = InpainterGraph(model.normalizer, model.model, clamp_negative=clamp_negative).eval()
    metadata = inpainter_metadata(graph, model, checkpoint_path)
    sample = masked_sample(events)
    files = []
    # All files are complete and checked before any takes its final name.
    with contextlib.ExitStack() as stack:
        for path in out_paths:
            partial = stack.enter_context(replacing(path))
            write = _write_onnx if path.suffix == ONNX_SUFFIX else _write_torchscript
            parity = write(graph, partial, sample, metadata, path.name)
            files.append(ExportedFile(path=path, parity=parity))
    return ExportedInpainter(files=tuple(files), model=model)


def _write_onnx(
    graph: InpainterGraph, path: Path, sample: MaskedSample, metadata: dict[str, str], label: str
) -> list[Parity]:
    write_onnx(graph, path, sample, graph.output_names)
    add_metadata(path, metadata)
    session = open_session(path)

    def predict(values: F32, mask: F32) -> list[F32]:
        found: list[F32] = session.run(None, {"input": values, "mask": mask})
        return found

    return check_inpainter(predict, graph, sample, label)


def _write_torchscript(
    graph: InpainterGraph, path: Path, sample: MaskedSample, metadata: dict[str, str], label: str
) -> list[Parity]:
    write_torchscript(graph, path, sample, metadata)
    return check_inpainter(_torchscript(path), graph, sample, label)


def _torchscript(path: Path) -> Predict:
    model, _ = open_torchscript(path)

    def predict(values: F32, mask: F32) -> list[F32]:
        with torch.no_grad():
            outputs = model(torch.from_numpy(values), torch.from_numpy(mask))
        return [tensor.numpy() for tensor in outputs]

    return predict
