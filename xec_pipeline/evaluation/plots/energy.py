"""Figures of the energy resolution."""

from dataclasses import replace
from functools import partial

import numpy as np

from xec_pipeline.evaluation.fits import fit_energy_resolution
from xec_pipeline.evaluation.plots.pages import Page, note_page
from xec_pipeline.evaluation.plots.panels import NotePanel, Panel
from xec_pipeline.evaluation.plots.profile_panel import ProfilePanel, Series
from xec_pipeline.evaluation.plots.standard import (
    AXES,
    POSITION,
    beside_conventional,
    bias_panel,
    has_truth,
    missing_truth,
    profile_panel,
    residual_histogram,
    residual_of,
    scatter_panel,
    width_panel,
)
from xec_pipeline.evaluation.profiles import Profile, binned_profile
from xec_pipeline.evaluation.residuals import (
    SIGNAL_WINDOW_MEV,
    column,
    in_signal_window,
    residual,
)
from xec_pipeline.evaluation.resolution import Values, half_width_68
from xec_pipeline.evaluation.tables import PredictionTable


def pages(table: PredictionTable) -> list[Page]:
    """Return the pages for a table of usable events in internal units."""
    title = "Energy resolution"
    if not len(table):
        return [note_page(title, "no event with finite truth and prediction")]
    difference = residual_of(
        table, partial(residual, quantity="energy"), name="energy", symbol="E", unit="MeV"
    )
    first = (
        residual_histogram(difference),
        width_panel(table, difference, "energy"),
        relative_panel(table),
        scatter_panel(table, "energy"),
    )
    bias = bias_panel(table, difference, "energy")
    if not has_truth(table, *POSITION):
        return [Page(title=title, rows=(first, (bias, missing_truth("u, v, w"))))]
    second = tuple(width_panel(table, difference, name) for name in POSITION)
    return [
        Page(title=title, rows=(first, (*second, bias))),
        Page(
            title="Energy: signal window, and bias against position",
            rows=(
                _signal_row(table),
                tuple(bias_panel(table, difference, name) for name in POSITION),
            ),
        ),
    ]


def relative_panel(table: PredictionTable) -> ProfilePanel:
    """Return sigma/E against E with the fit of stochastic, constant and noise term."""
    energy = column(table, "true_energy")
    ratio = residual_of(table, _relative, name="energy", symbol="E", unit="")
    profile = binned_profile(energy, ratio.values, half_width_68)
    own = Series(profile=profile, colour=AXES["energy"].colour)
    drawn = beside_conventional(own, energy, ratio, half_width_68)
    fit = fit_energy_resolution(profile)
    return ProfilePanel(
        key="relative_resolution_vs_energy",
        title="Relative resolution vs true E",
        x_label=AXES["energy"].label,
        y_label="68 % half width of E / true E [%]",
        series=tuple(replace(one, profile=_percent(one.profile)) for one in drawn),
        curve=(lambda e: 100 * fit.relative_width(e)) if fit.is_valid else None,
        comment=fit.label(),
        fit=fit.numbers(),
    )


def _signal_row(table: PredictionTable) -> tuple[Panel, ...]:
    low, high = SIGNAL_WINDOW_MEV
    window = in_signal_window(table)
    text = f"{low:g} ≤ E ≤ {high:g} MeV, N = {len(window)}"
    if not len(window):
        return (NotePanel(key="no_signal_window", text=f"no event in {text}"),)
    ratio = residual_of(
        window, lambda events: 100 * _relative(events), name="signal_energy", symbol="E", unit="%"
    )
    return tuple(
        replace(
            profile_panel(window, ratio, name, half_width_68),
            title=f"Relative resolution vs true {AXES[name].symbol}",
            y_label="68 % half width of E / true E [%]",
            comment=text,
        )
        for name in POSITION
    )


def _relative(table: PredictionTable) -> Values:
    energy = column(table, "true_energy")
    ratio: Values = residual(table, "energy") / np.where(energy > 0, energy, np.nan)
    return ratio


def _percent(profile: Profile) -> Profile:
    return replace(profile, value=100 * profile.value, error=100 * profile.error)
