"""What can predict: a checkpoint, or an exported ONNX file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from pydantic import ValidationError

from xec_pipeline.config.normalization import NormalizationConfig
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.data.dataset import Batch
from xec_pipeline.errors import CheckpointError, ConfigError
from xec_pipeline.evaluation.onnx_networks import OnnxPredictor, Outputs
from xec_pipeline.training.checkpoint import InferenceModel, load_regressor_for_inference


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
        `.pth`, or an exported `.onnx` for raw or for normalized inputs.
    run
        Says how to read events and where results go; None for what the file holds.
    device
        Where a checkpoint computes.
    use_ema
        Take the averaged weights of a checkpoint where there are any.

    Raises
    ------
    CheckpointError
        If the file cannot be used.
    ConfigError
        If `run` is missing for an exported file that holds no configuration.
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
    return Network(
        predictor=predictor,
        run=_as_exported(run or predictor.run, predictor, path),
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
