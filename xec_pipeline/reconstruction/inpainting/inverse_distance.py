"""The mean of the few nearest usable sensors, weighted with powers of the inverse distance."""

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.detector.geometry import Geometry
from xec_pipeline.detector.neighbours import nearest_neighbours
from xec_pipeline.reconstruction.inpainting.neighbour_sums import usable_sensors

F32 = NDArray[np.float32]

N_NEAREST: Final = 8
"""Sensors that are averaged: on the grid of the inner face, the ring around the sensor."""
_CANDIDATES: Final = 72
_PAIRS_PER_CHUNK: Final = 16384


class InverseDistance:
    """Weighted mean of the nearest usable sensors on the same face.

    Parameters
    ----------
    geometry
        Sensor positions.
    n_nearest
        How many sensors; fewer if there are not so many usable ones among the nearest 72.
    power
        The weights are distances to this power, over 1.
    """

    name: Literal["knn"] = "knn"

    def __init__(
        self, geometry: Geometry, *, n_nearest: int = N_NEAREST, power: float = 2.0
    ) -> None:
        if not 1 <= n_nearest <= _CANDIDATES:
            raise ValueError(f"n_nearest must be between 1 and {_CANDIDATES}, got {n_nearest}")
        self._ids, distance_cm = nearest_neighbours(geometry, _CANDIDATES, same_face=True)
        self._weight = distance_cm**-power
        self._n_nearest = n_nearest

    def predict(self, npho: NDArray[np.floating], is_masked: NDArray[np.bool_]) -> F32:
        """Return photons of the masked sensors; see `baselines.Baseline.predict`."""
        usable = usable_sensors(npho, is_masked)
        light = np.where(usable, npho, 0.0).astype(np.float64)
        event, sensor = np.nonzero(is_masked)
        predicted = np.full(npho.shape, np.nan, dtype=np.float32)
        for start in range(0, len(event), _PAIRS_PER_CHUNK):
            rows, at = (ids[start : start + _PAIRS_PER_CHUNK] for ids in (event, sensor))
            near = self._ids[at]
            chosen = usable[rows[:, None], near]
            chosen &= np.cumsum(chosen, axis=1) <= self._n_nearest
            weight = np.where(chosen, self._weight[at], 0.0)
            total = weight.sum(axis=1)
            mean = np.divide(
                (weight * light[rows[:, None], near]).sum(axis=1),
                total,
                out=np.full(len(at), np.nan),
                where=total > 0,
            )
            predicted[rows, at] = mean
        return predicted
