"""The four estimates of dead sensors that a network must beat, by name."""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.detector.geometry import Geometry
from xec_pipeline.errors import ConfigError, did_you_mean
from xec_pipeline.reconstruction.inpainting.fitted_light import FittedLight
from xec_pipeline.reconstruction.inpainting.inverse_distance import InverseDistance
from xec_pipeline.reconstruction.inpainting.neighbour_average import (
    NeighbourAverage,
    SolidAngleWeighted,
)


class Baseline(Protocol):
    """An estimate of sensors from the others of the same event, without a network."""

    @property
    def name(self) -> str:
        """Short name, as in the columns of the prediction files."""

    def predict(
        self, npho: NDArray[np.floating], is_masked: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Return the photons of the masked sensors.

        Parameters
        ----------
        npho
            Photons of B events, shape (B, 4760); NaN or 1e10 where dead. Values of masked sensors
            are not looked at.
        is_masked
            Sensors to estimate, shape (B, 4760); they may be dead.

        Returns
        -------
        ndarray
            Photons, shape (B, 4760); NaN where not masked, or where the method gives nothing.

        Raises
        ------
        ValueError
            If an array has another shape.
        """


_BUILDERS: Final[dict[str, Callable[[Geometry], Baseline]]] = {
    "avg": NeighbourAverage,
    "sa": SolidAngleWeighted,
    "localfit": FittedLight,
    "knn": InverseDistance,
}
BASELINES: Final = tuple(_BUILDERS)
"""Names of all baselines."""


def build_baselines(names: Sequence[str], geometry: Geometry) -> list[Baseline]:
    """Return baselines in the order of `names`: avg, sa, localfit, knn.

    Raises
    ------
    ConfigError
        If there is none of a name.
    """
    for name in names:
        if name not in _BUILDERS:
            near = did_you_mean(name, _BUILDERS)
            raise ConfigError(f"unknown baseline '{name}'{near}; known: {', '.join(_BUILDERS)}")
    return [_BUILDERS[name](geometry) for name in names]
