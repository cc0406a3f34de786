"""What no estimate can beat: the noise of the count that it is compared with.

A sensor of true mean n photons expects mu = n e photo-electrons with its efficiency e, and counts
them with variance mu (1 + g^2) + p^2: Poisson, relative width g of one photo-electron, pedestal p.
Whoever predicts n itself is off the count by its standard deviation. Light that the other sensors
cannot tell comes on top: about 1 % of n on the inner face, 2 % above 10^4 photons, negligible
beside the noise below that.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from xec_pipeline.config.simulation import SimulationConfig
from xec_pipeline.simulation.instrument import build_instrument

Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class CountingNoise:
    """Noise of the 4760 sensors of a toy detector.

    `efficiency`: photo-electrons per photon; `gain_variance`: relative variance of one photo-
    electron; `pedestal_variance`: in photo-electrons squared. Each of shape (4760,).
    """

    efficiency: Values
    gain_variance: Values
    pedestal_variance: Values

    @classmethod
    def of_toy(cls, config: SimulationConfig) -> "CountingNoise":
        """Return the noise of the detector that `config` simulates."""
        instrument = build_instrument(config)
        return cls(
            efficiency=instrument.efficiency.astype(np.float64),
            gain_variance=instrument.gain_variance.astype(np.float64),
            pedestal_variance=instrument.pedestal_variance.astype(np.float64),
        )

    def variance(self, mean_photons: ArrayLike, sensor: NDArray[np.integer]) -> Values:
        """Return the variance of the count [photons squared].

        Parameters
        ----------
        mean_photons
            True means, not negative; shape (...).
        sensor
            Sensor numbers, of a shape that broadcasts.
        """
        efficiency = self.efficiency[sensor]
        charge = np.asarray(mean_photons, dtype=np.float64) * efficiency
        noise = charge * (1.0 + self.gain_variance[sensor]) + self.pedestal_variance[sensor]
        variance: Values = noise / efficiency**2
        return variance

    def relative_error(self, mean_photons: ArrayLike, sensor: NDArray[np.integer]) -> Values:
        """Return the least possible RMS error over the mean; arguments as in `variance`.

        Infinite where the mean is 0.
        """
        mean = np.asarray(mean_photons, dtype=np.float64)
        error = np.sqrt(self.variance(mean, sensor))
        floor = np.full(error.shape, np.inf)
        np.divide(error, mean, out=floor, where=np.broadcast_to(mean > 0, error.shape))
        return floor
