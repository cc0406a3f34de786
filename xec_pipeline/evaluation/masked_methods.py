"""The methods that predict masked sensors in words: names for readers, and what each one does."""

from collections.abc import Mapping, Sequence
from typing import Final

MODEL: Final = "model"
"""The network, as a method."""
CONVENTIONAL_NAMES: Final[Mapping[str, str]] = {
    "avg": "neighbour average",
    "sa": "solid angle",
    "localfit": "local fit",
    "knn": "k nearest",
}
"""Short names in files to names for readers, of the methods without a network."""
_DEFINITIONS: Final[Mapping[str, str]] = {
    "avg": (
        "mean of all sensors of the same face within 20 cm, but for dead and masked ones; not "
        "weighted, so a bright spot is mixed with its surroundings"
    ),
    "sa": (
        "light of these same sensors over the solid angle that they cover, seen from a point "
        "fitted to the light, times the solid angle of the masked one; the neighbour average where "
        "they hold at most 50 photons or the fit is not good"
    ),
    "localfit": (
        "light that a point fitted to the 21 x 21 sensors around the brightest place sends to the "
        "masked one; inner face only, nothing where the fit is not good"
    ),
    "knn": ("mean of the 8 nearest of these same sensors, weighted with 1 / distance squared"),
}


def method_name(method: str) -> str:
    """Return what tables and figures call a method; networks of a comparison keep their labels."""
    return "inpainter" if method == MODEL else CONVENTIONAL_NAMES.get(method, method)


def definitions(methods: Sequence[str]) -> str:
    """Return one line on what the conventional ones of some methods do; empty if there are none."""
    found = [f"{method_name(m)}: {_DEFINITIONS[m]}" for m in methods if m in _DEFINITIONS]
    return f"{'. '.join(found)}." if found else ""
