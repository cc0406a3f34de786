"""Write a graph as TorchScript, for programs that link libtorch."""

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

METADATA_FILE: Final = "metadata.json"
"""Name of the extra file in the archive that tells what the model is."""


def write_torchscript(
    graph: nn.Module,
    path: Path,
    inputs: Sequence[npt.NDArray[np.float32]],
    metadata: Mapping[str, str],
) -> None:
    """Trace a graph and write it with `metadata` in the extra file `METADATA_FILE`.

    Parameters
    ----------
    graph
        In evaluation mode, on the CPU.
    path
        File.
    inputs
        Events; the first two are the example. The batch size stays free.
    metadata
        Plain text by name.
    """
    example = tuple(torch.from_numpy(array[:2].copy()) for array in inputs)
    with torch.no_grad(), warnings.catch_warnings():
        # Its successor does not write files that C++ programs built years ago can read.
        warnings.filterwarnings("ignore", r"`torch\.jit\.", DeprecationWarning)
        traced = torch.jit.trace(graph, example, check_trace=False)  # type: ignore[no-untyped-call]
        extra = {METADATA_FILE: json.dumps(dict(metadata), sort_keys=True)}
        torch.jit.save(traced, str(path), _extra_files=extra)


def open_torchscript(path: Path) -> tuple[torch.jit.ScriptModule, dict[str, str]]:
    """Return the model in a file and its metadata."""
    extra = {METADATA_FILE: ""}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"`torch\.jit\.", DeprecationWarning)
        model = torch.jit.load(str(path), map_location="cpu", _extra_files=extra)  # type: ignore[no-untyped-call]
    return model, json.loads(extra[METADATA_FILE])
