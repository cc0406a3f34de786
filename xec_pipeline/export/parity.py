"""Check that an exported file computes what the network computes."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch

from xec_pipeline.errors import ParityError
from xec_pipeline.export.graph import ExportGraph, Output

PARITY_BATCHES: Final = (1, 2, 7)
"""Batch sizes to try: a graph that was traced with one may be frozen to it."""
PARITY_EVENTS: Final = 64
TOLERANCE: Final = 3e-4
"""Largest |ONNX - torch| over the spread of the target: 3e-4 is 4 keV, 0.15 ps or 0.12 mm.

Both compute in float32 and sum in different orders; 1e-5 was seen on trained weights.
"""

_log = logging.getLogger(__name__)

Arrays = Sequence[npt.NDArray[np.float32]]


@dataclass(frozen=True)
class Parity:
    """Agreement of one output over all events and batch sizes.

    Attributes
    ----------
    output
        Name in the file.
    largest_absolute
        Largest |ONNX - torch| in the output's unit.
    of_allowed
        Largest difference over what is allowed for it; 1 is the limit.
    unit
        Units of the output's components, once each.
    """

    output: str
    largest_absolute: float
    of_allowed: float
    unit: str = ""


def check_parity(path: Path, graph: ExportGraph, inputs: Arrays, label: str) -> list[Parity]:
    """Compare the file at `path` with the network on events, for several batch sizes.

    Parameters
    ----------
    path
        ONNX file.
    graph
        The network it was made from, in evaluation mode on the CPU.
    inputs
        One array per input, (N, ...), float32.
    label
        What to call the file in messages.

    Returns
    -------
    list of Parity
        One entry per output.

    Raises
    ------
    ParityError
        If a result differs by more than `TOLERANCE`, is not finite, or has another shape.
    """
    session = open_session(path)
    outputs = graph.outputs()
    names = [output.name for output in outputs]
    with torch.no_grad():
        truth = graph(*(torch.from_numpy(array) for array in inputs))
    expected = {name: tensor.numpy() for name, tensor in zip(names, truth, strict=True)}
    worst = dict.fromkeys(names, (0.0, 0.0))
    for batch in PARITY_BATCHES:
        found = run_in_batches(session, inputs, batch)
        for output in outputs:
            name = output.name
            absolute, of_allowed = _difference(
                f"{label}: output '{name}' with batch {batch}",
                found[name],
                expected[name],
                output.widths,
            )
            worst[name] = (max(worst[name][0], absolute), max(worst[name][1], of_allowed))
    results = [Parity(output.name, *worst[output.name], _unit(output)) for output in outputs]
    for result in results:
        _log.debug("%s: %s differs by %.1e at most", label, result.output, result.largest_absolute)
    return results


def open_session(path: Path) -> "onnxruntime.InferenceSession":
    """Return an onnxruntime session on the CPU with one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def run_in_batches(
    session: "onnxruntime.InferenceSession", inputs: Arrays, batch: int
) -> Mapping[str, npt.NDArray[np.float32]]:
    """Run all events in batches (the last may be shorter) and return the outputs by name."""
    feeds = [entry.name for entry in session.get_inputs()]
    names = [entry.name for entry in session.get_outputs()]
    parts: dict[str, list[npt.NDArray[np.float32]]] = {name: [] for name in names}
    for start in range(0, len(inputs[0]), batch):
        chunk = {
            name: array[start : start + batch] for name, array in zip(feeds, inputs, strict=True)
        }
        for name, value in zip(names, session.run(names, chunk), strict=True):
            parts[name].append(value)
    return {name: np.concatenate(pieces) for name, pieces in parts.items()}


def _unit(output: Output) -> str:
    return ", ".join(dict.fromkeys(unit for _, unit in output.columns))


def _difference(
    what: str,
    found: npt.NDArray[np.float32],
    expected: npt.NDArray[np.float32],
    widths: Sequence[float],
) -> tuple[float, float]:
    if found.shape != expected.shape:
        raise ParityError(
            f"{what} has shape {found.shape}, expected {expected.shape}; no file was written"
        )
    count = len(expected)
    absolute = np.abs(found.astype(np.float64) - expected).reshape(count, -1)
    relative = absolute / np.asarray(widths)
    # Negated, so that NaN fails.
    bad = ~(relative <= TOLERANCE).all(axis=1)
    if bad.any():
        event = int(np.flatnonzero(bad)[0])
        raise ParityError(
            f"{what}: {int(bad.sum())} of {count} events differ, the first is event {event}: "
            f"onnxruntime gives {found[event]}, torch {expected[event]}; allowed is {TOLERANCE:g} "
            "of the target's spread; no file was written"
        )
    return float(absolute.max()), float(relative.max()) / TOLERANCE
