"""Pages with the distribution in every bin of a profile: where its points come from."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from xec_pipeline.evaluation.gaussian_core import CORE, gaussian_core
from xec_pipeline.evaluation.plots.histogram_panel import HistogramPanel, residual_range
from xec_pipeline.evaluation.plots.pages import Page
from xec_pipeline.evaluation.plots.panels import NotePanel, Panel
from xec_pipeline.evaluation.plots.profile_panel import BinnedValues, ProfilePanel
from xec_pipeline.evaluation.resolution import (
    CENTRAL,
    CONTAINMENT,
    SIGMA_EFF,
    Estimate,
    Values,
    containment_68,
    half_width_68,
    shortest_interval,
    sigma_eff,
)

_COLUMNS: Final = 5
_PER_PAGE: Final = 20
_CELL: Final = (2.9, 2.6)
"""Width and height of a panel's place [inch]."""


def bin_pages(pages: Sequence[Page]) -> list[Page]:
    """Return pages with every bin of the profiles of widths on `pages`."""
    found: list[Page] = []
    for page in pages:
        for panel in (panel for row in page.rows for panel in row):
            if isinstance(panel, ProfilePanel) and panel.binned and not panel.is_bias:
                found += _pages_of(panel, panel.binned)
    return found


def _pages_of(profile: ProfilePanel, binned: BinnedValues) -> list[Page]:
    panels = [_panel(profile, binned, i) for i in range(len(binned.values))]
    chunks = [panels[i : i + _PER_PAGE] for i in range(0, len(panels), _PER_PAGE)]
    return [
        Page(
            title=f"{profile.title}: bins of {profile.x_label}",
            rows=tuple(tuple(chunk[i : i + _COLUMNS]) for i in range(0, len(chunk), _COLUMNS)),
            cell=_CELL,
        )
        for chunk in chunks
    ]


def _panel(profile: ProfilePanel, binned: BinnedValues, i: int) -> Panel:
    edges, values = profile.series[0].profile.edges, binned.values[i]
    key, title = f"{profile.key} bin {i + 1}", f"{edges[i]:.4g} to {edges[i + 1]:.4g}"
    if not len(values):
        return NotePanel(key=key, title=title, text="no event")
    low, high = residual_range(values, half_widths=5)
    used = {series.profile.estimator for series in profile.series}
    core = gaussian_core(values) if used & set(CORE) else None
    lines, span = ((), None) if core else _interval(values, used)
    return HistogramPanel(
        key=key,
        title=title,
        x_label=binned.label,
        values=values,
        low=low,
        high=high,
        unit=binned.unit,
        lines=lines,
        core=core,
        with_core_mean=True,
        span=span,
    )


def _interval(
    values: Values, used: set[str]
) -> tuple[tuple[tuple[str, Estimate], ...], tuple[float, float]]:
    """Return the estimates of the profile, and the interval that they describe."""
    within = ("68 % within", containment_68(values))
    if SIGMA_EFF in used:
        return (within, ("σ_eff", sigma_eff(values))), shortest_interval(values)
    if CONTAINMENT in used:
        return (within,), (0.0, within[1].value)
    low, high = np.quantile(values, CENTRAL)
    return (("68 % half width", half_width_68(values)),), (float(low), float(high))
