"""Energy, position and time without a network, as well as one can do with reasonable effort.

Position: a bright point is fitted to the sensors around the brightest place. The shower's light
comes from behind the first interaction, on the photon's way; how far, is read from depth,
compactness and quality of the fit, which a polynomial turns into a correction. Energy: light of all
faces by their area, corrected for the position and for how the faces share the light. Time: mean of
the sensor times minus the way of the light from the fitted point, corrected for the position.

Polynomials are fitted to training events. Shapes: N events.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.detector.coordinates import uvw_to_xyz
from xec_pipeline.detector.faces import Face
from xec_pipeline.reconstruction.observables import Observables
from xec_pipeline.reconstruction.polynomial import Polynomial
from xec_pipeline.units import SPEED_OF_LIGHT_CM_PER_NS

Values = NDArray[np.float64]
TimingReference = Literal["emission", "interaction"]

TASKS: Final = ("energy", "timing", "uvwFI")
"""What can be calibrated, each if its truth is known."""


@dataclass(frozen=True, kw_only=True)
class Conventional:
    """Calibrated estimators.

    Attributes
    ----------
    timing_reference
        Whether times are those of the emission at the target or of the first interaction.
    corrections
        Polynomials by quantity: energy, timing, u, v, w, and the last three with `_unfitted` for
        events without a good fit, whose position is the mean of a window.
    """

    timing_reference: TimingReference
    corrections: Mapping[str, Polynomial]

    @classmethod
    def fit(
        cls, seen: Observables, truth: Mapping[str, Values], timing_reference: TimingReference
    ) -> "Conventional":
        """Calibrate with training events.

        Parameters
        ----------
        seen
            Observables of the training events.
        truth
            energy [MeV] (N, 1), uvwFI [cm] (N, 3), timing [ns] (N, 1) on the scale of the sensor
            times; any of them, NaN where it is not known.
        timing_reference
            Where the time is meant.

        Raises
        ------
        ValueError
            If fewer than 20 events have light and truth.
        """
        found: dict[str, Polynomial] = {}
        if "energy" in truth:
            ratio = np.log(truth["energy"][:, 0]) - _ln_light(seen)
            found["energy"] = Polynomial.fit(_energy_terms(seen), ratio)
        if "timing" in truth:
            lag = truth["timing"][:, 0] - _start_ns(seen, timing_reference)
            found["timing"] = Polynomial.fit(_point_terms(seen), lag)
        if "uvwFI" in truth:
            for name, true in zip("uvw", truth["uvwFI"].T, strict=True):
                found[name] = Polynomial.fit(_fit_terms(seen), true - _fitted(seen, name))
                found[f"{name}_unfitted"] = Polynomial.fit(
                    _window_terms(seen), true - _window_mean(seen, name)
                )
        return cls(timing_reference=timing_reference, corrections=found)

    def predict(self, seen: Observables) -> dict[str, Values]:
        """Return energy [MeV] (N, 1), timing [ns] (N, 1) and uvwFI [cm] (N, 3), if calibrated.

        An event without a good fit has the calibrated mean of the window as its position, and its
        energy and time are corrected for a place there. NaN is left where there is no light on the
        inner face; in the time, where no sensor has 50 photo-electrons.
        """
        predicted: dict[str, Values] = {}
        if "energy" in self.corrections:
            ln_energy = _ln_light(seen) + self.corrections["energy"](_energy_terms(seen))
            predicted["energy"] = np.exp(ln_energy)[:, None]
        if "timing" in self.corrections:
            lag = self.corrections["timing"](_point_terms(seen))
            predicted["timing"] = (_start_ns(seen, self.timing_reference) + lag)[:, None]
        if "u" in self.corrections:
            from_fit, from_window = self.fitted_position(seen), self.window_position(seen)
            predicted["uvwFI"] = np.where(seen.is_fitted[:, None], from_fit, from_window)
        return predicted

    def fitted_position(self, seen: Observables) -> Values:
        """Return the calibrated position of the fit [cm], NaN without a good one, shape (N, 3)."""
        terms = _fit_terms(seen)
        columns = [_fitted(seen, name) + self.corrections[name](terms) for name in "uvw"]
        return np.stack(columns, axis=1)

    def window_position(self, seen: Observables) -> Values:
        """Return the calibrated position of the window's mean [cm], shape (N, 3)."""
        terms = _window_terms(seen)
        columns = [
            _window_mean(seen, name) + self.corrections[f"{name}_unfitted"](terms) for name in "uvw"
        ]
        return np.stack(columns, axis=1)

    def record(self) -> dict[str, Any]:
        """Return the constants for JSON."""
        polynomials = {name: value.record() for name, value in self.corrections.items()}
        return {"timing_reference": self.timing_reference, "corrections": polynomials}

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> "Conventional":
        """Return the estimators of a `record`."""
        corrections = {
            name: Polynomial.from_record(value) for name, value in record["corrections"].items()
        }
        return cls(timing_reference=record["timing_reference"], corrections=corrections)


