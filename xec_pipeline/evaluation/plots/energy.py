"""Figures of the energy resolution."""

from dataclasses import replace
from functools import partial

import numpy as np

from xec_pipeline.evaluation.fits import fit_energy_resolution
from xec_pipeline.evaluation.plots.calibration import calibration_pages
from xec_pipeline.evaluation.plots.choice import DEFAULT, Choice
from xec_pipeline.evaluation.plots.pages import Page, note_page
from xec_pipeline.evaluation.plots.panels import NotePanel, Panel
from xec_pipeline.evaluation.plots.profile_panel import BinnedValues, ProfilePanel, Series
from xec_pipeline.evaluation.plots.signal_window import signal_page
from xec_pipeline.evaluation.plots.standard import (
    AXES,
    POSITION,
    Residual,
    beside_conventional,
    bias_panel,
    edges_of,
    has_truth,
    missing_truth,
    residual_histogram,
    residual_of,
    scatter_panel,
    width_panel,
)
from xec_pipeline.evaluation.profiles import Profile, binned_profile, in_bins
from xec_pipeline.evaluation.residuals import (
    SIGNAL_WINDOW_MEV,
    column,
    in_signal_window,
    residual,
)
from xec_pipeline.evaluation.resolution import Values
from xec_pipeline.evaluation.tables import PredictionTable


def pages(table: PredictionTable, choice: Choice = DEFAULT) -> list[Page]:
    """Return the pages for a table of usable events in internal units."""
    title = "Energy resolution"
    if not len(table):
        return [note_page(title, "no event with finite truth and prediction")]
    difference = residual_of(
        table, partial(residual, quantity="energy"), name="energy", symbol="E", unit="MeV"
    )
    first = (
        residual_histogram(difference),
        width_panel(table, difference, "energy", choice),
        relative_panel(table, choice),
        scatter_panel(table, "energy", choice),
    )
    bias = bias_panel(table, difference, "energy", choice)
    common = [
        signal_page(table, [difference], linear=True),
        *calibration_pages([difference], choice),
    ]
    if not has_truth(table, *POSITION):
        return [Page(title=title, rows=(first, (bias, missing_truth("u, v, w")))), *common]
    second = tuple(width_panel(table, difference, name, choice) for name in POSITION)
    return [
        Page(title=title, rows=(first, (*second, bias))),
        _position_page(table, difference, choice),
        *common,
    ]


def relative_panel(table: PredictionTable, choice: Choice) -> ProfilePanel:
    """Return sigma/E against E with the fit of stochastic, constant and noise term."""
    energy = column(table, "true_energy")
    ratio = residual_of(table, _relative, name="relative", symbol="E", unit="")
    edges = edges_of(energy, choice)
    profile = binned_profile(energy, ratio.values, choice.width, edges=edges)
    own = Series(profile=profile, colour=AXES["energy"].colour)
    drawn = beside_conventional(own, energy, ratio, choice.width)
    fit = fit_energy_resolution(profile)
    return ProfilePanel(
        key="relative_resolution_vs_energy",
        title="Relative resolution vs true E",
        subtitle=fit.terms(),
        x_label=AXES["energy"].label,
        y_label=f"{choice.width_name} of E / true E [%]",
        series=tuple(replace(one, profile=_percent(one.profile)) for one in drawn),
        curve=(lambda e: 100 * fit.relative_width(e)) if fit.is_valid else None,
        comment=fit.label(),
        fit=fit.numbers(),
        binned=BinnedValues(
            values=tuple(in_bins(energy, 100 * ratio.values, edges)),
            label="(predicted - true E) / true E [%]",
            unit="%",
        ),
    )


def _position_page(table: PredictionTable, difference: Residual, choice: Choice) -> Page:
    biases = tuple(bias_panel(table, difference, name, choice) for name in POSITION)
    return Page(
        title="Energy: signal window, and bias against position",
        rows=(*_signal_rows(table, choice), biases),
    )


def _signal_rows(table: PredictionTable, choice: Choice) -> tuple[tuple[Panel, ...], ...]:
    low, high = SIGNAL_WINDOW_MEV
    window = in_signal_window(table)
    text = f"{low:g} ≤ E ≤ {high:g} MeV, N = {len(window)}"
    if not len(window):
        return ((NotePanel(key="no_signal_window", text=f"no event in {text}"),),)
    ratio = residual_of(
        window, _relative, name="signal_energy", symbol="relative E", unit="%", scale=100
    )
    widths = tuple(
        replace(
            width_panel(window, ratio, name, choice),
            title=f"Relative resolution vs true {AXES[name].symbol}",
            y_label=f"{choice.width_name} of E / true E [%]",
            comment=text,
        )
        for name in POSITION
    )
    if not choice.is_gaussian:
        return (widths,)
    biases = tuple(bias_panel(window, ratio, name, choice) for name in POSITION)
    return widths, tuple(replace(panel, comment=text) for panel in biases)


def _relative(table: PredictionTable) -> Values:
    energy = column(table, "true_energy")
    ratio: Values = residual(table, "energy") / np.where(energy > 0, energy, np.nan)
    return ratio


def _percent(profile: Profile) -> Profile:
    return replace(profile, value=100 * profile.value, error=100 * profile.error)
