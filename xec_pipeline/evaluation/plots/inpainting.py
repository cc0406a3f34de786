"""Figures of masked sensors: residuals, predicted against true values, comparison of methods."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from xec_pipeline.detector.faces import FACE_NAMES
from xec_pipeline.evaluation.event_bootstrap import N_RESAMPLES
from xec_pipeline.evaluation.masked_metrics import enough
from xec_pipeline.evaluation.masked_rows import Bools
from xec_pipeline.evaluation.masked_samples import MEAN, TRUTH, Sample, face_scopes
from xec_pipeline.evaluation.plots.bar_panel import Bars, GroupedBarPanel, RankingPanel
from xec_pipeline.evaluation.plots.histogram_panel import HistogramPanel, residual_range
from xec_pipeline.evaluation.plots.log_scatter_panel import LogScatterPanel
from xec_pipeline.evaluation.plots.methods import looks
from xec_pipeline.evaluation.plots.overlay_panel import Distribution, OverlayPanel
from xec_pipeline.evaluation.plots.pages import Page
from xec_pipeline.evaluation.plots.panels import NotePanel, Panel, ScatterPanel
from xec_pipeline.evaluation.plots.readings import (
    compared_text,
    counted,
    face_notes,
    missing_text,
    uncertainty_note,
)
from xec_pipeline.evaluation.plots.style import GREY, SEPARATOR, Caption
from xec_pipeline.evaluation.resolution import Values

_COUNT_TEXTS: Final = {TRUTH: "measured count", MEAN: "true mean"}
_SYMBOLS: Final = {TRUTH: "n", MEAN: "μ"}
_PERCENT: Final = 100.0
_LINES: Final = {"bias": "mean", "rmse": "RMS", "68pct": "68 % of |res| within"}


@dataclass(frozen=True, kw_only=True)
class SensorCaption(Caption):
    """The foot of a page about masked sensors."""

    n_readings: int
    """Rows with a truth: one masked sensor in one event each."""
    n_sensors: int
    """Different sensors among them."""
    mode: str
    dead_pattern: str = ""
    """Source of the dead sensors; empty if none was given."""
    files: tuple[str, ...] = ()
    """Names of the files of predictions."""

    def text(self) -> str:
        """Return the text: run, counts, masks, dead pattern, sample, checkpoint, uncertainties."""
        parts = [f"run {self.run_name}"]
        parts.append(
            f"N = {self.n_readings} readings of {self.n_sensors} sensors in {self.n_events} events"
        )
        if self.n_left_out:
            parts.append(f"{self.n_left_out} left out")
        parts.append(f"masks {self.mode}")
        parts.append(f"dead pattern: {self.dead_pattern or 'none'}")
        parts.append(f"sample {self.meta.sample or 'not stated'}")
        if self.meta.epoch is not None:
            parts.append(f"epoch {self.meta.epoch}")
        if self.meta.model_digest:
            parts.append(f"weights {self.meta.model_digest[:8]}")
        parts.append(f"± from {N_RESAMPLES} bootstraps of the events")
        return SEPARATOR.join(parts)

    def numbers(self) -> dict[str, Any]:
        """Return what the JSON beside the figure says of the origin of its numbers."""
        return super().numbers() | {
            "files": list(self.files),
            "n_readings": self.n_readings,
            "n_sensors": self.n_sensors,
            "masks": self.mode,
            "dead_pattern": self.dead_pattern,
        }


@dataclass(frozen=True, kw_only=True)
class Choice:
    """An error to draw, of those rows for which it is defined."""

    key: str
    title: str
    label: str
    short: str
    """Label in symbols."""
    unit: str
    of: Callable[[str], Values]
    """From a method to its errors, shape (n_rows,)."""
    rows: Bools
    selection: str = ""
    """The cut that chose the rows, in symbols; empty if there is none."""


def choices(sample: Sample, min_photons: float) -> list[Choice]:
    """Return the errors that are drawn of a sample: relative ones first, then differences."""
    found = []
    for reference in sample.references:
        if sample.in_photons:
            found.append(_relative(sample, reference, min_photons))
        found.append(_difference(sample, reference))
    return found


def reference_text(sample: Sample, reference: str) -> str:
    """Return what a reference is called in titles and labels."""
    return _COUNT_TEXTS[reference] if sample.quantity == "npho" else "true time"


def reference_symbol(sample: Sample, reference: str) -> str:
    """Return its symbol, where words are too long; a prediction is p."""
    return _SYMBOLS[reference] if sample.quantity == "npho" else "t"


def residual_pages(
    counts: Sample, times: Sample | None, method: str, min_photons: float
) -> list[Page]:
    """Return the residuals of one method, of all readings, then those of all methods."""
    drawn: list[Panel] = [_histogram(counts, method, one) for one in choices(counts, min_photons)]
    if times is not None:
        drawn += [_histogram(times, method, one) for one in choices(times, min_photons)]
    label = looks([method])[method].label
    pages = [Page(title=f"Residuals of masked sensors: {label}", rows=_in_rows(drawn, 2))]
    if len(counts.predictions) > 1:
        overlaid: list[Panel] = [_overlay(counts, one) for one in choices(counts, min_photons)]
        pages.append(Page(title="Residuals of all methods", rows=_in_rows(overlaid, 2)))
    return pages


def face_pages(sample: Sample, method: str, min_photons: float) -> list[Page]:
    """Return the residuals of one method per face, a page for each kind of error."""
    pages = []
    for one in choices(sample, min_photons):
        if one.key == f"error_{MEAN}":
            continue  # looks like the difference from the count
        panels: list[Panel] = [
            _histogram(sample, method, one, rows=sample.face_id == face, name=name)
            for face, name in FACE_NAMES.items()
        ]
        title = f"{one.title}, per face: {looks([method])[method].label}"
        notes = face_notes(sample, one.rows & np.isfinite(one.of(method)), one.selection)
        pages.append(Page(title=title, rows=_in_rows(panels, 3), notes=notes))
    return pages


def scatter_pages(sample: Sample) -> list[Page]:
    """Return predicted against true values, a page per reference with a panel per method."""
    pages = []
    for reference in sample.references:
        panels = [_scatter(sample, method, reference) for method in sample.predictions]
        title = f"Predicted vs {reference_text(sample, reference)}"
        pages.append(Page(title=title, rows=_in_rows(panels, 3)))
    return pages


def summary_pages(sample: Sample, min_photons: float) -> list[Page]:
    """Return the methods beside one another as bars: ranked over all, and per face.

    Each panel, and each face of it, has the readings that all methods predict. What that leaves,
    and the cut, stand at the foot.
    """
    pages = []
    for reference in sample.references:
        name = reference_text(sample, reference)
        one = (
            _relative(sample, reference, min_photons)
            if sample.in_photons
            else _difference(sample, reference)
        )
        rows = [_bar_row(sample, one, metric, text) for metric, text in _BAR_METRICS.items()]
        title = f"Methods against the {name} {reference_symbol(sample, reference)} (prediction p)"
        pages.append(Page(title=title, rows=tuple(rows), notes=_summary_notes(sample, one)))
    return pages


def _summary_notes(sample: Sample, one: Choice) -> tuple[str, ...]:
    """Return which readings the bars have, why other faces are left out, and what ± holds."""
    chosen = f" with {one.selection}" if one.selection else ""
    asked = f"Readings{chosen}: {one.rows.sum()} of {len(sample)}."
    compared = sample.compared(one.rows)
    which = compared_text(sample, one.rows, compared).replace("\n", " ")
    missing = missing_text(sample, one.rows, compared)
    ranked = f"On the left: {which}" + (f", because {missing}." if missing else ".")
    per_face = "On the right: on each face, those that all methods predict which predict any there."
    return f"{asked} {ranked}", per_face, uncertainty_note(sample)


_BAR_METRICS: Final = {"rmse": "RMS", "mae": "mean of |error|"}


def _relative(sample: Sample, reference: str, min_photons: float) -> Choice:
    name, symbol = reference_text(sample, reference), reference_symbol(sample, reference)
    known = sample.references[reference]
    return Choice(
        key=f"relative_{reference}",
        title=f"Relative error, {name} ≥ {min_photons:g} photons",
        label=f"(predicted - {name}) / {name} [%]",
        short=f"(p - {symbol}) / {symbol} [%]",
        unit="%",
        of=lambda method: _PERCENT * sample.relative_error(method, reference),
        rows=known >= min_photons,
        selection=f"{symbol} ≥ {min_photons:g} photons",
    )


def _difference(sample: Sample, reference: str) -> Choice:
    name, symbol = reference_text(sample, reference), reference_symbol(sample, reference)
    return Choice(
        key=f"error_{reference}",
        title=f"Residual against the {name}",
        label=f"predicted - {name} [{sample.unit}]",
        short=f"p - {symbol} [{sample.unit}]",
        unit=sample.unit,
        of=lambda method: sample.error(method, reference),
        rows=sample.on_face(None),
    )


def _histogram(
    sample: Sample, method: str, one: Choice, *, rows: Bools | None = None, name: str = ""
) -> Panel:
    chosen = one.rows if rows is None else one.rows & rows
    error = one.of(method)
    chosen = chosen & np.isfinite(error)
    key = "_".join(part for part in (sample.quantity, one.key, name) if part)
    if not chosen.any():
        return NotePanel(key=key, text="no reading", title=name or one.title)
    found = sample.summary(error, chosen)
    low, high = residual_range(error[chosen], half_widths=8)
    return HistogramPanel(
        key=key,
        title=f"{name}: {counted(sample, chosen)}" if name else one.title,
        x_label=one.label,
        values=error[chosen],
        low=low,
        high=high,
        unit=one.unit,
        lines=tuple((text, found[metric].estimate()) for metric, text in _LINES.items()),
        marks=((0.0, GREY),),
        log_y=True,
        counted="readings",
    )


def _overlay(sample: Sample, one: Choice) -> Panel:
    distributions, everything = [], []
    compared = sample.compared(one.rows)
    for method, look in looks(list(sample.predictions)).items():
        error = one.of(method)
        chosen = compared & np.isfinite(error)
        everything.append(error[chosen])
        width = sample.summary(error, chosen)["68pct"].estimate()
        distributions.append(
            Distribution(label=look.label, colour=look.colour, values=error[chosen], width=width)
        )
    low, high = residual_range(np.concatenate(everything), half_widths=3)
    return OverlayPanel(
        key=f"{sample.quantity}_{one.key}_all",
        title=one.title,
        x_label=one.label,
        unit=one.unit,
        readings=compared_text(sample, one.rows, compared),
        distributions=tuple(distributions),
        low=low,
        high=high,
    )


def _scatter(sample: Sample, method: str, reference: str) -> Panel:
    true, predicted = sample.references[reference], sample.predicted(method)
    chosen = np.isfinite(true) & np.isfinite(predicted)
    key = f"scatter_{sample.quantity}_{reference}_{method}"
    label = looks(list(sample.predictions))[method].label
    if not chosen.any():
        return NotePanel(key=key, text="no reading", title=label)
    panel = LogScatterPanel if sample.in_photons else ScatterPanel
    return panel(
        key=key,
        title=label,
        x_label=f"{reference_text(sample, reference)} [{sample.unit}]",
        y_label=f"predicted [{sample.unit}]",
        true=true[chosen],
        predicted=predicted[chosen],
        counted="readings",
    )


def _bar_row(sample: Sample, one: Choice, metric: str, text: str) -> tuple[Panel, ...]:
    scopes = face_scopes()
    compared = {
        scope: sample.compared(one.rows & sample.on_face(face)) for scope, face in scopes.items()
    }
    bars = []
    for method, look in looks(list(sample.predictions)).items():
        error = one.of(method)
        entries = {
            scope: enough(sample.summary(error, rows)[metric].estimate())
            for scope, rows in compared.items()
        }
        bars.append(
            Bars(
                label=look.label,
                colour=look.colour,
                entries=entries,
                is_conventional=look.is_conventional,
            )
        )
    label = f"{text} of {one.short}"
    selected = f", {one.selection}" if one.selection else ""
    return (
        RankingPanel(
            key=f"{metric}_{one.key}",
            title=f"{text}, {compared_text(sample, one.rows, compared['global'])}",
            x_label=f"{label}{selected}",
            bars=tuple(bars),
            group="global",
        ),
        GroupedBarPanel(
            key=f"{metric}_{one.key}_per_face",
            title=f"{text} per face{selected}",
            y_label=label,
            bars=tuple(bars),
            n_sensors={name: sample.n_sensors(compared[name]) for name in FACE_NAMES.values()},
        ),
    )


def _in_rows(panels: Sequence[Panel], n_columns: int) -> tuple[tuple[Panel, ...], ...]:
    starts = range(0, len(panels), n_columns)
    return tuple(tuple(panels[start : start + n_columns]) for start in starts)
