"""Figures of the time resolution: residuals in ps against absolute times in ns."""

from xec_pipeline.evaluation.plots.pages import Page, note_page
from xec_pipeline.evaluation.plots.panels import Panel
from xec_pipeline.evaluation.plots.standard import (
    POSITION,
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


def pages(table: PredictionTable) -> list[Page]:
    """Return the pages for a table of usable events in internal units."""
    title = "Time resolution"
    if not len(table):
        return [note_page(title, "no event with finite truth and prediction")]
    difference = residual_of(
        table,
        lambda events: residual(events, "timing") * PS_PER_NS,
        name="timing",
        symbol="t",
        unit="ps",
    )
    first = (
        residual_histogram(difference),
        width_panel(table, difference, "timing"),
        scatter_panel(table, "timing"),
    )
    bias = bias_panel(table, difference, "timing")
    by_energy: tuple[Panel, ...] = (missing_truth("E"),)
    if has_truth(table, "energy"):
        by_energy = (
            width_panel(table, difference, "energy"),
            bias_panel(table, difference, "energy"),
        )
    drawn = [Page(title=title, rows=(first, (bias, *by_energy)))]
    if not has_truth(table, *POSITION):
        return [*drawn, Page(title="Time vs position", rows=((missing_truth("u, v, w"),),))]
    rows = tuple(
        tuple(panel(table, difference, name) for name in POSITION)
        for panel in (width_panel, bias_panel)
    )
    return [*drawn, Page(title="Time resolution and bias vs position", rows=rows)]
