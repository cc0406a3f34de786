"""The inpainter as it is exported: raw sensor values in, raw sensor values out."""

from typing import Final

import torch
from torch import nn

from xec_pipeline.models.inpainter import Inpainter
from xec_pipeline.models.input_norm import InputNormalizer, forward_npho, inverse_npho

_OUTPUT_NAMES: Final = {"npho": "output", "time": "output_time"}
_IS_MASKED: Final = 0.5


class InpainterGraph(nn.Module):
    """Photons and sensor times (B, 4760, 2) and a mask (B, 4760) to recovered photons (B, 4760).

    Parameters
    ----------
    normalizer, model
        The two parts of a checkpoint.
    clamp_negative
        Predict no fewer than 0 photons.

    Attributes
    ----------
    output_names
        output, and output_time if the model predicts times.
    """

    input_names = ("input", "mask")

    def __init__(
        self, normalizer: InputNormalizer, model: Inpainter, *, clamp_negative: bool = True
    ) -> None:
        super().__init__()
        self.normalizer = normalizer
        self.model = model
        self.clamp_negative = clamp_negative
        self.dark = float(forward_npho(normalizer.config, torch.zeros(())))
        self.output_names = tuple(_OUTPUT_NAMES[name] for name in model.features)

    def forward(self, values: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Recover sensors.

        Parameters
        ----------
        values
            Photons and sensor times [s], (B, 4760, 2); 1e10, NaN or infinity where invalid.
        mask
            1 for sensors to recover, whose values are not looked at; 0 for others.

        Returns
        -------
        tuple
            Photons (B, 4760), and times [s] (B, 4760) if the model predicts them. Sensors that are
            not to be recovered keep their values, invalid ones too.
        """
        is_hidden = mask > _IS_MASKED
        npho, time = values.unbind(dim=2)
        predicted = self.model(self.normalizer(npho, time), is_hidden)
        outputs = [torch.where(is_hidden, self._photons(predicted[..., 0]), npho)]
        if len(self.output_names) > 1:
            config = self.normalizer.config
            time_s = (predicted[..., 1] + config.time_shift) * config.time_scale
            outputs.append(torch.where(is_hidden, time_s, time))
        return tuple(outputs)

    def _photons(self, y: torch.Tensor) -> torch.Tensor:
        config = self.normalizer.config
        if self.clamp_negative:
            # Before the inverse, which has the same square for both signs of a root.
            return inverse_npho(config, y.clamp_min(self.dark))
        if config.npho_scheme in {"sqrt", "anscombe"}:
            # A root below zero stands for a count below that of darkness, and is no large count.
            return inverse_npho(config, y.clamp_min(0.0))
        return inverse_npho(config, y)