def _fitted(seen: Observables, name: str) -> Values:
    """Return u, v or w of the fit, NaN without a good one."""
    return np.where(seen.is_fitted, seen.point_cm[:, "uvw".index(name)], np.nan)


def _window_mean(seen: Observables, name: str) -> Values:
    """Return u or v of the window's mean; 0 for w, of which the window has no mean."""
    return np.zeros(len(seen)) if name == "w" else seen.mean_uv_cm[:, "uv".index(name)]


def _fit_terms(seen: Observables) -> Values:
    """Return what tells how far the fitted point is from the first interaction, shape (N, 10)."""
    u, v, w = (_fitted(seen, name) for name in "uvw")
    difference = np.stack([u, v], axis=1) - seen.mean_uv_cm
    ln_chi2 = np.log(np.where(seen.chi2_per_ndf > 0, seen.chi2_per_ndf, np.nan))
    compactness = np.column_stack([ln_chi2, seen.ln_shares, seen.offset_uv_cm])
    return np.column_stack([difference, np.log(w), u, v, compactness])


def _window_terms(seen: Observables) -> Values:
    """Return what tells how far the window's mean is from it, shape (N, 7)."""
    return np.column_stack([seen.offset_uv_cm, seen.ln_shares, seen.ln_width, seen.mean_uv_cm])


def _ln_light(seen: Observables) -> Values:
    return _ln_photons(np.nansum(seen.face_photons, axis=1))


def _point_terms(seen: Observables) -> Values:
    """Return the place of the light and its amount, shape (N, 4)."""
    u, v, w = seen.point_cm.T
    return np.column_stack([np.log(w), u, v, _ln_light(seen)])


def _energy_terms(seen: Observables) -> Values:
    """Return the place, the amount, and what kinds of faces hold of it, shape (N, 8)."""
    faces = np.nan_to_num(seen.face_photons, nan=0.0)
    kinds = [
        faces[:, Face.INNER],
        faces[:, Face.OUTER],
        faces[:, Face.US] + faces[:, Face.DS],
        faces[:, Face.TOP] + faces[:, Face.BOTTOM],
    ]
    shares = [_ln_photons(kind) - _ln_light(seen) for kind in kinds]
    return np.column_stack([_point_terms(seen), *shares])


def _ln_photons(photons: Values) -> Values:
    """Return the logarithm; noise around 0 counts as one photon."""
    return np.log(np.maximum(photons, 1.0))


def _start_ns(seen: Observables, timing_reference: TimingReference) -> Values:
    """Return the time of the light, less the way from the target's centre if emission is meant."""
    if timing_reference == "interaction":
        return seen.light_time_ns
    way_cm = np.linalg.norm(uvw_to_xyz(seen.point_cm), axis=1)
    start: Values = seen.light_time_ns - way_cm / SPEED_OF_LIGHT_CM_PER_NS
    return start
