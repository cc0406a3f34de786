"""Figures of the time resolution: residuals in ps against absolute times in ns."""

from functools import partial

from xec_pipeline.evaluation.plots.calibration import calibration_pages
from xec_pipeline.evaluation.plots.choice import DEFAULT, Choice
from xec_pipeline.evaluation.plots.pages import Page, note_page
from xec_pipeline.evaluation.plots.panels import Panel
from xec_pipeline.evaluation.plots.signal_window import signal_page
from xec_pipeline.evaluation.plots.standard import (
    POSITION,
    Residual,
    bias_panel,
    has_truth,
    missing_truth,
    residual_histogram,
    residual_of,
    scatter_panel,
    width_panel,
)
from xec_pipeline.evaluation.residuals import residual
from xec_pipeline.evaluation.tables import PredictionTable
from xec_pipeline.units import PS_PER_NS


def pages(table: PredictionTable, choice: Choice = DEFAULT) -> list[Page]:
    """Return the pages for a table of usable events in internal units."""
    title = "Time resolution"
    if not len(table):
        return [note_page(title, "no event with finite truth and prediction")]
    difference = residual_of(
        table,
        partial(residual, quantity="timing"),
        name="timing",
        symbol="t",
        unit="ps",
        scale=PS_PER_NS,
    )
    first = (
        residual_histogram(difference),
        width_panel(table, difference, "timing", choice),
        scatter_panel(table, "timing", choice),
    )
    bias = bias_panel(table, difference, "timing", choice)
    by_energy: tuple[Panel, ...] = (missing_truth("E"),)
    if has_truth(table, "energy"):
        by_energy = (
            width_panel(table, difference, "energy", choice),
            bias_panel(table, difference, "energy", choice),
        )
    return [
        Page(title=title, rows=(first, (bias, *by_energy))),
        _position_page(table, difference, choice),
        signal_page(table, [difference], linear=True),
        *calibration_pages([difference], choice),
    ]


def _position_page(table: PredictionTable, difference: Residual, choice: Choice) -> Page:
    if not has_truth(table, *POSITION):
        return Page(title="Time vs position", rows=((missing_truth("u, v, w"),),))
    rows = tuple(
        tuple(panel(table, difference, name, choice) for name in POSITION)
        for panel in (width_panel, bias_panel)
    )
    return Page(title="Time resolution and bias vs position", rows=rows)
