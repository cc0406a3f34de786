"""Figures of the position of the first interaction: residuals in mm against positions in cm."""

from dataclasses import replace
from functools import partial

from xec_pipeline.evaluation.plots.calibration import calibration_pages
from xec_pipeline.evaluation.plots.choice import DEFAULT, Choice
from xec_pipeline.evaluation.plots.histogram_panel import HistogramPanel, residual_range
from xec_pipeline.evaluation.plots.pages import Page, note_page
from xec_pipeline.evaluation.plots.panels import Panel, SummaryPanel
from xec_pipeline.evaluation.plots.profile_panel import ProfilePanel, Series
from xec_pipeline.evaluation.plots.signal_window import signal_page
from xec_pipeline.evaluation.plots.standard import (
    AXES,
    POSITION,
    Residual,
    bias_panel,
    has_truth,
    missing_truth,
    profile_panel,
    residual_histogram,
    residual_of,
    scatter_panel,
    width_panel,
)
from xec_pipeline.evaluation.plots.style import GREEN, GREY, RED
from xec_pipeline.evaluation.residuals import distance, residual
from xec_pipeline.evaluation.resolution import (
    containment_68,
    half_width_68,
    mean_bias,
    median_bias,
    sigma_eff,
)
from xec_pipeline.evaluation.tables import PredictionTable
from xec_pipeline.units import MM_PER_CM


def pages(table: PredictionTable, choice: Choice = DEFAULT) -> list[Page]:
    """Return the pages for a table of usable events in internal units."""
    title = "Position resolution (first interaction point)"
    if not len(table):
        return [note_page(title, "no event with finite truth and prediction")]
    own = _residuals(table)
    radius = residual_of(
        table, distance, name="distance", symbol="distance", unit="mm", scale=MM_PER_CM
    )
    return [
        Page(
            title=title,
            rows=(
                tuple(residual_histogram(one, log_y=True) for one in own),
                tuple(width_panel(table, one, one.name, choice) for one in own),
            ),
        ),
        _distance_page(table, own, radius, choice),
        Page(
            title="Position: bias, and predicted vs true",
            rows=(
                tuple(bias_panel(table, one, one.name, choice) for one in own),
                tuple(scatter_panel(table, name, choice) for name in POSITION),
            ),
        ),
        _energy_page(table, own, choice),
        signal_page(table, own),
        *calibration_pages(own, choice),
    ]


def _residuals(table: PredictionTable) -> tuple[Residual, ...]:
    return tuple(
        residual_of(
            table,
            partial(residual, quantity=name),
            name=name,
            symbol=name,
            unit="mm",
            scale=MM_PER_CM,
        )
        for name in POSITION
    )


def _distance_page(
    table: PredictionTable, own: tuple[Residual, ...], radius: Residual, choice: Choice
) -> Page:
    lines = [
        (f"{kind} {one.symbol}", estimator(one.values), "mm")
        for one in own
        for kind, estimator in (
            ("median residual", median_bias),
            ("68 % half width", half_width_68),
        )
    ]
    lines += [
        ("68 % distance", containment_68(radius.values), "mm"),
        ("median distance", median_bias(radius.values), "mm"),
    ]
    by_energy: Panel = missing_truth("E")
    if has_truth(table, "energy"):
        by_energy = _distance_panel(table, radius, "energy", choice)
    return Page(
        title="Distance between predicted and true position",
        rows=(
            (
                _distance_histogram(radius),
                by_energy,
                SummaryPanel(key="overall", title="All events", lines=tuple(lines)),
            ),
            tuple(_distance_panel(table, radius, name, choice) for name in POSITION),
        ),
    )


def _distance_histogram(radius: Residual) -> HistogramPanel:
    _, high = residual_range(radius.values, half_widths=10)
    contained, shortest = containment_68(radius.values), sigma_eff(radius.values)
    return HistogramPanel(
        key="distance",
        title="Distance (dashed: 68 % of the events)",
        x_label="distance of predicted from true position [mm]",
        values=radius.values,
        low=0.0,
        high=max(high, 1e-6),
        unit="mm",
        lines=(
            ("68 % of events within", contained),
            ("median", median_bias(radius.values)),
            ("mean", mean_bias(radius.values)),
            ("σ_eff", shortest),
        ),
        marks=((contained.value, RED),),
        log_y=True,
    )


def _distance_panel(
    table: PredictionTable, radius: Residual, axis: str, choice: Choice
) -> ProfilePanel:
    panel = profile_panel(table, radius, axis, containment_68, choice)
    shortest = profile_panel(table, replace(radius, conventional=None), axis, sigma_eff, choice)
    own, *beside = panel.series
    return replace(
        panel,
        title=f"Distance vs true {AXES[axis].symbol}",
        y_label="distance [mm]",
        series=(
            replace(own, label="68 % of events", key=""),
            Series(
                profile=shortest.series[0].profile,
                label="σ_eff: shortest 68 % interval / 2",
                colour=GREY if AXES[axis].colour == GREEN else GREEN,
                marker="^",
            ),
            *(replace(one, label=f"{one.label}, 68 %") for one in beside),
        ),
    )


def _energy_page(table: PredictionTable, own: tuple[Residual, ...], choice: Choice) -> Page:
    title = "Position resolution and bias vs energy"
    if not has_truth(table, "energy"):
        return Page(title=title, rows=((missing_truth("E"),),))
    rows = tuple(
        tuple(panel(table, one, "energy", choice) for one in own)
        for panel in (width_panel, bias_panel)
    )
    return Page(title=title, rows=rows)
