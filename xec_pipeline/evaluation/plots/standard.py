"""Panels that several figures share: residuals, and their widths and biases against the truth."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

import numpy as np

from xec_pipeline.evaluation.beside import CONVENTIONAL, conventional_table
from xec_pipeline.evaluation.gaussian_core import gaussian_core
from xec_pipeline.evaluation.plots.choice import Choice
from xec_pipeline.evaluation.plots.histogram_panel import HistogramPanel, residual_range
from xec_pipeline.evaluation.plots.panels import NotePanel, ScatterPanel
from xec_pipeline.evaluation.plots.profile_panel import BinnedValues, ProfilePanel, Series
from xec_pipeline.evaluation.plots.style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED
from xec_pipeline.evaluation.profiles import bin_edges, binned_profile, depth_edges, in_bins
from xec_pipeline.evaluation.residuals import column
from xec_pipeline.evaluation.resolution import (
    Estimator,
    Values,
    containment_68,
    half_width_68,
    mean_bias,
)
from xec_pipeline.evaluation.tables import PredictionTable


@dataclass(frozen=True, kw_only=True)
class Axis:
    """A variable of the truth as an axis."""

    name: str
    """Column of the table is true_<name>."""
    symbol: str
    unit: str
    colour: str
    marker: str = "o"

    @property
    def column(self) -> str:
        """Column of the truth."""
        return f"true_{self.name}"

    @property
    def label(self) -> str:
        """Label of the axis."""
        return f"true {self.symbol} [{self.unit}]"


AXES: Final[Mapping[str, Axis]] = MappingProxyType(
    {
        "theta": Axis(name="theta", symbol="θ", unit="deg", colour=BLUE),
        "phi": Axis(name="phi", symbol="φ", unit="deg", colour=ORANGE),
        "energy": Axis(name="energy", symbol="E", unit="MeV", colour=RED),
        "timing": Axis(name="timing", symbol="t", unit="ns", colour=BLUE),
        "u": Axis(name="u", symbol="u", unit="cm", colour=BLUE),
        "v": Axis(name="v", symbol="v", unit="cm", colour=ORANGE, marker="s"),
        "w": Axis(name="w", symbol="w", unit="cm", colour=GREEN, marker="D"),
    }
)
POSITION: Final = ("u", "v", "w")
_SIZES: Final = ("distance", "psi")


@dataclass(frozen=True, kw_only=True)
class Residual:
    """A residual in the unit in which it is drawn."""

    name: str
    symbol: str
    unit: str
    values: Values
    conventional: Values | None = None
    """Of the conventional reconstruction for the same events, NaN where it has none."""
    sigma: Values | None = None
    """Uncertainty that the network predicts, if it does."""

    @property
    def label(self) -> str:
        """Label of an axis along the values; distances and opening angles are no differences."""
        difference = "" if self.name in _SIZES else "predicted - true "
        return f"{difference}{self.symbol} [{self.unit}]"


def residual_of(
    table: PredictionTable,
    measure: Callable[[PredictionTable], Values],
    *,
    name: str,
    symbol: str,
    unit: str,
    scale: float = 1.0,
) -> Residual:
    """Return what `measure` makes of the predictions, and of the conventional ones beside them.

    Parameters
    ----------
    table
        Usable events of one task.
    measure
        Residual in internal units.
    name, symbol, unit
        In keys, on axes, and as drawn.
    scale
        Drawn over internal unit.
    """
    beside, sigma = conventional_table(table), f"pred_sigma_{name}"
    return Residual(
        name=name,
        symbol=symbol,
        unit=unit,
        values=scale * measure(table),
        conventional=None if beside is None else scale * measure(beside),
        sigma=scale * column(table, sigma) if sigma in table else None,
    )


def has_truth(table: PredictionTable, *names: str) -> bool:
    """Return True if the table knows these variables of the truth for some event."""
    return all(
        AXES[name].column in table and bool(table[AXES[name].column].notna().any())
        for name in names
    )


def residual_histogram(residual: Residual, *, log_y: bool = False) -> HistogramPanel:
    """Return the distribution of a residual with bias, widths and core fit."""
    low, high = residual_range(residual.values, half_widths=8 if log_y else 5)
    return HistogramPanel(
        key=f"residual_{residual.name}",
        title=f"Residual of {residual.symbol}",
        x_label=f"predicted - true {residual.symbol} [{residual.unit}]",
        values=residual.values,
        low=low,
        high=high,
        unit=residual.unit,
        lines=(
            ("mean", mean_bias(residual.values)),
            ("68 % half width", half_width_68(residual.values)),
            ("68 % of |res| within", containment_68(residual.values)),
        ),
        marks=((0.0, GREY),),
        core=gaussian_core(residual.values),
        log_y=log_y,
    )


def width_panel(
    table: PredictionTable, residual: Residual, axis: str, choice: Choice
) -> ProfilePanel:
    """Return the width of a residual against a variable of the truth."""
    panel = profile_panel(table, residual, axis, choice.width, choice)
    return replace(panel, y_label=f"{choice.width_name} of {residual.symbol} [{residual.unit}]")


def bias_panel(
    table: PredictionTable, residual: Residual, axis: str, choice: Choice
) -> ProfilePanel:
    """Return the bias of a residual against a variable of the truth, with a line at zero."""
    panel = profile_panel(table, residual, axis, choice.bias, choice)
    return replace(
        panel,
        key=f"bias_{residual.name}_vs_{axis}",
        title=f"Bias of {residual.symbol} vs true {AXES[axis].symbol}",
        y_label=f"{choice.bias_name} residual of {residual.symbol} [{residual.unit}]",
        is_bias=True,
    )


def profile_panel(
    table: PredictionTable,
    residual: Residual,
    axis: str,
    estimator: Estimator,
    choice: Choice,
) -> ProfilePanel:
    """Return any estimate of a residual against a variable of the truth."""
    chosen = AXES[axis]
    x = column(table, chosen.column)
    edges = edges_of(x[np.isfinite(x)], choice, is_depth=axis == "w")
    profile = binned_profile(x, residual.values, estimator, edges=edges)
    own = Series(profile=profile, colour=chosen.colour, marker=chosen.marker)
    return ProfilePanel(
        key=f"resolution_{residual.name}_vs_{axis}",
        title=f"Resolution of {residual.symbol} vs true {chosen.symbol}",
        x_label=chosen.label,
        y_label=f"{residual.symbol} [{residual.unit}]",
        series=beside_conventional(own, x, residual, estimator),
        binned=BinnedValues(
            values=tuple(in_bins(x, residual.values, edges)),
            label=residual.label,
            unit=residual.unit,
        ),
    )


def edges_of(x: Values, choice: Choice, *, is_depth: bool = False) -> Values:
    """Return the edges of the bins of a variable, shape (n_bins + 1,)."""
    divide = depth_edges if is_depth else bin_edges
    return divide(x, max_bins=choice.bins, events_per_bin=choice.events_per_bin)


def beside_conventional(
    own: Series, x: Values, residual: Residual, estimator: Estimator
) -> tuple[Series, ...]:
    """Return a profile, and after it that of the conventional reconstruction if there is one.

    Parameters
    ----------
    own
        Profile of the network.
    x
        Variable of the truth, shape (n_events,).
    residual, estimator
        What the profiles show; both have the same bins.
    """
    if residual.conventional is None:
        return (own,)
    profile = binned_profile(x, residual.conventional, estimator, edges=own.profile.edges)
    beside = Series(profile=profile, label=CONVENTIONAL, colour=PURPLE, marker="v")
    return replace(own, label="model", key="profile"), beside


def scatter_panel(table: PredictionTable, name: str, choice: Choice) -> ScatterPanel:
    """Return predicted against true values of a quantity."""
    axis = AXES[name]
    return ScatterPanel(
        key=f"scatter_{name}",
        title=f"Predicted vs true {axis.symbol}",
        x_label=axis.label,
        y_label=f"predicted {axis.symbol} [{axis.unit}]",
        true=column(table, axis.column),
        predicted=column(table, f"pred_{name}"),
        bins=choice.scatter_bins,
    )


def missing_truth(names: str) -> NotePanel:
    """Return a note for profiles that need truth which the table does not have."""
    return NotePanel(
        key=f"no_{names}",
        text=f"no true {names} in the prediction table:\nprofiles against it are not drawn",
    )
