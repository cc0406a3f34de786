"""The page of bias, width and tails at the signal energy."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.evaluation.beside import CONVENTIONAL
from xec_pipeline.evaluation.plots.histogram_panel import HistogramPanel, residual_range
from xec_pipeline.evaluation.plots.pages import Page
from xec_pipeline.evaluation.plots.panels import NotePanel
from xec_pipeline.evaluation.plots.standard import Residual, has_truth, missing_truth
from xec_pipeline.evaluation.plots.style import GREY, RED
from xec_pipeline.evaluation.plots.table_panel import TablePanel
from xec_pipeline.evaluation.residuals import SIGNAL_WINDOW_MEV, is_in_signal_window
from xec_pipeline.evaluation.resolution import Estimate
from xec_pipeline.evaluation.shape import (
    GAUSSIAN_FWHM,
    GAUSSIAN_TAIL,
    TAIL_SIGMAS,
    Shape,
    shape_of,
)
from xec_pipeline.evaluation.tables import PredictionTable
from xec_pipeline.evaluation.text import with_error
from xec_pipeline.units import SIGNAL_ENERGY_MEV

_NOTES: Final = (
    "Core: Gaussian fitted within ±2 half widths of the median; tails are counted from its mean.\n"
    "FWHM: of a kernel density, not of the fit. Tails are parts of the events.\n"
    "± is one standard deviation: of the mean; by order statistics (median, half width);\n"
    "of the fit; by bootstrap (FWHM); binomial, with the limit's own (tails)."
)


def signal_page(
    table: PredictionTable, residuals: Sequence[Residual], *, linear: bool = False
) -> Page:
    """Return distributions and a table of all estimates for events in the signal window.

    Parameters
    ----------
    table
        Usable events of one task.
    residuals
        Residuals of all of them. One in MeV is given relative to the signal energy too.
    linear
        Draw each distribution with a linear axis beside the logarithmic one.
    """
    low, high = SIGNAL_WINDOW_MEV
    title = f"Signal window: {low:g} ≤ true E ≤ {high:g} MeV (signal {SIGNAL_ENERGY_MEV:g} MeV)"
    if not has_truth(table, "energy"):
        return Page(title=title, rows=((missing_truth("E"),),))
    inside = is_in_signal_window(table)
    if not inside.any():
        note = NotePanel(key="signal_window", text="no event with a true energy in the window")
        return Page(title=title, rows=((note,),))
    selected = [_selected(one, inside) for one in residuals]
    shapes = [shape_of(one.values, one.symbol, one.unit) for one in selected]
    drawn = [
        _histogram(one, shape, log_y=log_y)
        for one, shape in zip(selected, shapes, strict=True)
        for log_y in ((False, True) if linear else (True,))
    ]
    return Page(title=title, rows=(tuple(drawn),), wide=_table(selected, shapes, int(inside.sum())))


def _selected(residual: Residual, inside: NDArray[np.bool_]) -> Residual:
    beside = residual.conventional
    return replace(
        residual,
        values=residual.values[inside],
        conventional=None if beside is None else beside[inside],
        sigma=None,
    )


def _histogram(residual: Residual, shape: Shape, *, log_y: bool) -> HistogramPanel:
    low, high = residual_range(residual.values, half_widths=8 if log_y else 5)
    core = shape.core
    marks: tuple[tuple[float, str], ...] = ((0.0, GREY),)
    if not core.note:
        reach = TAIL_SIGMAS * core.sigma.value
        marks += ((core.mean.value - reach, RED), (core.mean.value + reach, RED))
    return HistogramPanel(
        key=f"signal_{residual.name}" + ("" if log_y else "_linear"),
        title=f"{residual.symbol} in the signal window (red: ±{TAIL_SIGMAS:g} core σ)",
        x_label=f"predicted - true {residual.symbol} [{residual.unit}]",
        values=residual.values,
        low=low,
        high=high,
        unit=residual.unit,
        lines=(
            ("median", shape.median),
            ("68 % half width", shape.half_width),
            ("FWHM", shape.fwhm),
        ),
        marks=marks,
        core=core,
        log_y=log_y,
    )


def _table(residuals: Sequence[Residual], shapes: Sequence[Shape], n_events: int) -> TablePanel:
    columns = [*shapes, *(_relative(one, one.symbol) for one in residuals if one.unit == "MeV")]
    for one in residuals:
        if one.conventional is not None and np.isfinite(one.conventional).any():
            beside = replace(one, values=one.conventional)
            name = f"{CONVENTIONAL}\n{one.symbol}"
            columns.append(shape_of(beside.values, name, one.unit))
            columns += [_relative(beside, name)] if one.unit == "MeV" else []
    content: dict[str, Any] = {
        "window_mev": list(SIGNAL_WINDOW_MEV),
        "signal_energy_mev": SIGNAL_ENERGY_MEV,
        "n": n_events,
    }
    headings = [f"{one.name} [{one.unit}]" for one in columns]
    named = zip(headings, columns, strict=True)
    content |= {heading.replace("\n", " "): one.numbers() for heading, one in named}
    return TablePanel(
        key="signal_window",
        title="",
        columns=tuple(headings),
        rows=_rows(columns),
        notes=(*_NOTES.splitlines(), *_fit_notes(columns)),
        content=content,
    )


def _relative(residual: Residual, name: str) -> Shape:
    return shape_of(100 * residual.values / SIGNAL_ENERGY_MEV, name, f"% of {SIGNAL_ENERGY_MEV:g}")


def _rows(columns: Sequence[Shape]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    lines = {
        "N": [f"{one.mean.n}" for one in columns],
        "mean residual": [_cell(one.mean) for one in columns],
        "median residual": [_cell(one.median) for one in columns],
        "68 % half width": [_cell(one.half_width) for one in columns],
        "Gaussian core σ": [_cell(one.core.sigma) for one in columns],
        "χ²/ndf of the core fit": [_quality(one) for one in columns],
        "FWHM": [_cell(one.fwhm) for one in columns],
        f"FWHM / {GAUSSIAN_FWHM:.3f}": [_cell(one.fwhm, 1 / GAUSSIAN_FWHM) for one in columns],
        f"below -{TAIL_SIGMAS:g} core σ [%]": [_cell(one.low_tail, 100) for one in columns],
        f"above +{TAIL_SIGMAS:g} core σ [%]": [_cell(one.high_tail, 100) for one in columns],
        "each side of a Gaussian [%]": [f"{100 * GAUSSIAN_TAIL:.3f}"] * len(columns),
    }
    return tuple((label, tuple(cells)) for label, cells in lines.items())


def _cell(estimate: Estimate, factor: float = 1.0) -> str:
    return with_error(estimate.value * factor, estimate.error * factor)


def _quality(shape: Shape) -> str:
    return "no fit" if shape.core.note else f"{shape.core.chi2:.1f}/{shape.core.ndf}"


def _fit_notes(columns: Sequence[Shape]) -> tuple[str, ...]:
    notes = sorted({one.core.note for one in columns if one.core.note})
    return tuple(f"no core fit and no tails: {note}" for note in notes)
