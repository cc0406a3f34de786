"""Fit of the calorimeter's energy resolution, sigma/E = sqrt(a^2/E + b^2 + c^2/E^2), E in MeV."""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import nnls

from xec_pipeline.evaluation.profiles import Profile
from xec_pipeline.evaluation.resolution import Values

MIN_POINTS: Final = 4
_N_PARAMETERS: Final = 3
_N_REWEIGHTINGS: Final = 20


@dataclass(frozen=True, kw_only=True)
class EnergyFit:
    """Fitted terms of the energy resolution; NaN with a note where there is no fit.

    A term that the data push to its bound 0 has value 0; its error is then the value it would have
    one standard deviation above the bound.
    """

    a: float = math.nan
    """Stochastic term [sqrt(MeV)]."""
    b: float = math.nan
    """Constant term."""
    c: float = math.nan
    """Noise term [MeV]."""
    a_error: float = math.nan
    b_error: float = math.nan
    c_error: float = math.nan
    chi2: float = math.nan
    ndf: int = 0
    """Points minus three, also when a term is at its bound."""
    at_bound: tuple[str, ...] = ()
    """Terms at 0."""
    note: str = ""
    """Why there is no fit, or empty."""

    @property
    def is_valid(self) -> bool:
        """True if the fit was done."""
        return not self.note

    def relative_width(self, energy_mev: ArrayLike) -> Values:
        """Return the fitted sigma/E at energies in MeV."""
        energy = np.asarray(energy_mev, dtype=np.float64)
        return _model(energy, np.array([self.a, self.b, self.c]) ** 2)

    def label(self) -> str:
        """Return the terms in percent with uncertainties, and how well they fit."""
        if not self.is_valid:
            return f"no fit: {self.note}"
        terms = (
            f"a = {_percent(self.a, self.a_error, at_bound='a' in self.at_bound)}/√E",
            f"b = {_percent(self.b, self.b_error, at_bound='b' in self.at_bound)}",
            f"c = {_percent(self.c, self.c_error, at_bound='c' in self.at_bound)}/E",
        )
        quality = f"χ²/ndf = {self.chi2:.1f}/{self.ndf}   (E in MeV)"
        return "\n".join((*terms, quality))

    def terms(self) -> str:
        """Return the terms in percent, E in MeV, for a title; empty if there is no fit."""
        if not self.is_valid:
            return ""
        a, b, c = (f"{100 * value:.2f}%" for value in (self.a, self.b, self.c))
        return f"a={a}/√E, b={b}, c={c}/E"

    def numbers(self) -> dict[str, Any]:
        """Return the fit as a dictionary; units stand in the names."""
        return {
            "formula": "sigma/E = sqrt(a^2/E + b^2 + c^2/E^2), E in MeV",
            "a_sqrt_mev": self.a,
            "a_error": self.a_error,
            "b": self.b,
            "b_error": self.b_error,
            "c_mev": self.c,
            "c_error": self.c_error,
            "chi2": self.chi2,
            "ndf": self.ndf,
            "at_bound": list(self.at_bound),
            "note": self.note,
        }


def fit_energy_resolution(profile: Profile) -> EnergyFit:
    """Fit the three terms to a profile of sigma/E (a fraction) in bins of the energy [MeV].

    Parameters
    ----------
    profile
        Points without a positive width, uncertainty or energy are not used.

    Notes
    -----
    In (sigma/E)^2 the model is linear in a^2, b^2, c^2 >= 0, so weighted non-negative least squares
    finds the one minimum without start values. The weights, from the uncertainty of each point, are
    repeated with the fitted instead of the measured width until they settle. chi2 is that of
    sigma/E. Uncertainties: inverse normal matrix of the three squares, also of one at its bound.
    """
    is_used = profile.is_drawn & (profile.error > 0) & (profile.value > 0) & (profile.x > 0)
    energy, width, error = profile.x[is_used], profile.value[is_used], profile.error[is_used]
    if len(energy) < MIN_POINTS:
        return EnergyFit(note=f"{len(energy)} of {MIN_POINTS} points needed")
    design = np.stack([1 / energy, np.ones_like(energy), 1 / energy**2], axis=1)
    squares, weight = np.zeros(_N_PARAMETERS), 1 / (2 * width * error)
    for _ in range(_N_REWEIGHTINGS):
        squares, _ = nnls(design * weight[:, None], width**2 * weight)
        weight = 1 / (2 * np.maximum(_model(energy, squares), 0.1 * width) * error)
    values, errors = _terms(design * weight[:, None], squares)
    pull = (width - _model(energy, squares)) / error
    return EnergyFit(
        a=values[0],
        b=values[1],
        c=values[2],
        a_error=errors[0],
        b_error=errors[1],
        c_error=errors[2],
        chi2=float((pull**2).sum()),
        ndf=len(energy) - _N_PARAMETERS,
        at_bound=tuple(name for name, value in zip("abc", values, strict=True) if value == 0),
    )


def _terms(weighted: Values, squares: Values) -> tuple[list[float], list[float]]:
    """Return the terms and their uncertainties from the fitted squares."""
    # The three columns differ by orders of magnitude; scaled, their matrix can be inverted.
    scale = np.linalg.norm(weighted, axis=0)
    covariance = np.linalg.pinv((weighted / scale).T @ (weighted / scale))
    deviations = np.sqrt(np.maximum(np.diag(covariance), 0.0)) / scale
    # The step from the square upward by one deviation; also right for a term at 0.
    values = np.sqrt(squares)
    errors = np.sqrt(squares + deviations) - values
    return values.tolist(), errors.tolist()


def _model(energy_mev: Values, squares: Values) -> Values:
    width: Values = np.sqrt(squares[0] / energy_mev + squares[1] + squares[2] / energy_mev**2)
    return width


def _percent(value: float, error: float, *, at_bound: bool) -> str:
    if at_bound:
        return f"0 (+{100 * error:.2f}, 1 σ)%"
    return f"({100 * value:.2f}±{100 * error:.2f})%"
