"""One net of the detector on matplotlib axes: sensors in colours, dead ones hatched, crosses."""

import textwrap
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.path import Path
from numpy.typing import NDArray

from xec_pipeline.detector.faces import OUTER_CENTER_ROWS, Face
from xec_pipeline.detector.sensors import N_SENSORS
from xec_pipeline.evaluation.display.net import (
    FACE_TITLES,
    Box,
    box_of_sensors,
    face_box,
    is_pmt,
    net_box,
    on_face,
    polygons,
)
from xec_pipeline.evaluation.display.scales import NO_VALUE, Colours, Scale, Values
from xec_pipeline.evaluation.plots.style import GREY

Bools = NDArray[np.bool_]

TRUTH: Final = "#ffffff"
PREDICTED: Final = "#ff8787"
MASKED: Final = "#f783ac"
_DARK: Final = "#212529"
_DEAD_EDGE: Final = "#868e96"
_HATCH: Final = "////////"
_MARGIN_CM: Final = 2.0
"""A point this far beyond a face is still marked on it."""
_FONT_PER_INCH: Final = 0.9
"""Size of the text of a net [points] per inch of its width."""
_NOTE_LETTERS: Final = 80
"""Letters of a line beside the colours, so that it ends within the net."""


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A point of the xenon, drawn as a cross on every face onto which it projects."""

    label: str
    uvw_cm: tuple[float, float, float]
    colour: str
    marker: str

    @property
    def is_known(self) -> bool:
        """All three coordinates are finite."""
        return bool(np.isfinite(self.uvw_cm).all())


def _nowhere() -> Bools:
    return np.zeros(N_SENSORS, dtype=bool)


@dataclass(frozen=True, kw_only=True)
class NetContent:
    """What one net shows; arrays have shape (4760,).

    Attributes
    ----------
    title
        What is drawn.
    values
        NaN is a sensor without a value, drawn grey.
    is_dead
        Dead sensors, drawn hatched whatever their value.
    scale
        Colours; None for no colour bar, and no values.
    is_masked
        Sensors drawn in the colour of a mask instead of their value.
    is_framed
        Sensors with a dark frame.
    frame_meaning, no_value
        What a frame and a grey sensor mean, for the legend.
    marks
        Points to draw.
    note
        Further lines below the colour bar.
    """

    title: str
    values: Values
    is_dead: Bools
    scale: Scale | None
    is_masked: Bools = field(default_factory=_nowhere)
    is_framed: Bools = field(default_factory=_nowhere)
    frame_meaning: str = "masked"
    no_value: str = "no value"
    marks: tuple[Mark, ...] = ()
    note: str = ""

    def colours(self) -> Colours:
        """Return RGBA of every sensor (4760, 4); a dead one is white below its hatching."""
        if self.scale is None:
            rgba = np.tile(to_rgba(NO_VALUE), (N_SENSORS, 1))
        else:
            rgba = self.scale.colours(self.values)
        rgba[self.is_masked] = to_rgba(MASKED)
        rgba[self.is_dead] = to_rgba("white")
        return rgba


def draw_net(ax: Axes, content: NetContent) -> None:
    """Draw the net with its title, colour bar, legend and orientation."""
    box = net_box()
    ax.set_xlim(box.left, box.right)
    ax.set_ylim(box.bottom, box.top)
    ax.set_aspect("equal")
    ax.set_axis_off()
    size = _font_size(ax)
    _draw_sensors(ax, content)
    _draw_faces(ax, size)
    for mark in content.marks:
        if mark.is_known:
            _draw_mark(ax, mark, size)
    _draw_head(ax, content, size)
    _draw_legend(ax, content, size)
    _draw_orientation(ax, size)


def _font_size(ax: Axes) -> float:
    """Return the size of the text [points], which follows the size of the net."""
    width = ax.figure.get_figwidth() * ax.get_position().width  # type: ignore[union-attr]
    return float(np.clip(_FONT_PER_INCH * width, 4.5, 9.0))


def _draw_sensors(ax: Axes, content: NetContent) -> None:
    colours = content.colours()
    for ids in _of_equal_shape(~content.is_dead):
        is_large = bool(is_pmt()[ids[0]])
        ax.add_collection(
            coloured_sensors(
                ids, colours[ids], "white" if is_large else "face", 0.4 if is_large else 0.15
            )
        )
    _outline(ax, np.flatnonzero(content.is_dead), _DEAD_EDGE, 0.3, hatch=_HATCH)
    _outline(ax, np.flatnonzero(content.is_framed), _DARK, 0.5)


def coloured_sensors(
    ids: NDArray[np.intp], colours: Colours, edge: str, width: float
) -> PathCollection:
    """Return sensors of equal shape in their colours (N, 4), one path for each colour.

    A path for each of 4760 sensors would take a second to draw.
    """
    different, group = np.unique(colours, axis=0, return_inverse=True)
    corners = np.stack([polygons()[sensor] for sensor in ids])
    order = np.argsort(group.ravel(), kind="stable")
    parts = np.split(corners[order], np.cumsum(np.bincount(group.ravel()))[:-1])
    return PathCollection(
        [Path.make_compound_path_from_polys(part) for part in parts],
        facecolors=different,
        edgecolors=edge,
        linewidths=width,
    )


def _of_equal_shape(drawn: Bools) -> list[NDArray[np.intp]]:
    """Return the drawn SiPMs, the other rectangles and the hexagons, without empty groups."""
    is_hex = np.array([len(corners) == 6 for corners in polygons()])
    groups = (~is_pmt(), is_pmt() & ~is_hex, is_hex)
    found = [np.flatnonzero(drawn & group) for group in groups]
    return [ids for ids in found if len(ids)]


def _outline(
    ax: Axes, ids: NDArray[np.intp], colour: str, width: float, hatch: str | None = None
) -> None:
    if not len(ids):
        return
    ax.add_collection(
        PolyCollection(
            [polygons()[i] for i in ids],
            facecolors="none" if hatch is None else "white",
            edgecolors=colour,
            linewidths=width,
            hatch=hatch,
        )
    )


def _draw_faces(ax: Axes, size: float) -> None:
    for face in Face:
        box = face_box(face)
        if face not in {Face.TOP, Face.BOTTOM}:
            _draw_box(ax, box, GREY, "-")
        x = (box.left + box.right) / 2
        ax.text(
            x, box.top + 1.2, FACE_TITLES[face], ha="center", va="bottom", fontsize=size,
            fontweight="bold",
        )  # fmt: skip
    dense = box_of_sensors([sensor for row in OUTER_CENTER_ROWS for sensor in row])
    _draw_box(ax, dense, _DARK, ":")


def _draw_box(ax: Axes, box: Box, colour: str, style: str) -> None:
    corner, width, height = (box.left, box.bottom), box.right - box.left, box.top - box.bottom
    ax.add_patch(
        Rectangle(corner, width, height, fill=False, edgecolor=colour, linestyle=style, lw=0.6)
    )


def _draw_mark(ax: Axes, mark: Mark, size: float) -> None:
    for face in Face:
        point, box = on_face(face, mark.uvw_cm), face_box(face)
        if box.widened(_MARGIN_CM).holds(point):
            scale = 1.5 if face == Face.INNER else 1.0
            ax.plot(*point, **_marker(mark, scale * size))


def _marker(mark: Mark, size: float) -> dict[str, Any]:
    """Return the style of a cross that is seen on dark and on light."""
    rim = [patheffects.withStroke(linewidth=0.36 * size, foreground=_DARK)]
    return {
        "marker": mark.marker,
        "markersize": size,
        "markeredgewidth": 0.17 * size,
        "color": mark.colour,
        "linestyle": "none",
        "path_effects": rim,
    }


def _draw_head(ax: Axes, content: NetContent, size: float) -> None:
    """Write title, colour bar and notes into the free corner at the upper right."""
    corner = _right_corner()
    ax.text(
        corner.left, corner.top, content.title, ha="left", va="top", fontsize=1.25 * size,
        fontweight="bold",
    )  # fmt: skip
    notes = [content.note] if content.note else []
    if content.scale is not None:
        _draw_bar(ax, content, content.scale, size)
        notes.insert(0, content.scale.note)
    lines = [line for note in notes for line in textwrap.wrap(note, _NOTE_LETTERS)]
    ax.text(
        corner.left, corner.bottom + 15.0, "\n".join(lines), ha="left", va="top",
        fontsize=0.85 * size, color=GREY, linespacing=1.35,
    )  # fmt: skip


def _draw_bar(ax: Axes, content: NetContent, scale: Scale, size: float) -> None:
    corner = _right_corner()
    shown = content.values[~content.is_dead & ~content.is_masked]
    place = (corner.left, corner.top - 15.0, corner.right - corner.left, 4.0)
    inset = ax.inset_axes(place, transform=ax.transData)
    colours = ScalarMappable(norm=scale.norm(), cmap=scale.colour_map)
    bar = ax.figure.colorbar(
        colours, cax=inset, orientation="horizontal", extend=scale.extends(shown)
    )
    bar.set_label(scale.label, fontsize=size, labelpad=1)
    bar.ax.tick_params(labelsize=0.9 * size, pad=1.5)


def _draw_legend(ax: Axes, content: NetContent, size: float) -> None:
    """Explain crosses and colours in the free corner at the lower right."""
    box = face_box(Face.US)
    place = (box.left, box.bottom - 4.0)
    handles: list[Line2D | Patch] = [
        Line2D([], [], label=mark.label, **_marker(mark, 1.2 * size))
        for mark in content.marks
        if mark.is_known
    ]
    n_dead = int(content.is_dead.sum())
    if n_dead:
        label = f"dead sensor ({n_dead})"
        handles.append(
            Patch(facecolor="white", edgecolor=_DEAD_EDGE, hatch=_HATCH, label=label, lw=0.5)
        )
    if n_masked := int((content.is_masked & ~content.is_dead).sum()):
        handles.append(Patch(facecolor=MASKED, label=f"masked sensor ({n_masked})"))
    if n_framed := int(content.is_framed.sum()):
        label = f"{content.frame_meaning} ({n_framed})"
        handles.append(Patch(facecolor="none", edgecolor=_DARK, label=label, lw=0.8))
    grey = ~np.isfinite(content.values) & ~content.is_dead & ~content.is_masked
    if grey.any():
        handles.append(Patch(facecolor=NO_VALUE, label=f"{content.no_value} ({int(grey.sum())})"))
    if handles:
        ax.legend(
            handles=handles, loc="upper left", bbox_to_anchor=place, bbox_transform=ax.transData,
            fontsize=size, handlelength=1.6, borderaxespad=0, labelspacing=0.5,
        )  # fmt: skip


def _draw_orientation(ax: Axes, size: float) -> None:
    """Draw the directions and a scale into the free corner at the upper left."""
    box, top = face_box(Face.DS), net_box().top
    x, y, length = box.left + 27.0, top - 28.0, 14.0
    style = {"arrowstyle": "-|>", "color": GREY, "lw": 0.8, "shrinkA": 0, "shrinkB": 0}
    for dx, dy, text in ((-length, 0.0, "+z"), (0.0, length, "φ")):
        ax.annotate(
            text, xy=(x, y), xytext=(x + dx, y + dy), ha="center", va="center", color=GREY,
            fontsize=size, arrowprops={**style, "arrowstyle": "<|-"},
        )  # fmt: skip
    left, base = box.left + 6.0, y - 9.0
    ax.plot([left, left + 20], [base, base], color=GREY, linewidth=1.4, solid_capstyle="butt")
    ax.text(left + 10, base - 1.0, "20 cm", ha="center", va="top", fontsize=0.85 * size, color=GREY)


def _right_corner() -> Box:
    us, outer, whole = face_box(Face.US), face_box(Face.OUTER), net_box()
    return Box(
        left=us.left + 7.0, right=outer.right - 4.0, bottom=us.top + 7.0, top=whole.top - 1.0
    )
