"""The two graphs that are exported: from normalized inputs, and from raw sensor values."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import torch
from torch import nn

from xec_pipeline.models.regressor import PHYSICAL_NAMES, PhysicalRegressor

_COLUMNS: Final = {
    "angle": (("theta_deg", "deg"), ("phi_deg", "deg")),
    "energy": (("energy_mev", "MeV"),),
    "timing": (("relative_time_ns", "ns"),),
    "uvwFI": (("u_cm", "cm"), ("v_cm", "cm"), ("w_cm", "cm")),
}
_MEANINGS: Final = {
    "theta_deg": "polar angle of the photon direction from the beam axis z",
    "phi_deg": "azimuth of the photon direction, atan2(y, -x)",
    "energy_mev": "photon energy",
    "relative_time_ns": "photon time minus time_min_used of the event; add it for the time itself",
    "u_cm": "first interaction, along the beam axis",
    "v_cm": "first interaction, along the inner face upward",
    "w_cm": "first interaction, depth from the inner face",
}


@dataclass(frozen=True, kw_only=True)
class Output:
    """One output of a graph.

    Attributes
    ----------
    name
        In the ONNX file.
    task
        Whose prediction it is.
    columns
        What each component is: name and unit.
    widths
        Spread of each component over the training events, in its unit: the yardstick for errors.
    shape
        Text such as "(batch, 3)".
    meaning
        A sentence.
    """

    name: str
    task: str
    columns: tuple[tuple[str, str], ...]
    widths: tuple[float, ...]
    shape: str
    meaning: str


class NormalizedGraph(nn.Module):
    """Normalized input (B, 4760, 2) to one output per task, in physical units.

    An output is (B, k), or (B, 2k) with k values first and then their k uncertainties.
    """

    input_names = ("input",)

    def __init__(self, model: PhysicalRegressor) -> None:
        super().__init__()
        self.model = model

    def outputs(self) -> tuple[Output, ...]:
        """Describe what `forward` returns."""
        return tuple(_task_output(self.model, task) for task in tasks(self.model))

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return one tensor per task."""
        restored = self.model.restore(self.model.regressor(x))
        grouped = []
        for task in tasks(self.model):
            name = PHYSICAL_NAMES[task]
            parts = [restored[name]]
            if f"sigma_{name}" in restored:
                parts.append(restored[f"sigma_{name}"])
            grouped.append(torch.cat(parts, dim=1))
        return tuple(grouped)


class RawGraph(nn.Module):
    """Photons and sensor times (B, 4760) to one vector (B,) per predicted quantity."""

    input_names = ("npho", "time")

    def __init__(self, model: PhysicalRegressor) -> None:
        super().__init__()
        self.model = model

    def outputs(self) -> tuple[Output, ...]:
        """Describe what `forward` returns."""
        values = [_column_output(self.model, task, i) for task, i in _components(self.model)]
        sigmas = [
            _column_output(self.model, task, i, sigma=True)
            for task, i in _components(self.model)
            if has_sigma(self.model, task)
        ]
        return (*values, *sigmas)

    def forward(self, npho: torch.Tensor, time_s: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Return values of all tasks, then uncertainties of those that have them."""
        restored = self.model(npho, time_s)
        names = [PHYSICAL_NAMES[task] for task in tasks(self.model)]
        names += [f"sigma_{name}" for name in names if f"sigma_{name}" in restored]
        return tuple(column for name in names for column in restored[name].unbind(dim=1))


ExportGraph = NormalizedGraph | RawGraph


def tasks(model: PhysicalRegressor) -> Sequence[str]:
    """Return the active tasks in the order of the outputs."""
    return tuple(model.regressor.heads)


def has_sigma(model: PhysicalRegressor, task: str) -> bool:
    """Return whether the head of a task also predicts uncertainties."""
    return model.regressor.n_outputs[task] > len(_COLUMNS[task])


def _components(model: PhysicalRegressor) -> Sequence[tuple[str, int]]:
    return [(task, index) for task in tasks(model) for index in range(len(_COLUMNS[task]))]


def _task_output(model: PhysicalRegressor, task: str) -> Output:
    columns, widths = _COLUMNS[task], model.scaling.widths(task)
    meaning = ", ".join(f"{name}: {_MEANINGS[name]}" for name, _ in columns)
    if has_sigma(model, task):
        columns += tuple((f"sigma_{name}", unit) for name, unit in columns)
        widths += widths
        meaning += "; then the predicted standard deviations in the same order"
    return Output(
        name=f"output_{task}",
        task=task,
        columns=columns,
        widths=widths,
        shape=f"(batch, {len(columns)})",
        meaning=meaning,
    )


def _column_output(
    model: PhysicalRegressor, task: str, index: int, *, sigma: bool = False
) -> Output:
    name, unit = _COLUMNS[task][index]
    label = f"sigma_{name}" if sigma else name
    return Output(
        name=label,
        task=task,
        columns=((label, unit),),
        widths=(model.scaling.widths(task)[index],),
        shape="(batch,)",
        meaning=f"predicted standard deviation of {name}" if sigma else _MEANINGS[name],
    )
