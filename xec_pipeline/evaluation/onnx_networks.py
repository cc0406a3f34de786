"""An exported ONNX file as something that predicts; it tells all that is needed by itself."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, InvalidProtobuf

from xec_pipeline.config.loader import validate
from xec_pipeline.config.normalization import NormalizationConfig
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.config.tasks import TASK_NAMES
from xec_pipeline.data.dataset import Batch
from xec_pipeline.data.targets import TARGETS
from xec_pipeline.errors import CheckpointError, ConfigError
from xec_pipeline.models.input_norm import InputNormalizer
from xec_pipeline.units import NS_PER_S

Outputs = dict[str, NDArray[np.float32]]

_UNREADABLE: Final = (Fail, InvalidGraph, InvalidProtobuf)
_INPUTS: Final = {"raw": {"npho", "time"}, "normalized": {"input"}}
"""Inputs of the variants of an exported regressor."""


class OnnxPredictor:
    """An exported file on the CPU; the variant for normalized inputs gets them from here.

    Parameters
    ----------
    path
        `model_raw.onnx`, with inputs npho [photons] and time [s] and one output per quantity; or
        `model.onnx`, with normalized inputs and one output per task.

    Raises
    ------
    CheckpointError
        If the file cannot be read or is not of that kind.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._session = _open_session(path)
        described = self._session.get_modelmeta().custom_metadata_map
        _require_regressor(path, described, self._session)
        self._variant = described["variant"]
        self._columns = _columns_by_key(json.loads(described["outputs"]), self._session)
        self._config = described.get("config")
        self.digest = described.get("weights_version")
        self.git_revision = described.get("git_revision")
        # The metadata says it in words, "emission of the photon".
        self.timing_reference = described.get("timing_reference", "").split(" ")[0]
        self.normalization: dict[str, Any] = json.loads(described.get("normalization", "{}"))
        self.tasks = tuple(task for task in TASK_NAMES if task in self._columns)

    @property
    def run(self) -> RegressorRun:
        """The configuration that the file holds.

        Raises
        ------
        ConfigError
            If it holds none: it was exported by an earlier version.
        """
        if self._config is None:
            raise ConfigError(
                f"{self._path}: this exported model holds no configuration; export it again, or "
                "give --config"
            )
        return validate(RegressorRun, json.loads(self._config), str(self._path))

    def __call__(self, batch: Batch) -> Outputs:
        """Return `<task>` (B, k) and perhaps `sigma_<task>` in internal units, times relative."""
        if self._variant == "raw":
            inputs = {
                "npho": batch.npho_BS.cpu().numpy(),
                "time": batch.time_ns_BS.cpu().numpy() / np.float32(NS_PER_S),
            }
            return {
                key: np.stack(self._session.run(names, inputs), axis=1)
                for key, names in self._columns.items()
            }
        return self._from_normalized(batch)

    @torch.inference_mode()
    def _from_normalized(self, batch: Batch) -> Outputs:
        normalizer = InputNormalizer(NormalizationConfig(**self.normalization)).eval()
        x = normalizer.from_ns(batch.npho_BS.cpu(), batch.time_ns_BS.cpu())
        found: Outputs = {}
        for task, names in self._columns.items():
            (output,) = self._session.run(names, {"input": x.numpy()})
            n_components = TARGETS[task].n_components
            found[task] = output[:, :n_components]
            if output.shape[1] > n_components:
                found[f"sigma_{task}"] = output[:, n_components:]
        return found


def _require_regressor(
    path: Path, described: Mapping[str, str], session: onnxruntime.InferenceSession
) -> None:
    inputs = {item.name for item in session.get_inputs()}
    if not {"variant", "outputs", "tasks"} <= set(described):
        what = "an exported inpainter" if "head_type" in described else "without our metadata"
        raise CheckpointError(
            f"{path}: not an exported regressor but {what}; expected a file that xec export wrote, "
            f"with the inputs npho and time, or input; found {', '.join(sorted(inputs))}"
        )
    if _INPUTS.get(described["variant"]) != inputs:
        raise CheckpointError(
            f"{path}: variant {described['variant']!r} with the inputs {', '.join(sorted(inputs))} "
            f"is not known; known are {', '.join(_INPUTS)}"
        )


def _open_session(path: Path) -> onnxruntime.InferenceSession:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except _UNREADABLE as error:
        raise CheckpointError(f"{path}: not an ONNX model: {str(error)[:150]}") from None


def _columns_by_key(
    described: Mapping[str, Any], session: onnxruntime.InferenceSession
) -> dict[str, list[str]]:
    """Return the outputs of each task, and of its uncertainties, in the order of components."""
    columns: dict[str, list[str]] = {}
    widths: dict[str, int] = {}
    for output in session.get_outputs():
        about = described[output.name]
        key = f"sigma_{about['task']}" if output.name.startswith("sigma_") else about["task"]
        columns.setdefault(key, []).append(output.name)
        widths[key] = widths.get(key, 0) + sum(
            not name.startswith("sigma_") for name, _ in about["columns"]
        )
    for task in [name for name in columns if name in TARGETS]:
        if widths[task] != TARGETS[task].n_components:
            raise CheckpointError(f"task {task} has the outputs {columns[task]}")
    return columns
