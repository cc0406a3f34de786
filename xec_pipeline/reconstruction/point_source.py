"""Light of one point on the SiPMs, with its derivatives.

Parameters, in this order: ln S, u, v, ln w, where S is the number of photons that the point emits
into all directions. Logarithms keep number and depth positive. Shapes: B points, W sensors.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.detector.coordinates import INNER_RADIUS_CM, uvw_to_xyz
from xec_pipeline.detector.geometry import Geometry
from xec_pipeline.detector.sensors import N_SIPM
from xec_pipeline.detector.solid_angle import sipm_fraction_and_gradient

Values = NDArray[np.float64]
Numbers = NDArray[np.int64]

N_PARAMETERS: Final = 4


class PointSource:
    """Expected photons on SiPMs of one geometry.

    Parameters
    ----------
    geometry
        Sensor positions and orientations.
    """

    def __init__(self, geometry: Geometry) -> None:
        self._position = geometry.position_cm[:N_SIPM]
        self._frame = np.stack([geometry.axis_u, geometry.axis_v, geometry.normal])[:, :N_SIPM]

    def expected(self, parameters: Values, sensors: Numbers) -> tuple[Values, Values]:
        """Return what points give to sensors of their own.

        Parameters
        ----------
        parameters
            Shape (B, 4).
        sensors
            Numbers below 4092, shape (B, W).

        Returns
        -------
        photons, derivatives
            Shapes (B, W) and (4, B, W).
        """
        uvw = uvw_of(parameters)
        frame = self._frame[:, sensors]
        offset = uvw_to_xyz(uvw)[:, None] - self._position[sensors]
        foot_u, foot_v, height = np.einsum("abwx,bwx->abw", frame, offset)
        fraction, gradient = sipm_fraction_and_gradient(foot_u, foot_v, height)
        by_xyz = np.einsum("abw,abwx->bwx", gradient, frame)
        scale = np.exp(parameters[:, 0])[:, None]
        derivatives = np.empty((N_PARAMETERS, *fraction.shape))
        derivatives[0] = scale * fraction
        derivatives[1:] = scale * np.einsum("pbx,bwx->pbw", _xyz_slopes(uvw), by_xyz)
        return scale * fraction, derivatives


def uvw_of(parameters: Values) -> Values:
    """Return the detector coordinates of parameters, (B, 4) to (B, 3) [cm]."""
    return np.column_stack([parameters[:, 1:3], np.exp(parameters[:, 3])])


def _xyz_slopes(uvw: Values) -> Values:
    """Return the derivatives of (x, y, z) by u, v and ln w, shape (3, B, 3)."""
    _, v, w = uvw.T
    sine, cosine = np.sin(v / INNER_RADIUS_CM), np.cos(v / INNER_RADIUS_CM)
    stretch = 1.0 + w / INNER_RADIUS_CM
    slopes = np.zeros((3, len(uvw), 3))
    slopes[0, :, 2] = 1.0
    slopes[1, :, 0], slopes[1, :, 1] = stretch * sine, stretch * cosine
    slopes[2, :, 0], slopes[2, :, 1] = -w * cosine, w * sine
    return slopes
