"""Mean light and mean arrival times of one event in float64, with their derivatives.

The formulas are those of `simulation.light`, with the exact solid angle for every SiPM. Quantities
of the light points, in this order: positions (x, y, z of each of the 3 points), shares of the light
(3), shower paths (3). Shapes: S sensors, K = 3 points, Q = 15 quantities.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.config.simulation import LightConfig
from xec_pipeline.detector.geometry import Geometry
from xec_pipeline.detector.sensors import (
    N_SENSORS,
    N_SIPM,
    PMT_AREA_CM2,
    PMT_RADIUS_CM,
    SIPM_AREA_CM2,
)
from xec_pipeline.detector.solid_angle import (
    FOUR_PI,
    far_field_fraction_and_gradient,
    sipm_fraction_and_gradient,
)
from xec_pipeline.units import SPEED_OF_LIGHT_CM_PER_NS

Values = NDArray[np.float64]

N_POINTS: Final = 3
N_QUANTITIES: Final = 5 * N_POINTS
"""Three coordinates, a share and a path of every point."""


@dataclass(frozen=True, kw_only=True)
class LightSlopes:
    """Light of one event as fractions of all photons that are emitted.

    `fraction`: (S,) part of the photons that arrives; `delay_ns`: (S,) mean time after the
    conversion; `fraction_slopes`, `delay_slopes`: (Q, S) derivatives by the quantities of the light
    points, each as if the others stood still.
    """

    fraction: Values
    delay_ns: Values
    fraction_slopes: Values
    delay_slopes: Values


class ExactLight:
    """Light of light points on the sensors of one geometry.

    Parameters
    ----------
    light
        Diffuse light and refractive index.
    geometry
        Positions and orientations.
    """

    def __init__(self, light: LightConfig, geometry: Geometry) -> None:
        self._light = light
        self._position, self._normal = geometry.position_cm, geometry.normal
        self._frame = np.stack([geometry.axis_u, geometry.axis_v, geometry.normal])
        self._area = np.full(N_SENSORS, PMT_AREA_CM2)
        self._area[:N_SIPM] = SIPM_AREA_CM2
        self._ns_per_cm = light.refractive_index / SPEED_OF_LIGHT_CM_PER_NS

    def slopes(self, position_cm: Values, share: Values, path_cm: Values) -> LightSlopes:
        """Return light, delays and derivatives.

        Parameters
        ----------
        position_cm
            Light points, shape (K, 3).
        share
            Their parts of the light, shape (K,).
        path_cm
            What the shower flew to reach them, shape (K,).

        Notes
        -----
        The delay is N / T with the light T and the light times arrival time N, each a sum over the
        points and the diffuse light; its derivative is (dN - (N / T) dT) / T.
        """
        sums = _Sums()
        path_ns = path_cm / SPEED_OF_LIGHT_CM_PER_NS
        for k in range(N_POINTS):
            self._add_direct(sums, k, (position_cm[k], share[k], path_ns[k]))
        self._add_diffuse(sums, position_cm, share, path_ns)
        delay = sums.timed / sums.light
        return LightSlopes(
            fraction=sums.light,
            delay_ns=delay,
            fraction_slopes=sums.light_slopes,
            delay_slopes=(sums.timed_slopes - delay * sums.light_slopes) / sums.light,
        )

    def _add_direct(self, sums: "_Sums", k: int, point: tuple[Values, float, float]) -> None:
        position, share, path_ns = point
        fraction, gradient = self._solid_angle(position)
        flight, flight_gradient = self._flight_ns(position)
        arrival = flight + path_ns
        sums.light += share * fraction
        sums.timed += share * fraction * arrival
        sums.light_slopes[_place(k)] += share * gradient
        sums.timed_slopes[_place(k)] += share * (gradient * arrival + fraction * flight_gradient)
        sums.light_slopes[_SHARES + k] += fraction
        sums.timed_slopes[_SHARES + k] += fraction * arrival
        sums.timed_slopes[_PATHS + k] += share * fraction / SPEED_OF_LIGHT_CM_PER_NS

    def _add_diffuse(
        self, sums: "_Sums", position_cm: Values, share: Values, path_ns: Values
    ) -> None:
        """Add the diffuse light, which comes from the centre of the light."""
        center = share @ position_cm
        offset = (center - self._position).T
        spread = (offset**2).sum(0) + self._light.diffuse_range_cm**2
        fraction = self._light.diffuse * self._area / (FOUR_PI * spread)
        gradient = -2 * offset * fraction / spread
        flight, flight_gradient = self._flight_ns(center)
        arrival = self._light.diffuse_path * flight + share @ path_ns
        timed_gradient = gradient * arrival
        timed_gradient += fraction * self._light.diffuse_path * flight_gradient
        sums.light += fraction
        sums.timed += fraction * arrival
        for k in range(N_POINTS):
            sums.light_slopes[_place(k)] += share[k] * gradient
            sums.timed_slopes[_place(k)] += share[k] * timed_gradient
            sums.light_slopes[_SHARES + k] += position_cm[k] @ gradient
            sums.timed_slopes[_SHARES + k] += (
                position_cm[k] @ timed_gradient + fraction * path_ns[k]
            )
            sums.timed_slopes[_PATHS + k] += share[k] * fraction / SPEED_OF_LIGHT_CM_PER_NS

    def _flight_ns(self, point_cm: Values) -> tuple[Values, Values]:
        """Return the flight time of light from a point (S,) and its gradient (3, S)."""
        offset = (point_cm - self._position).T
        distance = np.sqrt((offset**2).sum(0))
        return self._ns_per_cm * distance, self._ns_per_cm * offset / distance

    def _solid_angle(self, point_cm: Values) -> tuple[Values, Values]:
        """Return the solid angles over 4 pi from a point (S,) and their gradients (3, S)."""
        offset = point_cm - self._position
        height = (offset * self._normal).sum(1)
        fraction, gradient = np.zeros(N_SENSORS), np.zeros((3, N_SENSORS))
        near = np.flatnonzero(height[:N_SIPM] > 0)
        frame = self._frame[:, near]
        along = np.einsum("asx,sx->as", frame, offset[near])
        fraction[near], by_axis = sipm_fraction_and_gradient(*along)
        gradient[:, near] = np.einsum("as,asx->xs", by_axis, frame)
        pmt = slice(N_SIPM, None)
        fraction[pmt], by_shape = far_field_fraction_and_gradient(
            (offset[pmt] ** 2).sum(1),
            height[pmt],
            area_cm2=PMT_AREA_CM2,
            second_moment_cm2=PMT_RADIUS_CM**2 / 4,
        )
        gradient[:, pmt] = 2 * by_shape[0] * offset[pmt].T + by_shape[1] * self._normal[pmt].T
        return fraction, gradient


_SHARES: Final = 3 * N_POINTS
_PATHS: Final = 4 * N_POINTS


def _place(k: int) -> slice:
    """Rows of the coordinates of point `k`."""
    return slice(3 * k, 3 * k + 3)


def _zero_slopes() -> Values:
    return np.zeros((N_QUANTITIES, N_SENSORS))


@dataclass(kw_only=True)
class _Sums:
    """Light and light times arrival time, summed over its sources, with derivatives."""

    light: Values = field(default_factory=lambda: np.zeros(N_SENSORS))
    timed: Values = field(default_factory=lambda: np.zeros(N_SENSORS))
    light_slopes: Values = field(default_factory=_zero_slopes)
    timed_slopes: Values = field(default_factory=_zero_slopes)
