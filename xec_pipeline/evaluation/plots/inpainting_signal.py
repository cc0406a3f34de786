"""Figures of the errors of masked sensors against their signal."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from xec_pipeline.detector.faces import FACE_NAMES, Face
from xec_pipeline.evaluation.masked_rows import Bools
from xec_pipeline.evaluation.masked_samples import MEAN, TRUE_MEAN, TRUTH, Sample
from xec_pipeline.evaluation.plots.inpainting import reference_symbol, reference_text
from xec_pipeline.evaluation.plots.methods import looks
from xec_pipeline.evaluation.plots.pages import Page
from xec_pipeline.evaluation.plots.profile_panel import Series
from xec_pipeline.evaluation.plots.readings import counted, face_notes, uncertainty_note
from xec_pipeline.evaluation.plots.signal_panel import FloorLine, SignalPanel
from xec_pipeline.evaluation.profiles import Profile
from xec_pipeline.evaluation.resolution import Values
from xec_pipeline.evaluation.signal_profiles import (
    error_profiles,
    linear_edges,
    log_edges,
    noise_profile,
    predicted_profiles,
)

_METRICS: Final = {"rmse": "RMS of {}", "bias": "mean of {}", "68pct": "68 % quantile of |{}|"}


def signal_pages(sample: Sample, min_photons: float) -> list[Page]:
    """Return RMS, bias and 68 % of the error against the signal, then against the prediction.

    The inner face and the others have a row each, because SiPMs and PMTs differ in their noise.
    """
    parts = {"inner face": sample.face_id == Face.INNER, "PMTs": sample.face_id != Face.INNER}
    pages = []
    for reference in sample.references:
        for by_prediction in (False, True):
            rows = tuple(
                _row(sample, reference, part, mask, min_photons, by_prediction=by_prediction)
                for part, mask in parts.items()
            )
            title = _title(sample, reference, by_prediction=by_prediction)
            pages.append(Page(title=title, rows=rows, notes=(uncertainty_note(sample),)))
    return pages


def face_signal_pages(sample: Sample, min_photons: float) -> list[Page]:
    """Return RMS and bias against the signal per face, a page for each."""
    pages = []
    for reference in sample.references:
        rows = [
            _row(sample, reference, face_name, sample.face_id == face, min_photons)
            for face, face_name in FACE_NAMES.items()
        ]
        for i, text in ((0, "RMS"), (1, "mean")):
            panels = [row[i] for row in rows]
            panels = [panels[0], *(replace(panel, with_legend=False) for panel in panels[1:])]
            title = f"{_title(sample, reference)}: {text} per face"
            drawn = (tuple(panels[:3]), tuple(panels[3:]))
            notes = _face_notes(sample, reference, min_photons)
            pages.append(Page(title=title, rows=drawn, notes=notes))
    return pages


def _face_notes(sample: Sample, reference: str, min_photons: float) -> tuple[str, ...]:
    if not sample.in_photons:
        return face_notes(sample, sample.on_face(None), "")
    selection = f"{reference_symbol(sample, reference)} ≥ {min_photons:g} photons"
    return face_notes(sample, sample.references[reference] >= min_photons, selection)


def _title(sample: Sample, reference: str, *, by_prediction: bool = False) -> str:
    kind = "Relative error" if sample.in_photons else "Error"
    name, symbol = reference_text(sample, reference), reference_symbol(sample, reference)
    title = f"{kind} of the prediction p against the {name} {symbol}"
    return f"{title}, in bins of p" if by_prediction else title


def _row(
    sample: Sample,
    reference: str,
    part: str,
    rows: Bools,
    min_photons: float,
    *,
    by_prediction: bool = False,
) -> tuple[SignalPanel, ...]:
    """Return the panels of one part of the detector, by metric, over the first method's counts."""
    edges = _edges(sample, reference, min_photons, rows)
    profiles = {}
    for method in sample.predictions:
        compute = predicted_profiles if by_prediction else error_profiles
        profiles[method] = compute(sample, method, reference, edges, rows)
    floors = [] if by_prediction else _floors(sample, reference, edges, rows)
    symbol = reference_symbol(sample, reference)
    where = (reference, part, "p" if by_prediction else symbol)
    first = next(iter(sample.predictions))
    x = sample.predicted(first) if by_prediction else sample.references[reference]
    title = f"{part}: {counted(sample, rows & (x >= edges[0]) & (x <= edges[-1]))}"
    panels = (_panel(sample, profiles, metric, where, floors) for metric in _METRICS)
    return tuple(replace(panel, title=title) for panel in panels)


def _panel(
    sample: Sample,
    profiles: Mapping[str, Mapping[str, Profile]],
    metric: str,
    where: tuple[str, str, str],
    floors: Sequence[tuple[FloorLine, str]],
) -> SignalPanel:
    reference, part, axis = where
    symbol = reference_symbol(sample, reference)
    error = f"(p - {symbol}) / {axis}" if sample.in_photons else f"p - {symbol}"
    unit = "%" if sample.in_photons else sample.unit
    name = "predicted" if axis == "p" else reference_text(sample, reference)
    series = [
        Series(
            profile=profiles[method][metric],
            label=look.label,
            colour=look.colour,
            marker=look.marker,
        )
        for method, look in looks(list(sample.predictions)).items()
    ]
    return SignalPanel(
        key=f"{metric}_{reference}_{part}".replace(" ", "_"),
        title=part,
        x_label=f"{name} {axis} [{sample.unit}]",
        y_label=f"{_METRICS[metric].format(error)} [{unit}]",
        series=tuple(series),
        floors=tuple(floor for floor, of_metric in floors if of_metric == metric),
        log_x=sample.in_photons,
        is_bias=metric == "bias",
        with_legend=metric == "rmse",
    )


def _edges(sample: Sample, reference: str, min_photons: float, rows: Bools) -> Values:
    known = sample.references[reference][rows]
    return log_edges(known, min_photons) if sample.in_photons else linear_edges(known)


def _floors(
    sample: Sample, reference: str, edges: Values, rows: Bools
) -> list[tuple[FloorLine, str]]:
    """Return the lines below which the noise of the count keeps every method, with their metric."""
    if reference != TRUTH or MEAN not in sample.references:
        return []
    known = error_profiles(sample, TRUE_MEAN, reference, edges, rows)
    floors = [(FloorLine(profile=known[m], label="floor: true mean"), m) for m in _METRICS]
    noise = noise_profile(sample, edges, rows)
    if noise is not None:
        line = FloorLine(profile=noise, label="counting noise", style=":")
        floors.append((line, "rmse"))
    return floors
