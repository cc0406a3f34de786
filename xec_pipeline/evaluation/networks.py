"""What can predict: a checkpoint, or an exported ONNX file that takes raw photons and times."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidGraph, InvalidProtobuf
from pydantic import ValidationError

from xec_pipeline.config.normalization import NormalizationConfig
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.config.tasks import TASK_NAMES
from xec_pipeline.data.dataset import Batch
from xec_pipeline.data.targets import TARGETS
from xec_pipeline.errors import CheckpointError, ConfigError
from xec_pipeline.training.checkpoint import InferenceModel, load_regressor_for_inference
from xec_pipeline.units import NS_PER_S

Outputs = dict[str, NDArray[np.float32]]

_UNREADABLE: Final = (Fail, InvalidGraph, InvalidProtobuf)


class Predictor(Protocol):
    """Something that predicts batches."""

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks it predicts."""

    def __call__(self, batch: Batch) -> Outputs:
        """Return `<task>` (B, k) and perhaps `sigma_<task>` in internal units, times relative."""


class CheckpointPredictor:
    """A checkpoint on one device, in float32.

    Parameters
    ----------
    model
        The parts of the checkpoint; they are moved.
    device
        Where to compute.
    """

    def __init__(self, model: InferenceModel, device: torch.device) -> None:
        self._regressor = model.regressor.to(device).eval()
        self._normalizer = model.normalizer.to(device).eval()
        self._scaling = model.scaling.to(device).eval()
        self.tasks = tuple(model.run.tasks.active)

    @torch.inference_mode()
    def __call__(self, batch: Batch) -> Outputs:
        """Return `<task>` (B, k) and perhaps `sigma_<task>` in internal units, times relative."""
        outputs = self._regressor(self._normalizer.from_ns(batch.npho_BS, batch.time_ns_BS))
        found: Outputs = {}
        for task, output in outputs.items():
            restored = self._scaling.restore(task, output)
            found[task] = restored["value"].float().cpu().numpy()
            if "sigma" in restored:
                found[f"sigma_{task}"] = restored["sigma"].float().cpu().numpy()
        return found


class OnnxPredictor:
    """An exported file with raw inputs, on the CPU.

    Parameters
    ----------
    path
        The `_raw.onnx` variant: inputs npho [photons] and time [s], one output per quantity.

    Raises
    ------
    CheckpointError
        If the file cannot be read or is not of that kind.
    """

    def __init__(self, path: Path) -> None:
        self._session = _open_session(path)
        described = self._session.get_modelmeta().custom_metadata_map
        if described.get("variant") != "raw" or "outputs" not in described:
            raise CheckpointError(
                f"{path}: not the raw variant of an exported model, which takes npho and time; "
                f"its inputs: {', '.join(item.name for item in self._session.get_inputs())}"
            )
        self._columns = _columns_by_key(json.loads(described["outputs"]), self._session)
        self.digest = described.get("weights_version")
        self.git_revision = described.get("git_revision")
        # The metadata says it in words, "emission of the photon".
        self.timing_reference = described.get("timing_reference", "").split(" ")[0]
        self.normalization: dict[str, Any] = json.loads(described.get("normalization", "{}"))
        self.tasks = tuple(task for task in TASK_NAMES if task in self._columns)

    def __call__(self, batch: Batch) -> Outputs:
        """Return `<task>` (B, k) and perhaps `sigma_<task>` in internal units, times relative."""
        inputs = {
            "npho": batch.npho_BS.cpu().numpy(),
            "time": batch.time_ns_BS.cpu().numpy() / np.float32(NS_PER_S),
        }
        return {
            key: np.stack(self._session.run(names, inputs), axis=1)
            for key, names in self._columns.items()
        }


@dataclass(frozen=True, kw_only=True)
class Network:
    """A predictor and where it comes from."""

    predictor: Predictor
    run: RegressorRun
    """Configuration: tasks as trained; how to read events, and where to write."""
    path: Path
    digest: str | None
    """Hash of the weights."""
    weights: str
    """`ema`, `raw` or `onnx`."""
    epoch: int | None = None
    git_revision: str | None = None


def open_network(
    path: Path, run: RegressorRun | None, device: torch.device, *, use_ema: bool = True
) -> Network:
    """Open a checkpoint or an exported file.

    Parameters
    ----------
    path
        `.pth`, or the raw variant of an exported `.onnx`.
    run
        Says how to read events and where results go; None for what the checkpoint holds.
    device
        Where a checkpoint computes.
    use_ema
        Take the averaged weights of a checkpoint where there are any.

    Raises
    ------
    CheckpointError
        If the file cannot be used.
    ConfigError
        If `run` is missing for an exported file, which holds no configuration.
    """
    if path.suffix == ".onnx":
        return _open_onnx(path, run)
    model = load_regressor_for_inference(path, use_ema=use_ema)
    trained = model.run
    if run is not None:
        elsewhere = {"data": run.data, "checkpoint": run.checkpoint, "mlflow": run.mlflow}
        trained = trained.model_copy(update=elsewhere)
    has_ema = use_ema and bool(model.checkpoint.ema_state_dict)
    return Network(
        predictor=CheckpointPredictor(model, device),
        run=trained,
        path=path,
        digest=model.sha,
        weights="ema" if has_ema else "raw",
        epoch=model.checkpoint.epoch,
        git_revision=model.checkpoint.git_revision,
    )


def _open_onnx(path: Path, run: RegressorRun | None) -> Network:
    predictor = OnnxPredictor(path)
    if run is None:
        raise ConfigError(f"{path}: an exported model holds no configuration; give --config")
    return Network(
        predictor=predictor,
        run=_as_exported(run, predictor, path),
        path=path,
        digest=predictor.digest,
        weights="onnx",
        git_revision=predictor.git_revision,
    )


def _as_exported(run: RegressorRun, predictor: OnnxPredictor, path: Path) -> RegressorRun:
    """Return `run` with the normalization of the file; the times must mean the same in both."""
    reference = run.tasks.timing.reference
    if "timing" in predictor.tasks and predictor.timing_reference != reference:
        raise ConfigError(
            f"{path}: its timing_reference is {predictor.timing_reference or 'not stated'!r}, but "
            f"tasks.timing.reference of run {run.name} is {reference!r}; true times would be wrong"
        )
    if not predictor.normalization:
        raise CheckpointError(f"{path}: its metadata hold no normalization")
    try:
        normalization = NormalizationConfig(**predictor.normalization)
    except ValidationError as error:
        raise CheckpointError(f"{path}: normalization in its metadata: {error}") from None
    return run.model_copy(update={"normalization": normalization})


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
    for output in session.get_outputs():
        task = described[output.name]["task"]
        key = f"sigma_{task}" if output.name.startswith("sigma_") else task
        columns.setdefault(key, []).append(output.name)
    for task in [name for name in columns if name in TARGETS]:
        if len(columns[task]) != TARGETS[task].n_components:
            raise CheckpointError(f"task {task} has the outputs {columns[task]}")
    return columns
