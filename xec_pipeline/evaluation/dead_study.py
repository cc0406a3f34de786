"""What dead sensors cost a regressor, and how much of it filled-in sensors give back.

The same events are predicted several times: as they are, and with a pattern of dead sensors that
are left dead, filled with the average of their neighbours, or filled by an inpainter. All fillings
see the sensors that still work and nothing else.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Final, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from xec_pipeline.data.dataset import Batch
from xec_pipeline.detector.geometry import Geometry
from xec_pipeline.detector.neighbours import nearest_neighbours
from xec_pipeline.evaluation.networks import Predictor
from xec_pipeline.evaluation.onnx_networks import Outputs

COMPLETE: Final = "complete"
RAW: Final = "raw"
AVERAGE: Final = "neighavg"
INPAINTED: Final = "inpainted"
STRATEGIES: Final[Mapping[str, str]] = {
    COMPLETE: "no dead sensor",
    RAW: "left dead",
    AVERAGE: "neighbour average",
    INPAINTED: "inpainted",
}
"""Name of a strategy in files to what tables call it."""

_TIME_NEIGHBOURS: Final = 8
"""Nearest sensors on the same face whose mean time a filled sensor gets: a ring on the grid."""
_LEAST_TIMED: Final = 1 / 3
"""Fraction of these neighbours that must have a time; else the filled sensor has none."""

Fill = Callable[[Tensor, Tensor, Tensor], Tensor]
"""Photons (B, S) and times [ns] (B, S), NaN where dead, and which to fill (B, S), to photons."""


class FillsSensors(Protocol):
    """A conventional estimate of sensors from others; see `reconstruction.inpainting`."""

    def predict(
        self, npho: NDArray[np.float32], is_masked: NDArray[np.bool_], /
    ) -> NDArray[np.float32]:
        """Return photons (B, S), NaN where not masked or not predictable."""


class NeighbourTimes:
    """Mean time of the nearest neighbours, for sensors that were filled.

    Parameters
    ----------
    geometry
        Sensor positions.
    """

    def __init__(self, geometry: Geometry) -> None:
        ids, _ = nearest_neighbours(geometry, _TIME_NEIGHBOURS, same_face=True)
        self._ids = torch.as_tensor(ids)

    def __call__(self, time_ns: Tensor) -> Tensor:
        """Return for every sensor the mean time of its neighbours (B, S), NaN if too few have one.

        Parameters
        ----------
        time_ns
            Times [ns] (B, S), NaN where there is none.
        """
        near = time_ns[:, self._ids.to(time_ns.device)]
        enough = torch.isfinite(near).float().mean(dim=2) >= _LEAST_TIMED
        return torch.where(enough, near.nanmean(dim=2), float("nan"))


class WithDeadSensors:
    """A regressor that sees some sensors dead, and perhaps filled again.

    Parameters
    ----------
    predictor
        The regressor.
    is_dead
        Pattern (4760,).
    fill
        Gives the dead sensors photons; None leaves them dead.
    times
        Gives filled sensors times.
    """

    def __init__(
        self,
        predictor: Predictor,
        is_dead: NDArray[np.bool_],
        fill: Fill | None,
        times: NeighbourTimes,
    ) -> None:
        self._predictor, self._fill, self._times = predictor, fill, times
        self._is_dead = torch.as_tensor(is_dead)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks that the regressor predicts."""
        return self._predictor.tasks

    def __call__(self, batch: Batch) -> Outputs:
        """Return the regressor's predictions for the altered events."""
        return self._predictor(self.altered(batch))

    def altered(self, batch: Batch) -> Batch:
        """Return the batch as the regressor sees it."""
        is_dead = self._is_dead.to(batch.npho_BS.device).expand_as(batch.npho_BS)
        nothing = float("nan")
        npho = batch.npho_BS.masked_fill(is_dead, nothing)
        time_ns = batch.time_ns_BS.masked_fill(is_dead, nothing)
        if self._fill is not None:
            npho = torch.where(is_dead, self._fill(npho, time_ns, is_dead), npho)
            time_ns = torch.where(is_dead, self._times(time_ns), time_ns)
        return dataclasses.replace(batch, npho_BS=npho, time_ns_BS=time_ns)


def filled_by(baseline: FillsSensors) -> Fill:
    """Return a conventional estimate as a filling."""

    def fill(npho: Tensor, _: Tensor, is_dead: Tensor) -> Tensor:
        found = baseline.predict(npho.cpu().numpy(), is_dead.cpu().numpy())
        return torch.as_tensor(found).to(npho)

    return fill


def predictors(
    regressor: Predictor,
    is_dead: NDArray[np.bool_],
    fills: Mapping[str, Fill],
    times: NeighbourTimes,
) -> dict[str, Predictor]:
    """Return the regressor under every strategy, by its name.

    Parameters
    ----------
    regressor
        The network.
    is_dead
        Pattern (4760,).
    fills
        By name of the strategy, of those that fill.
    times
        Gives filled sensors times.
    """
    made: dict[str, Predictor] = {COMPLETE: regressor}
    made[RAW] = WithDeadSensors(regressor, is_dead, None, times)
    for name, fill in fills.items():
        made[name] = WithDeadSensors(regressor, is_dead, fill, times)
    return made
