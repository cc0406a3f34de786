"""Position of the light: a fit of one bright point to the sensors of the inner face around it.

A point at (u, v, w) emits S photons into all directions, so a sensor expects S times its solid
angle Omega (as a fraction of 4 pi). Minimised over a window around the brightest place is

    chi2 = sum (n - S Omega)^2 / V,    V = F S Omega + P + (f S Omega)^2

with the variance that the model expects, not one made from the count, which would favour sensors
that fluctuated down. F and P are the noise of a SiPM; f stands for what one point cannot describe.
Dead sensors take no part. Shapes: B events, W sensors of a window.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.data.schema import is_valid
from xec_pipeline.detector.coordinates import uvw_to_xyz, xyz_to_uvw
from xec_pipeline.detector.geometry import Geometry
from xec_pipeline.detector.sensors import N_SENSORS, N_SIPM
from xec_pipeline.detector.solid_angle import solid_angle_fraction
from xec_pipeline.reconstruction.inner_window import InnerWindow, brightest_place, cut_out
from xec_pipeline.reconstruction.least_squares import Limits, Minimum, minimise
from xec_pipeline.reconstruction.point_source import N_PARAMETERS, PointSource, uvw_of

Values = NDArray[np.float64]
Numbers = NDArray[np.int64]
Flags = NDArray[np.bool_]


class Window(NamedTuple):
    """Sensors that are fitted: this many rows and columns to each side of the brightest place.

    It is used for events that the window before it placed at `from_depth_cm` or deeper.
    """

    half_width: int
    from_depth_cm: float = 0.0


POSITION_WINDOWS: Final = (Window(4), Window(8, from_depth_cm=12.0))
"""Best for the position: 9 x 9 sensors, and 17 x 17 where the light of a deep event is spread."""

PHOTONS_PER_PE: Final = 1 / 0.12
"""Nominal photons per photo-electron of a SiPM."""
VARIANCE_PER_PHOTON: Final = PHOTONS_PER_PE * (1 + 0.45**2)
"""F: Poisson variance of the photo-electrons and 45 % width of one of them."""
PEDESTAL_VARIANCE: Final = PHOTONS_PER_PE**2
"""P [photons squared]: one photo-electron."""

_MIN_NDF: Final = 6
_MIN_SIGNIFICANCE: Final = 5.0
_START_DEPTHS_CM: Final = (0.5, 1.5, 4.0, 10.0)
_DEPTH_RANGE_CM: Final = (0.05, 50.0)
_LEAST_SCALE: Final = 1e3
_LARGEST_SCALE: Final = 1e9
_TINY: Final = 1e-30
_BEYOND_EDGE_CM: Final = 2.0
_EVENTS_PER_CHUNK: Final = 64
_FIELDS: Final = ("uvw_cm", "scale", "chi2", "ndf", "is_good")


@dataclass(frozen=True, kw_only=True)
class LocalFit:
    """Fitted points of B events; NaN where fewer than ten sensors could be fitted.

    Attributes
    ----------
    uvw_cm
        Position, shape (B, 3).
    scale
        Photons that the point emits into all directions, shape (B,).
    chi2, ndf
        Of the last window, shape (B,).
    is_good
        Shape (B,): ten sensors or more, the fit came to rest in front of the inner face at a depth
        between 0.05 and 50 cm, and the light stands out of its noise by five standard deviations.
    """

    uvw_cm: Values
    scale: Values
    chi2: Values
    ndf: Numbers
    is_good: Flags

    @property
    def chi2_per_ndf(self) -> Values:
        """chi2 / ndf, NaN where nothing was fitted; shape (B,)."""
        ratio: Values = self.chi2 / self.ndf
        return ratio

    def photons(self, geometry: Geometry) -> Values:
        """Return what the points give to all sensors, shape (B, 4760)."""
        seen = solid_angle_fraction(uvw_to_xyz(self.uvw_cm), geometry)
        seen *= self.scale[:, None]
        return seen


class LocalFitter:
    """Fits of points to events of one geometry.

    Parameters
    ----------
    geometry
        Sensor positions and orientations.
    windows
        The first is for all events.
    model_spread
        f: relative error of the model. 0 gives the best positions, as the sharp light beside the
        conversion counts in full; above 0 the fit heeds the whole window more evenly.
    """

    def __init__(
        self,
        geometry: Geometry,
        *,
        windows: Sequence[Window] = POSITION_WINDOWS,
        model_spread: float = 0.0,
    ) -> None:
        self._source = PointSource(geometry)
        self._place = xyz_to_uvw(geometry.position_cm[:N_SIPM])[:, :2]
        self._windows, self._spread_sq = tuple(windows), model_spread**2
        self._limits = _limits(self._place)

    def fit(self, npho: NDArray[np.floating]) -> LocalFit:
        """Fit events.

        Parameters
        ----------
        npho
            Photons, shape (B, 4760); NaN or 1e10 is a sensor not to be used.

        Raises
        ------
        ValueError
            If `npho` has another shape.
        """
        if npho.ndim != 2 or npho.shape[1] != N_SENSORS:
            raise ValueError(f"npho must have shape (B, {N_SENSORS}), got {npho.shape}")
        chunks = [
            self._fit_chunk(npho[start : start + _EVENTS_PER_CHUNK, :N_SIPM])
            for start in range(0, max(len(npho), 1), _EVENTS_PER_CHUNK)
        ]
        return LocalFit(
            **{name: np.concatenate([getattr(part, name) for part in chunks]) for name in _FIELDS}
        )

    def _fit_chunk(self, npho: NDArray[np.floating]) -> LocalFit:
        usable = is_valid(npho)
        light = np.where(usable, npho, 0.0).astype(np.float64)
        centre = brightest_place(light, usable)
        first, *wider = self._windows
        cut = cut_out(light, usable, centre, first.half_width)
        fit = self._fit_window(cut, self._start(cut, centre))
        for window in wider:
            deep = np.flatnonzero(fit.uvw_cm[:, 2] >= window.from_depth_cm)
            cut = cut_out(light[deep], usable[deep], centre[deep], window.half_width)
            _put(fit, deep, self._fit_window(cut, _parameters_of(fit)[deep]))
        return fit

    def _fit_window(self, cut: InnerWindow, start: Values) -> LocalFit:
        """Fit the sensors of a window from parameters of shape (B, 4)."""
        found = minimise(
            lambda parameters, rows: self._source.expected(parameters, cut.ids[rows]),
            lambda expected, rows: self._variance(expected, cut.usable[rows]),
            cut.light,
            start,
            self._limits,
        )
        return _judged(found, cut.usable.sum(axis=1) - N_PARAMETERS, self._limits)

    def _variance(self, photons: Values, usable: Flags) -> Values:
        variance = VARIANCE_PER_PHOTON * photons + PEDESTAL_VARIANCE + self._spread_sq * photons**2
        return np.where(usable, variance, np.inf)

    def _start(self, cut: InnerWindow, centre: Numbers) -> Values:
        """Return the best of a few depths under the brightest place, with the scale fitted."""
        weight = 1.0 / self._variance(np.maximum(cut.light, 0.0), cut.usable)
        best, least = np.empty((len(centre), N_PARAMETERS)), np.full(len(centre), np.inf)
        for depth_cm in _START_DEPTHS_CM:
            tried = np.zeros_like(best)
            tried[:, 1:3], tried[:, 3] = self._place[centre], np.log(depth_cm)
            unit, _ = self._source.expected(tried, cut.ids)
            overlap, norm = (weight * cut.light * unit).sum(axis=1), (weight * unit**2).sum(axis=1)
            scale = np.maximum(overlap / np.maximum(norm, _TINY), _LEAST_SCALE)
            tried[:, 0] = np.log(scale)
            chi2 = (weight * (cut.light - scale[:, None] * unit) ** 2).sum(axis=1)
            better = chi2 < least
            best[better], least[better] = tried[better], chi2[better]
        return best


def _limits(place: Values) -> Limits:
    """Return the limits of ln S, u, v and ln w, for sensors at `place`, shape (4092, 2)."""
    low, high = place.min(axis=0) - _BEYOND_EDGE_CM, place.max(axis=0) + _BEYOND_EDGE_CM
    depths = np.log(_DEPTH_RANGE_CM)
    scales = np.log([_LEAST_SCALE, _LARGEST_SCALE])
    return Limits(
        lowest=np.array([scales[0], *low, depths[0]]),
        highest=np.array([scales[1], *high, depths[1]]),
        largest_step=np.array([1.0, 1.5, 1.5, 0.7]),
        tolerance=np.full(N_PARAMETERS, 1e-3),
    )


def _judged(found: Minimum, ndf: Numbers, limits: Limits) -> LocalFit:
    is_inside = (found.parameters > limits.lowest) & (found.parameters < limits.highest)
    is_significant = found.curvature[:, 0] > _MIN_SIGNIFICANCE**2
    is_fitted = ndf >= _MIN_NDF
    parameters = np.where(is_fitted[:, None], found.parameters, np.nan)
    return LocalFit(
        uvw_cm=uvw_of(parameters),
        scale=np.exp(parameters[:, 0]),
        chi2=np.where(is_fitted, found.chi2, np.nan),
        ndf=ndf,
        is_good=is_fitted & found.is_converged & is_inside.all(axis=1) & is_significant,
    )


def _parameters_of(fit: LocalFit) -> Values:
    u, v, w = fit.uvw_cm.T
    return np.stack([np.log(fit.scale), u, v, np.log(w)], axis=1)


def _put(fit: LocalFit, rows: Numbers, other: LocalFit) -> None:
    for name in _FIELDS:
        getattr(fit, name)[rows] = getattr(other, name)
