"""Figures of the emission angles."""

from dataclasses import replace
from functools import partial

from xec_pipeline.evaluation.plots.calibration import calibration_pages
from xec_pipeline.evaluation.plots.choice import DEFAULT, Choice
from xec_pipeline.evaluation.plots.histogram_panel import HistogramPanel, residual_range
from xec_pipeline.evaluation.plots.pages import Page, note_page
from xec_pipeline.evaluation.plots.panels import Panel, SummaryPanel
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
from xec_pipeline.evaluation.plots.style import RED
from xec_pipeline.evaluation.residuals import opening_angle, residual
from xec_pipeline.evaluation.resolution import (
    containment_68,
    half_width_68,
    mean_bias,
    median_bias,
)
from xec_pipeline.evaluation.tables import PredictionTable


def pages(table: PredictionTable, choice: Choice = DEFAULT) -> list[Page]:
    """Return the pages for a table of usable events in internal units."""
    title = "Angle resolution"
    if not len(table):
        return [note_page(title, "no event with finite truth and prediction")]
    theta, phi = (
        residual_of(
            table, partial(residual, quantity=name), name=name, symbol=AXES[name].symbol, unit="deg"
        )
        for name in ("theta", "phi")
    )
    opening = residual_of(table, opening_angle, name="psi", symbol="opening angle", unit="deg")
    return [
        _residual_page(table, theta, phi, opening, choice),
        Page(
            title="Angle resolution vs own truth axes",
            rows=tuple(
                (
                    width_panel(table, own, own.name, choice),
                    _opening_panel(table, opening, own.name, choice),
                    _mean_opening_panel(table, opening, own.name, choice),
                )
                for own in (theta, phi)
            ),
        ),
        _bias_page(table, theta, phi, choice),
        _cross_page(table, theta, opening, choice),
        *calibration_pages([theta, phi], choice),
    ]


def _residual_page(
    table: PredictionTable, theta: Residual, phi: Residual, opening: Residual, choice: Choice
) -> Page:
    lines = [
        (f"{kind} {one.symbol}", estimator(one.values), "deg")
        for one in (theta, phi)
        for kind, estimator in (
            ("mean residual", mean_bias),
            ("median residual", median_bias),
            ("68 % half width", half_width_68),
        )
    ]
    lines += [
        ("68 % opening angle", containment_68(opening.values), "deg"),
        ("mean opening angle", mean_bias(opening.values), "deg"),
    ]
    return Page(
        title="Angle residuals",
        rows=(
            (residual_histogram(theta), residual_histogram(phi), _opening_histogram(opening)),
            (
                scatter_panel(table, "theta", choice),
                scatter_panel(table, "phi", choice),
                SummaryPanel(key="overall", title="All events", lines=tuple(lines)),
            ),
        ),
    )


def _opening_histogram(opening: Residual) -> HistogramPanel:
    _, high = residual_range(opening.values)
    radius = containment_68(opening.values)
    return HistogramPanel(
        key="opening_angle",
        title="Opening angle (dashed: 68 % of the events)",
        x_label="angle between predicted and true direction [deg]",
        values=opening.values,
        low=0.0,
        high=max(high, 1e-6),
        unit="deg",
        lines=(("68 % of events within", radius), ("mean", mean_bias(opening.values))),
        marks=((radius.value, RED),),
    )


def _opening_panel(table: PredictionTable, opening: Residual, axis: str, choice: Choice) -> Panel:
    return replace(
        profile_panel(table, opening, axis, containment_68, choice),
        title=f"Opening angle vs true {AXES[axis].symbol}",
        y_label="68 % opening angle [deg]",
    )


def _mean_opening_panel(
    table: PredictionTable, opening: Residual, axis: str, choice: Choice
) -> Panel:
    return replace(
        profile_panel(table, opening, axis, mean_bias, choice),
        key=f"mean_psi_vs_{axis}",
        title=f"Mean opening angle vs true {AXES[axis].symbol}",
        y_label="mean opening angle [deg]",
        binned=None,
    )


def _bias_page(table: PredictionTable, theta: Residual, phi: Residual, choice: Choice) -> Page:
    axes = ["theta", "phi", *(["energy"] if has_truth(table, "energy") else [])]
    rows: list[list[Panel]] = [
        [bias_panel(table, one, axis, choice) for axis in axes] for one in (theta, phi)
    ]
    if len(axes) == 2:
        rows[0].append(missing_truth("E"))
    return Page(title="Angle bias", rows=tuple(tuple(row) for row in rows))


def _cross_page(table: PredictionTable, theta: Residual, opening: Residual, choice: Choice) -> Page:
    title = "Angle resolution vs energy and position"
    known = [axis for axis in ("energy", *POSITION) if has_truth(table, axis)]
    if not known:
        return Page(title=title, rows=((missing_truth("E, u, v, w"),),))
    return Page(
        title=title,
        rows=(
            tuple(width_panel(table, theta, axis, choice) for axis in known),
            tuple(_opening_panel(table, opening, axis, choice) for axis in known),
        ),
    )
