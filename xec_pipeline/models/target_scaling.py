"""Targets with mean 0 and width 1, so that the losses of different tasks can be compared."""

from collections.abc import Collection, Mapping
from typing import TypedDict

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from xec_pipeline.config.tasks import TasksConfig
from xec_pipeline.errors import DataError


class TargetStatistics(TypedDict):
    """What a checkpoint keeps of one target."""

    mean: list[float]
    scale: list[float]
    log: bool


class Restored(TypedDict, total=False):
    """A prediction in physical units."""

    value: torch.Tensor
    sigma: torch.Tensor


class TargetScaling(nn.Module):
    """Mean and width of the training targets, or of their logarithms where so configured.

    Parameters
    ----------
    statistics
        Task name to mean, scale (one number per component) and whether the logarithm is regressed.
    """

    def __init__(self, statistics: Mapping[str, TargetStatistics]) -> None:
        super().__init__()
        self._log = {task: bool(entry["log"]) for task, entry in statistics.items()}
        self._components = {task: len(entry["mean"]) for task, entry in statistics.items()}
        for task, entry in statistics.items():
            self.register_buffer(f"mean_{task}", torch.tensor(entry["mean"], dtype=torch.float32))
            self.register_buffer(f"scale_{task}", torch.tensor(entry["scale"], dtype=torch.float32))

    @classmethod
    def from_targets(
        cls, targets: Mapping[str, npt.NDArray[np.floating]], tasks: TasksConfig
    ) -> "TargetScaling":
        """Measure mean and standard deviation.

        Parameters
        ----------
        targets
            Task name to target values (N, k) in internal units; rows with NaN are left out.
        tasks
            Says which targets are regressed as logarithms.

        Raises
        ------
        DataError
            If a target has no finite row, or a logarithm is asked of a value that is not positive.
        """
        logs = {task for task in targets if tasks[task].log_transform}
        return cls({task: _statistics(task, values, logs) for task, values in targets.items()})

    @property
    def tasks(self) -> tuple[str, ...]:
        """Names of the targets."""
        return tuple(self._log)

    def statistics(self) -> dict[str, TargetStatistics]:
        """Return plain numbers from which an equal object can be built."""
        return {
            task: TargetStatistics(
                mean=self._mean(task).tolist(), scale=self._scale(task).tolist(), log=log
            )
            for task, log in self._log.items()
        }

    def widths(self, task: str) -> tuple[float, ...]:
        """Return the spread of each component over the training events, in the target's unit."""
        scale = self._scale(task)
        if self._log[task]:
            scale = scale * torch.exp(self._mean(task))
        return tuple(scale.tolist())

    def standardize(self, task: str, values_BK: torch.Tensor) -> torch.Tensor:
        """Return (target - mean) / scale, of the logarithm where so configured; (B, k) float32."""
        values = torch.log(values_BK) if self._log[task] else values_BK
        return ((values - self._mean(task)) / self._scale(task)).float()

    def restore(self, task: str, output_BO: torch.Tensor) -> Restored:
        """Turn a head's output into physical units.

        Parameters
        ----------
        task
            Target name.
        output_BO
            (B, k): standardized values; or (B, 2k): values, then logarithms of variances.

        Returns
        -------
        Restored
            `value` (B, k) and, for 2k outputs, `sigma` (B, k), both in the target's unit. For a
            logarithmic target sigma is value times the width of the logarithm.
        """
        mean, scale = self._mean(task), self._scale(task)
        parts = torch.split(output_BO.float(), self._components[task], dim=1)
        value = parts[0] * scale + mean
        if self._log[task]:
            value = torch.exp(value)
        if len(parts) == 1:
            return Restored(value=value)
        sigma = torch.exp(0.5 * parts[1]) * scale
        return Restored(value=value, sigma=sigma * value if self._log[task] else sigma)

    def _mean(self, task: str) -> torch.Tensor:
        return self.get_buffer(f"mean_{task}")

    def _scale(self, task: str) -> torch.Tensor:
        return self.get_buffer(f"scale_{task}")


def _statistics(
    task: str, values: npt.NDArray[np.floating], logs: Collection[str]
) -> TargetStatistics:
    columns = np.asarray(values, dtype=np.float64).reshape(len(values), -1)
    columns = columns[np.isfinite(columns).all(axis=1)]
    if not len(columns):
        raise DataError(
            f"target '{task}': none of {len(values)} training events has a finite value; "
            "disable the task or give events with truth"
        )
    if task in logs:
        if (columns <= 0).any():
            raise DataError(
                f"target '{task}': log_transform needs positive values, got {columns.min():g}"
            )
        columns = np.log(columns)
    mean = columns.mean(axis=0)
    scale = columns.std(axis=0)
    # A target that is the same in all events (one fixed energy) keeps its unit as the scale.
    scale = np.where(scale > 1e-9 * np.maximum(1.0, np.abs(mean)), scale, 1.0)
    return TargetStatistics(mean=mean.tolist(), scale=scale.tolist(), log=task in logs)
