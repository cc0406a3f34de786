"""Write a checkpoint as ONNX files, and only if they agree with it."""

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
import torch

from xec_pipeline.atomic import replacing
from xec_pipeline.config.file_names import raw_onnx_file
from xec_pipeline.errors import CheckpointError
from xec_pipeline.export.graph import ExportGraph, NormalizedGraph, RawGraph
from xec_pipeline.export.inpainter_graph import InpainterGraph
from xec_pipeline.export.metadata import file_metadata
from xec_pipeline.export.parity import Parity, check_parity
from xec_pipeline.models.regressor import PhysicalRegressor
from xec_pipeline.training.checkpoint import InferenceModel, load_regressor_for_inference

OPSET: Final = 20

F32 = npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class ExportedFile:
    """A written file and how well it agrees with the checkpoint."""

    path: Path
    parity: list[Parity]


@dataclass(frozen=True, kw_only=True)
class Exported:
    """The two written files.

    Attributes
    ----------
    normalized
        Takes what `InputNormalizer` makes; for programs that normalize by themselves.
    raw
        Takes photons and seconds as they stand in the ROOT file; `<stem>_raw.onnx`.
    model
        The checkpoint.
    """

    normalized: ExportedFile
    raw: ExportedFile
    model: InferenceModel


def export_onnx(
    checkpoint_path: Path, out_path: Path, npho: F32, time_s: F32, *, use_ema: bool = True
) -> Exported:
    """Export a regressor checkpoint twice: for normalized and for raw inputs.

    Parameters
    ----------
    checkpoint_path
        Regressor checkpoint.
    out_path
        File for normalized inputs; the other is written beside it.
    npho, time_s
        Events for the comparison with onnxruntime, (N, 4760) each: photons, and sensor times [s].
    use_ema
        Take the averaged weights where there are any.

    Raises
    ------
    CheckpointError
        If the checkpoint cannot be used.
    ParityError
        If a file does not reproduce the checkpoint; then neither file is written.
    """
    model = load_regressor_for_inference(checkpoint_path, use_ema=use_ema)
    _check_time(model, checkpoint_path)
    physical = PhysicalRegressor(model.normalizer, model.regressor, model.scaling).eval()
    with torch.no_grad():
        x = physical.normalizer(torch.from_numpy(npho), torch.from_numpy(time_s)).numpy()
    raw_path = raw_variant(out_path)
    # Both files are complete and checked before either takes its final name.
    with replacing(out_path) as partial, replacing(raw_path) as raw_partial:
        # The exporter gives a module its former mode back, so the graphs themselves must be in
        # evaluation mode, or dropout would be on in what follows.
        graph, raw_graph = NormalizedGraph(physical).eval(), RawGraph(physical).eval()
        write_onnx(graph, partial, [x], [output.name for output in graph.outputs()])
        add_metadata(partial, file_metadata(graph, model, checkpoint_path))
        parity = check_parity(partial, graph, [x], out_path.name)
        raw_names = [output.name for output in raw_graph.outputs()]
        write_onnx(raw_graph, raw_partial, [npho, time_s], raw_names)
        add_metadata(raw_partial, file_metadata(raw_graph, model, checkpoint_path))
        raw_parity = check_parity(raw_partial, raw_graph, [npho, time_s], raw_path.name)
    return Exported(
        normalized=ExportedFile(path=out_path, parity=parity),
        raw=ExportedFile(path=raw_path, parity=raw_parity),
        model=model,
    )


def raw_variant(path: Path) -> Path:
    """Return the name of the file for raw inputs: `model.onnx` to `model_raw.onnx`."""
    return path.with_name(raw_onnx_file(path.name))


def _check_time(model: InferenceModel, path: Path) -> None:
    tasks = model.run.tasks
    if "timing" in tasks.active and tasks.timing.origin == "none":
        raise CheckpointError(
            f"{path}: its network tells the time without reference to time_min_used, expected one "
            "whose time counts from there, as the output relative_time_ns says; import the "
            "checkpoint with --tasks and without timing"
        )


def write_onnx(
    graph: ExportGraph | InpainterGraph, path: Path, inputs: Sequence[F32], names: Sequence[str]
) -> None:
    """Write a graph with a free batch size.

    The exporter that traces is used: it is complete, and the networks have attention of their own
    instead of torch's encoder layers, whose fast path it could not write.

    Parameters
    ----------
    graph
        In evaluation mode.
    path
        File.
    inputs
        Events; the first two are the example.
    names
        Of the outputs.
    """
    example = tuple(torch.from_numpy(array[:2].copy()) for array in inputs)
    with torch.no_grad(), _exporter_warnings():
        torch.onnx.export(
            graph,
            example,
            str(path),
            dynamo=False,
            opset_version=OPSET,
            input_names=list(graph.input_names),
            output_names=list(names),
            dynamic_axes={name: {0: "batch"} for name in (*graph.input_names, *names)},
        )


@contextlib.contextmanager
def _exporter_warnings() -> Iterator[None]:
    """Silence what torch says about its tracing exporter itself.

    The newer exporter is slower and freezes batch sizes more easily; the tracing one is deprecated
    but complete, and every file it writes is compared with the network.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", "You are using the legacy TorchScript-based", DeprecationWarning
        )
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"torch\.onnx\.")
        # How it writes paddings; a slice is left in the graph and costs nothing.
        warnings.filterwarnings("ignore", "Constant folding - Only steps=1", UserWarning)
        yield


def add_metadata(path: Path, metadata: dict[str, str]) -> None:
    """Put `metadata` into a file and check the file."""
    stored = onnx.load(str(path))
    onnx.helper.set_model_props(stored, metadata)
    onnx.checker.check_model(stored)
    onnx.save(stored, str(path))
