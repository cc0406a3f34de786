"""A trained inpainter, ready to recover sensors of events."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from xec_pipeline.config.inpainter import InpainterRun
from xec_pipeline.models.inpainter import Inpainter
from xec_pipeline.models.input_norm import InputNormalizer, inverse_npho
from xec_pipeline.training.inpainter_inference import load_inpainter_for_inference


@dataclass(frozen=True, kw_only=True)
class InpainterNetwork:
    """A network on one device, in float32, and where it comes from."""

    model: Inpainter
    normalizer: InputNormalizer
    run: InpainterRun
    """Configuration as trained."""
    path: Path
    digest: str
    """Hash of the weights."""
    epoch: int
    device: torch.device

    @property
    def features(self) -> tuple[str, ...]:
        """What it predicts: npho, or npho and time."""
        return self.model.features

    @torch.inference_mode()
    def normalized(self, npho: Tensor, time_ns: Tensor) -> Tensor:
        """Return photons and times [ns], (B, 4760) each, as the network sees them (B, 4760, 2)."""
        x: Tensor = self.normalizer.from_ns(npho, time_ns)
        return x

    @torch.inference_mode()
    def predict(self, npho: Tensor, time_ns: Tensor, is_masked: Tensor) -> Tensor:
        """Return normalized predictions (B, 4760, C) for the masked sensors.

        Parameters
        ----------
        npho, time_ns
            Photons and times [ns] (B, 4760), NaN where there is none. Those of masked sensors do
            not reach the network.
        is_masked
            Boolean (B, 4760): sensors to recover, dead ones included.
        """
        predicted: Tensor = self.model(self.normalized(npho, time_ns), is_masked)
        return predicted.float()

    def photons(self, npho: Tensor, time_ns: Tensor, is_masked: Tensor) -> Tensor:
        """Return recovered counts [photons] (B, 4760), not negative; see `predict`."""
        # Of every scheme, a value below zero is a count below zero; squares would lose the sign.
        counted = self.predict(npho, time_ns, is_masked)[..., 0].clamp_min(0.0)
        return inverse_npho(self.run.normalization, counted).clamp_min(0.0)


def open_inpainter(path: Path, device: torch.device, *, use_ema: bool = True) -> InpainterNetwork:
    """Open a checkpoint of an inpainter.

    Parameters
    ----------
    path
        `inpainter_checkpoint_best.pth` or another one of that kind.
    device
        Where to compute.
    use_ema
        Take the averaged weights where there are any.

    Raises
    ------
    CheckpointError
        If the file cannot be used.
    """
    found = load_inpainter_for_inference(path, use_ema=use_ema)
    return InpainterNetwork(
        model=found.model.to(device).eval(),
        normalizer=InputNormalizer(found.run.normalization).to(device).eval(),
        run=found.run,
        path=path,
        digest=found.sha,
        epoch=found.checkpoint.epoch,
        device=device,
    )
