"""How the methods that predict masked sensors look in figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from xec_pipeline.evaluation.masked_methods import CONVENTIONAL_NAMES, method_name
from xec_pipeline.evaluation.plots.style import BLUE, GREEN, ORANGE, PURPLE, RED


@dataclass(frozen=True, kw_only=True)
class Look:
    """Name, colour and marker of one method."""

    label: str
    colour: str
    marker: str
    is_conventional: bool = False


_CONVENTIONAL: Final[Mapping[str, Look]] = {
    name: Look(label=CONVENTIONAL_NAMES[name], colour=colour, marker=marker, is_conventional=True)
    for name, colour, marker in (
        ("avg", ORANGE, "s"),
        ("sa", GREEN, "D"),
        ("localfit", RED, "^"),
        ("knn", PURPLE, "v"),
    )
}
_MODEL_COLOURS: Final = (BLUE, "#0b7285", "#e64980", "#5c940d", "#495057", "#f59f00", "#3b2f8f")
_MODEL_MARKERS: Final = ("o", "P", "X", "*", "h", "p", "8")


def looks(methods: Sequence[str]) -> dict[str, Look]:
    """Return the look of each method: fixed for conventional ones, in turn for networks."""
    networks = [method for method in methods if method not in _CONVENTIONAL]
    found = {}
    for i, method in enumerate(networks):
        found[method] = Look(
            label=method_name(method),
            colour=_MODEL_COLOURS[i % len(_MODEL_COLOURS)],
            marker=_MODEL_MARKERS[i % len(_MODEL_MARKERS)],
        )
    return {method: found.get(method) or _CONVENTIONAL[method] for method in methods}
