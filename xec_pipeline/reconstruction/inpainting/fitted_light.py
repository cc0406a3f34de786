"""Sensors of the inner face from the point that fits their surroundings best."""

from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.detector.geometry import Geometry
from xec_pipeline.detector.sensors import N_SIPM
from xec_pipeline.reconstruction.inpainting.neighbour_sums import usable_sensors
from xec_pipeline.reconstruction.local_fit import LocalFitter, Window

LIGHT_WINDOWS: Final = (Window(10),)
"""Wider than for the position: most sensors to predict are not beside the conversion."""
LIGHT_MODEL_SPREAD: Final = 0.05
"""Keeps the few brightest sensors, where a point describes a shower worst, from deciding alone."""


class FittedLight:
    """Scale times solid angle of a fitted point, for the inner face only.

    Parameters
    ----------
    geometry
        Sensor positions and orientations.
    """

    name: Literal["localfit"] = "localfit"

    def __init__(self, geometry: Geometry) -> None:
        self._geometry = geometry
        self._fitter = LocalFitter(geometry, windows=LIGHT_WINDOWS, model_spread=LIGHT_MODEL_SPREAD)

    def predict(
        self, npho: NDArray[np.floating], is_masked: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Return photons of the masked sensors; see `baselines.Baseline.predict`.

        Sensors of other faces, and all of an event whose fit is not good, are NaN.
        """
        usable = usable_sensors(npho, is_masked)
        fit = self._fitter.fit(np.where(usable, npho, np.nan))
        predicted = fit.photons(self._geometry).astype(np.float32)
        predicted[~fit.is_good] = np.nan
        predicted[:, N_SIPM:] = np.nan
        predicted[~is_masked] = np.nan
        return predicted
