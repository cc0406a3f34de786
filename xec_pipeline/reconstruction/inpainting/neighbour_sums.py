"""Sums over the neighbours of chosen sensors.

Who is whose neighbour is a sparse matrix; the rows of an event's chosen sensors times the values of
all sensors are the sums. Shapes: B events, P pairs of event and chosen sensor, K values.
"""

import functools
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from xec_pipeline.data.schema import is_valid
from xec_pipeline.detector.geometry import Geometry
from xec_pipeline.detector.neighbours import neighbours_within
from xec_pipeline.detector.sensors import N_SENSORS

Values = NDArray[np.float64]
Numbers = NDArray[np.int64]

NEIGHBOUR_RADIUS_CM: Final = 20.0


def usable_sensors(npho: NDArray[np.floating], is_masked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which sensors an estimate may look at: valid and not masked.

    Parameters
    ----------
    npho
        Photons, shape (B, 4760); NaN or 1e10 is a dead sensor.
    is_masked
        Sensors to be estimated, shape (B, 4760).

    Raises
    ------
    ValueError
        If an array has another shape.
    """
    for what, shape in (("npho", npho.shape), ("is_masked", is_masked.shape)):
        if shape != (len(npho), N_SENSORS):
            raise ValueError(f"{what} must have shape ({len(npho)}, {N_SENSORS}), got {shape}")
    usable: NDArray[np.bool_] = is_valid(npho) & ~is_masked
    return usable


class NeighbourSums:
    """Sums over the sensors on the same face that are less than a radius away.

    Parameters
    ----------
    geometry
        Sensor positions.
    radius_cm
        Distances straight through the xenon must be smaller than this.
    """

    def __init__(self, geometry: Geometry, radius_cm: float = NEIGHBOUR_RADIUS_CM) -> None:
        self._matrix = _neighbour_matrix(geometry, radius_cm)

    @property
    def counts(self) -> Numbers:
        """Number of neighbours of every sensor, shape (4760,)."""
        return np.diff(self._matrix.indptr).astype(np.int64)

    def __call__(self, values: Values, event: Numbers, sensor: Numbers) -> Values:
        """Return the sums of `values` over the neighbours of sensors.

        Parameters
        ----------
        values
            Shape (B, 4760, K), finite.
        event, sensor
            The chosen pairs, each of shape (P,), by event.

        Returns
        -------
        ndarray
            Shape (P, K).
        """
        border = np.searchsorted(event, np.arange(len(values) + 1))
        sums = np.empty((len(event), values.shape[2]))
        for row, of_event in enumerate(values):
            pairs = slice(border[row], border[row + 1])
            sums[pairs] = self._matrix[sensor[pairs]] @ of_event
        return sums


@functools.lru_cache(maxsize=4)
def _neighbour_matrix(geometry: Geometry, radius_cm: float) -> sparse.csr_array:
    """Return 1 where a sensor (column) is a neighbour of another (row), shape (4760, 4760)."""
    found = neighbours_within(geometry, radius_cm, same_face=True)
    row = np.repeat(np.arange(N_SENSORS), [len(ids) for ids in found])
    column = np.concatenate(found)
    offset = geometry.position_cm[row] - geometry.position_cm[column]
    inside = np.linalg.norm(offset, axis=1) < radius_cm
    places = (row[inside], column[inside])
    return sparse.csr_array((np.ones(len(places[0])), places), shape=(N_SENSORS, N_SENSORS))
