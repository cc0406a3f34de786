"""Position and energy from the charges of the inner face, without a network.

u and v are the mean of the sensors' positions weighted with their photons; the depth follows from
how far the light is spread over the face, the energy from the sum of the photons. A cubic in the
observable and the spread, fitted to training events, turns each into its quantity: the deeper the
conversion, the more the light of far sensors pulls the mean toward the middle of the face, and the
less of it reaches the face at all.

Dead sensors weigh nothing. Negative charges count as they are: with them the noise of thousands of
dim sensors cancels in the sums, without them it would pull toward the middle of the face.
"""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline.detector.coordinates import xyz_to_uvw
from xec_pipeline.detector.geometry import ideal_geometry
from xec_pipeline.detector.sensors import N_SIPM

Values = NDArray[np.float64]

_BATCH: Final = 1024
_DEGREE: Final = 3
_MIN_EVENTS: Final = 20


@dataclass(frozen=True, kw_only=True)
class InnerLight:
    """Observables of the inner face, arrays of shape (n_events,); NaN if the sum is not above 0."""

    total: Values
    """Sum of the photons."""
    u: Values
    """Charge-weighted mean position along the beam [cm]."""
    v: Values
    """Charge-weighted mean position along the arc [cm]."""
    spread: Values
    """Charge-weighted root mean square distance from (u, v) [cm]."""


def inner_light(npho: NDArray[np.floating]) -> InnerLight:
    """Return the observables of photons of all sensors.

    Parameters
    ----------
    npho
        Photons, shape (n_events, 4760) or the first 4092 columns of it; NaN is a dead sensor.
    """
    light = np.nan_to_num(np.asarray(npho[:, :N_SIPM], dtype=np.float32), nan=0.0)
    uvw = xyz_to_uvw(ideal_geometry().position_cm[:N_SIPM])
    u, v = uvw[:, 0], uvw[:, 1]
    moments = np.stack([np.ones_like(u), u, v, u**2 + v**2], axis=1).astype(np.float32)
    total, sum_u, sum_v, sum_squares = (light @ moments).astype(np.float64).T
    total = np.where(total > 0, total, np.nan)
    mean_u, mean_v = sum_u / total, sum_v / total
    variance = sum_squares / total - mean_u**2 - mean_v**2
    return InnerLight(total=total, u=mean_u, v=mean_v, spread=np.sqrt(np.maximum(variance, 0.0)))


def inner_light_of(shards: ShardSet, events: NDArray[np.integer]) -> InnerLight:
    """Return the observables of some events of a shard set, read in batches.

    Parameters
    ----------
    shards
        Events.
    events
        Their numbers, shape (n_events,).
    """
    parts = [
        inner_light(shards.npho(events[first : first + _BATCH]))
        for first in range(0, len(events), _BATCH)
    ]
    joined = {
        name: np.concatenate([np.empty(0), *(getattr(part, name) for part in parts)])
        for name in ("total", "u", "v", "spread")
    }
    return InnerLight(**joined)


@dataclass(frozen=True, kw_only=True)
class Cubic:
    """A polynomial of third order in an observable and the spread of the light."""

    centre: tuple[float, float]
    width: tuple[float, float]
    coefficients: Values
    """Of the monomials with exponents (i, j), i + j <= 3, shape (10,)."""

    @classmethod
    def fit(cls, observable: Values, spread: Values, truth: Values) -> "Cubic":
        """Return the least-squares polynomial of `truth`; events with NaN are left out.

        Raises
        ------
        ValueError
            If fewer than 20 events have light and truth.
        """
        is_known = np.isfinite(observable) & np.isfinite(spread) & np.isfinite(truth)
        if is_known.sum() < _MIN_EVENTS:
            raise ValueError(
                f"{int(is_known.sum())} events with light and truth, {_MIN_EVENTS} are needed"
            )
        known = np.stack([observable, spread])[:, is_known]
        widths = known.std(axis=1)
        unfitted = cls(
            centre=(float(known[0].mean()), float(known[1].mean())),
            width=(float(widths[0]) or 1.0, float(widths[1]) or 1.0),
            coefficients=np.empty(0),
        )
        fitted = np.linalg.lstsq(unfitted.monomials(*known), truth[is_known])[0]
        return replace(unfitted, coefficients=fitted.astype(np.float64))

    def __call__(self, observable: Values, spread: Values) -> Values:
        """Return the value of the polynomial, shape (n_events,)."""
        value: Values = self.monomials(observable, spread) @ self.coefficients
        return value

    def monomials(self, observable: Values, spread: Values) -> Values:
        """Return the monomials of the standardized observables, shape (n_events, 10)."""
        x = (observable - self.centre[0]) / self.width[0]
        y = (spread - self.centre[1]) / self.width[1]
        powers = [x**i * y**j for i in range(_DEGREE + 1) for j in range(_DEGREE + 1 - i)]
        return np.stack(powers, axis=1)


@dataclass(frozen=True, kw_only=True)
class ChargeWeighted:
    """Calibrated estimators, one for each quantity."""

    u: Cubic
    v: Cubic
    w: Cubic
    energy: Cubic

    @classmethod
    def fit(cls, light: InnerLight, uvw_cm: Values, energy_mev: Values) -> "ChargeWeighted":
        """Calibrate with training events.

        Parameters
        ----------
        light
            Observables of the training events.
        uvw_cm, energy_mev
            Truth, shapes (n_events, 3) and (n_events,); NaN where it is not known.

        Raises
        ------
        ValueError
            If fewer than 20 events have light and truth.
        """
        u, v, w = uvw_cm.T
        return cls(
            u=Cubic.fit(light.u, light.spread, u),
            v=Cubic.fit(light.v, light.spread, v),
            # The depth has no observable but the spread.
            w=Cubic.fit(np.zeros_like(light.spread), light.spread, w),
            energy=Cubic.fit(light.total, light.spread, energy_mev),
        )

    def predict(self, light: InnerLight) -> dict[str, Values]:
        """Return energy [MeV], shape (n_events, 1), and position [cm], shape (n_events, 3)."""
        spread = light.spread
        position = [
            self.u(light.u, spread),
            self.v(light.v, spread),
            self.w(np.zeros_like(spread), spread),
        ]
        return {
            "energy": self.energy(light.total, spread)[:, None],
            "uvwFI": np.stack(position, axis=1),
        }
