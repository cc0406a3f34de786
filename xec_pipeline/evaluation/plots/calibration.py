"""Pages that compare the uncertainty a network predicts with the error it makes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from xec_pipeline.evaluation.calibration import Coverage, coverage, pulls
from xec_pipeline.evaluation.gaussian_core import gaussian_core
from xec_pipeline.evaluation.plots.choice import Choice
from xec_pipeline.evaluation.plots.histogram_panel import HistogramPanel, residual_range
from xec_pipeline.evaluation.plots.pages import Page
from xec_pipeline.evaluation.plots.panels import NotePanel, Panel
from xec_pipeline.evaluation.plots.profile_panel import ProfilePanel, Series
from xec_pipeline.evaluation.plots.standard import Residual
from xec_pipeline.evaluation.plots.style import BLUE, GREY, RED
from xec_pipeline.evaluation.profiles import binned_profile, depth_edges
from xec_pipeline.evaluation.resolution import (
    COVERAGE,
    Values,
    half_width_68,
    mean_bias,
    median_bias,
)


def calibration_pages(residuals: Sequence[Residual], choice: Choice) -> list[Page]:
    """Return one page if the network predicts the uncertainty of any of these, else none."""
    rows = [_row(one, one.sigma, choice) for one in residuals if one.sigma is not None]
    if not rows:
        return []
    return [Page(title="Predicted uncertainty against the error made", rows=tuple(rows))]


@dataclass(frozen=True, kw_only=True)
class CoveragePanel:
    """Observed against nominal contents of intervals."""

    key: str
    title: str
    coverage: Coverage

    def draw(self, ax: Axes) -> None:
        """Draw points with binomial deviations, and the line of right uncertainties."""
        ax.set_title(self.title)
        ax.set_xlabel("content by the predicted σ")
        ax.set_ylabel("part of the events inside")
        found = self.coverage
        ax.plot([0, 1], [0, 1], color=RED, linestyle="--", linewidth=0.9)
        ax.errorbar(
            found.nominal, found.observed, yerr=found.error, fmt="o", color=BLUE, markersize=3.8
        )
        part, error = found.at(COVERAGE)
        text = f"N = {found.n}\nwithin ±1 σ: ({100 * part:.1f} ± {100 * error:.1f}) %"
        ax.text(0.03, 0.97, f"{text}\nexpected: {100 * COVERAGE:.2f} %", va="top", fontsize=7.2)
        ax.set_xlim(0, 1)
        ax.set_ylim(0, 1)

    def numbers(self) -> dict[str, Any]:
        """Return the parts."""
        return self.coverage.numbers()


def _row(residual: Residual, sigma: Values, choice: Choice) -> tuple[Panel, ...]:
    pull = pulls(residual.values, sigma)
    known = np.isfinite(pull)
    if not known.any():
        text = f"no positive predicted σ of {residual.symbol}"
        return (NotePanel(key=f"no_pull_{residual.name}", text=text),)
    return (
        _pull_histogram(residual, pull[known]),
        CoveragePanel(
            key=f"coverage_{residual.name}",
            title=f"Coverage of {residual.symbol}",
            coverage=coverage(pull),
        ),
        _width_panel(residual, np.where(known, sigma, np.nan), choice),
    )


def _pull_histogram(residual: Residual, pull: Values) -> HistogramPanel:
    low, high = residual_range(pull)
    return HistogramPanel(
        key=f"pull_{residual.name}",
        title=f"Pull of {residual.symbol} (expected: mean 0, width 1)",
        x_label=f"(predicted - true {residual.symbol}) / predicted σ",
        values=pull,
        low=low,
        high=high,
        lines=(
            ("mean", mean_bias(pull)),
            ("median", median_bias(pull)),
            ("68 % half width", half_width_68(pull)),
        ),
        marks=((0.0, GREY),),
        core=gaussian_core(pull),
    )


def _width_panel(residual: Residual, sigma: Values, choice: Choice) -> ProfilePanel:
    edges = depth_edges(
        sigma[np.isfinite(sigma)], max_bins=choice.bins, events_per_bin=choice.events_per_bin
    )
    profile = binned_profile(sigma, residual.values, choice.width, edges=edges)
    return ProfilePanel(
        key=f"width_{residual.name}_vs_sigma",
        title=f"Width of {residual.symbol} vs predicted σ",
        x_label=f"predicted σ of {residual.symbol} [{residual.unit}]",
        y_label=f"{choice.width_name} of {residual.symbol} [{residual.unit}]",
        series=(Series(profile=profile),),
        curve=lambda x: x,
        comment="line: width = predicted σ",
    )
