"""How the methods that predict masked sensors look in figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from xec_pipeline.evaluation.masked_samples import MODEL
from xec_pipeline.evaluation.plots.style import BLUE, GREEN, ORANGE, PURPLE, RED


@dataclass(frozen=True, kw_only=True)
class Look:
    """Name, colour and marker of one method."""

    label: str
    colour: str
    marker: str
    is_conventional: bool = False


_CONVENTIONAL: Final[Mapping[str, Look]] = {
    "avg": Look(label="neighbour average", colour=ORANGE, marker="s", is_conventional=True),
    "sa": Look(label="solid angle", colour=GREEN, marker="D", is_conventional=True),
    "localfit": Look(label="local fit", colour=RED, marker="^", is_conventional=True),
    "knn": Look(label="k nearest", colour=PURPLE, marker="v", is_conventional=True),
}
_MODEL_COLOURS: Final = (BLUE, "#0b7285", "#e64980", "#5c940d", "#495057", "#f59f00", "#3b2f8f")
_MODEL_MARKERS: Final = ("o", "P", "X", "*", "h", "p", "8")


def looks(methods: Sequence[str]) -> dict[str, Look]:
    """Return the look of each method: fixed for conventional ones, in turn for networks."""
    networks = [method for method in methods if method not in _CONVENTIONAL]
    found = {}
    for i, method in enumerate(networks):
        found[method] = Look(
            label="inpainter" if method == MODEL else method,
            colour=_MODEL_COLOURS[i % len(_MODEL_COLOURS)],
            marker=_MODEL_MARKERS[i % len(_MODEL_MARKERS)],
        )
    return {method: found.get(method) or _CONVENTIONAL[method] for method in methods}
