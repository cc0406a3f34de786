import dataclasses

import numpy as np
import pytest
from matplotlib import colormaps
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from xec_pipeline.evaluation.display.draw import (
    MASKED,
    TRUTH,
    Mark,
    NetContent,
    coloured_sensors,
    draw_net,
)
from xec_pipeline.evaluation.display.event import DisplayEvent, event_nets, event_page
from xec_pipeline.evaluation.display.net import polygons
from xec_pipeline.evaluation.display.page import draw_display_page, write_display
from xec_pipeline.evaluation.display.scales import photon_scale

NAN = np.float32(np.nan)


def an_event(**changes):
    rng = np.random.default_rng(3)
    npho = rng.exponential(300, 4760).astype("f4")
    npho[[5, 4100, 4600]] = np.nan
    time = rng.uniform(0, 30, 4760).astype("f4")
    time[9] = np.nan
    event = DisplayEvent(
        run=7,
        event=42,
        entry=3,
        npho=npho,
        time_ns=time,
        source="s",
        is_toy=True,
        energy_mev=52.83,
        uvw_cm=(10.0, -20.0, 3.0),
    )
    return dataclasses.replace(event, **changes)


def axes_of(content):
    ax = Figure(figsize=(5, 5)).add_axes((0, 0, 1, 1))
    draw_net(ax, content)
    return ax


def test_every_live_sensor_is_drawn_once_and_dead_ones_are_hatched():
    event = an_event()
    ax = axes_of(event_nets(event, ())["npho"])
    coloured = [item for item in ax.collections if isinstance(item, PathCollection)]
    closed = {4: 5, 6: 7}
    n_vertices = sum(len(np.asarray(p.vertices)) for item in coloured for p in item.get_paths())
    live = np.flatnonzero(~event.is_dead)
    assert n_vertices == sum(closed[len(polygons()[sensor])] for sensor in live)
    (hatched,) = [item for item in ax.collections if isinstance(item, PolyCollection)]
    assert len(hatched.get_paths()) == 3
    assert hatched.get_hatch()


def test_colours_at_known_sensors():
    npho = np.full(4760, 10.0, dtype="f4")
    npho[[0, 1, 2, 3]] = [1000, -4, NAN, 10]
    is_dead = np.isnan(npho)
    is_masked = np.zeros(4760, dtype=bool)
    is_masked[3] = True
    content = NetContent(
        title="t", values=npho, is_dead=is_dead, scale=photon_scale(npho), is_masked=is_masked
    )
    rgba = content.colours()
    np.testing.assert_allclose(rgba[0], colormaps["viridis"](1.0))
    np.testing.assert_allclose(rgba[1], colormaps["viridis"](0.0))
    np.testing.assert_allclose(rgba[2], to_rgba("white"))
    np.testing.assert_allclose(rgba[3], to_rgba(MASKED))


def test_sensors_of_one_colour_share_a_path_and_keep_their_places():
    ids = np.array([10, 11, 20])
    red, blue = to_rgba("red"), to_rgba("blue")
    drawn = coloured_sensors(ids, np.array([red, blue, red]), "face", 0.1)
    by_colour = dict(
        zip(map(tuple, np.asarray(drawn.get_facecolor())), drawn.get_paths(), strict=True)
    )
    assert by_colour[blue].contains_point(polygons()[11].mean(axis=0))
    assert not by_colour[blue].contains_point(polygons()[10].mean(axis=0))
    assert by_colour[red].contains_point(polygons()[10].mean(axis=0))
    assert by_colour[red].contains_point(polygons()[20].mean(axis=0))


def test_times_without_light_or_measurement_are_left_out():
    npho = np.full(4760, 500.0, dtype="f4")
    npho[[0, 1]] = [99.0, 100.0]
    event = an_event(npho=npho)
    times = event_nets(event, ())["time"].values
    assert np.isnan(times[0])
    assert times[1] == event.time_ns[1]
    assert np.isnan(times[9])


def test_a_mark_is_on_all_faces_that_it_projects_onto():
    mark = Mark(label="truth", uvw_cm=(10.0, -20.0, 3.0), colour=TRUTH, marker="+")
    outside = Mark(label="far", uvw_cm=(0.0, 300.0, 3.0), colour=TRUTH, marker="+")
    unknown = Mark(label="no", uvw_cm=(np.nan, 0.0, 0.0), colour=TRUTH, marker="+")
    nothing = axes_of(event_nets(an_event(), ())["npho"])
    for marks, more in (((mark,), 6), ((unknown,), 0), ((outside,), 2)):
        ax = axes_of(event_nets(an_event(), marks)["npho"])
        # Beyond the arc it is still above top and bottom, which show z and radius.
        assert len(ax.lines) - len(nothing.lines) == more
    (legend,) = [ax.get_legend() for ax in [axes_of(event_nets(an_event(), (mark,))["npho"])]]
    assert [text.get_text() for text in legend.get_texts()] == ["truth", "dead sensor (3)"]


def test_title_and_toy_mark_and_units():
    figure = draw_display_page(event_page(an_event(), ("npho",)))
    texts = [text.get_text() for text in figure.texts]
    assert texts[0] == (
        "Run 7  Event 42  |  E_true = 52.83 MeV  |  FI (u, v, w) = (10.00, -20.00, 3.00) cm"
    )
    assert "toy detector" in texts
    labels = [child.get_xlabel() for ax in figure.axes for child in ax.child_axes]
    assert labels == ["photons per sensor"]
    plain = draw_display_page(event_page(an_event(is_toy=False), ("npho",)))
    assert "toy detector" not in [text.get_text() for text in plain.texts]


@pytest.mark.parametrize(
    "changes",
    [
        {"npho": np.full(4760, NAN)},
        {"npho": np.full(4760, -1.0, dtype="f4")},
        {"time_ns": np.full(4760, NAN)},
        {"run": -1, "event": -1, "energy_mev": np.nan, "uvw_cm": (np.nan,) * 3},
    ],
    ids=["all dead", "no light", "no time", "nothing known"],
)
def test_odd_events_are_drawn(changes):
    event = an_event(**changes)
    figure = draw_display_page(event_page(event))
    assert len(figure.axes) == 2
    assert figure.texts[0].get_text().startswith("Entry 3" if event.run < 0 else "Run 7  Event 42")
    for ax in figure.axes:
        n_hatched = sum(len(c.get_paths()) for c in ax.collections if c.get_hatch())
        assert n_hatched == event.is_dead.sum()


def test_equal_pages_give_equal_bytes(tmp_path):
    pages = [event_page(an_event(), ("npho",))]
    first, second = (write_display(pages, tmp_path / name, "t") for name in ("a.pdf", "b.pdf"))
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes().count(b"/Type /Page ") == 1


def test_reconstruction_stands_in_where_there_is_no_truth():
    event = an_event(
        energy_mev=np.nan,
        uvw_cm=(np.nan,) * 3,
        reco_energy_mev=51.0,
        reco_uvw_cm=(1.0, 2.0, 3.0),
    )
    assert "E_reco = 51.00 MeV" in event.title()
    assert [mark.label for mark in event.marks()] == ["reconstruction of the file"]
