"""The mean of the neighbours, and the same scaled by solid angles.

Both average the usable sensors on the same face that are less than 20 cm away. A sensor that is
dead or masked does not count, and a negative charge counts as it is: it is the pedestal's noise,
and cutting it off would lift the mean of dim neighbourhoods.
"""

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.detector.coordinates import uvw_to_xyz
from xec_pipeline.detector.geometry import Geometry
from xec_pipeline.detector.sensors import PMT_RADIUS_CM
from xec_pipeline.detector.solid_angle import solid_angle_fraction
from xec_pipeline.reconstruction.inpainting.neighbour_sums import NeighbourSums, usable_sensors
from xec_pipeline.reconstruction.local_fit import LocalFitter

F32 = NDArray[np.float32]
Values = NDArray[np.float64]

MIN_NEIGHBOUR_LIGHT: Final = 50.0
"""Photons on the neighbours above which solid angles scale them; below, noise would be scaled."""


class NeighbourAverage:
    """Mean photons of the neighbours.

    Parameters
    ----------
    geometry
        Sensor positions.
    """

    name: Literal["avg"] = "avg"

    def __init__(self, geometry: Geometry) -> None:
        self._sums = NeighbourSums(geometry)

    def predict(self, npho: NDArray[np.floating], is_masked: NDArray[np.bool_]) -> F32:
        """Return photons of the masked sensors; see `baselines.Baseline.predict`."""
        usable = usable_sensors(npho, is_masked)
        event, sensor = np.nonzero(is_masked)
        columns = np.stack([np.where(usable, npho, 0.0), usable], axis=2)
        light, count = self._sums(columns, event, sensor).T
        predicted = np.full(npho.shape, np.nan, dtype=np.float32)
        predicted[event, sensor] = _ratio(light, count)
        return predicted


class SolidAngleWeighted:
    """Light of the neighbours over the solid angle of the neighbours, times that of the sensor.

    Where the neighbours hold at most 50 photons, or no vertex is known, it is their mean.

    Parameters
    ----------
    geometry
        Sensor positions and orientations.
    pmt_radius_cm
        Radius of the photocathodes.
    """

    name: Literal["sa"] = "sa"

    def __init__(self, geometry: Geometry, *, pmt_radius_cm: float = PMT_RADIUS_CM) -> None:
        self._sums = NeighbourSums(geometry)
        self._geometry, self._pmt_radius_cm = geometry, pmt_radius_cm
        self._fitter = LocalFitter(geometry)

    def predict(
        self,
        npho: NDArray[np.floating],
        is_masked: NDArray[np.bool_],
        vertex_cm: Values | None = None,
    ) -> F32:
        """Return photons of the masked sensors; see `baselines.Baseline.predict`.

        Parameters
        ----------
        npho, is_masked
            Shape (B, 4760).
        vertex_cm
            Where the light comes from, in the laboratory, shape (B, 3), NaN if unknown. The
            local fit to the usable sensors if not given.
        """
        usable = usable_sensors(npho, is_masked)
        light = np.where(usable, npho, 0.0)
        if vertex_cm is None:
            vertex_cm = self._fitted_vertex(np.where(usable, npho, np.nan))
        omega = solid_angle_fraction(vertex_cm, self._geometry, pmt_radius_cm=self._pmt_radius_cm)
        omega = np.nan_to_num(omega, nan=0.0)
        event, sensor = np.nonzero(is_masked)
        columns = np.stack([light, usable, np.where(usable, omega, 0.0)], axis=2)
        light_sum, count, omega_sum = self._sums(columns, event, sensor).T
        scaled = (light_sum > MIN_NEIGHBOUR_LIGHT) & (omega_sum > 0)
        predicted = np.full(npho.shape, np.nan, dtype=np.float32)
        predicted[event, sensor] = np.where(
            scaled, omega[event, sensor] * _ratio(light_sum, omega_sum), _ratio(light_sum, count)
        )
        return predicted

    def _fitted_vertex(self, npho: NDArray[np.floating]) -> Values:
        fit = self._fitter.fit(npho)
        return np.where(fit.is_good[:, None], uvw_to_xyz(fit.uvw_cm), np.nan)


def _ratio(numerator: Values, denominator: Values) -> Values:
    """Return the quotient, NaN where the denominator is not positive."""
    good = denominator > 0
    ratio = np.full(len(good), np.nan)
    np.divide(numerator, denominator, out=ratio, where=good)
    return ratio
