"""What a user can choose about resolution figures."""

import argparse
from dataclasses import dataclass
from typing import Final

from xec_pipeline.evaluation.flags import GAUSSIAN, HALF_WIDTH
from xec_pipeline.evaluation.gaussian_core import MIN_FOR_CORE_FIT, core_mean, core_sigma
from xec_pipeline.evaluation.profiles import EVENTS_PER_BIN, MAX_BINS
from xec_pipeline.evaluation.resolution import Estimator, half_width_68, mean_bias


@dataclass(frozen=True, kw_only=True)
class Choice:
    """How widths are estimated, and how finely events are divided."""

    estimator: str = HALF_WIDTH
    """Of widths and biases in profiles: `half_width`, or `gaussian` for a core fit per bin."""
    bins: int = MAX_BINS
    """Most bins of a profile; few events give fewer."""
    scatter_bins: int | None = None
    """Bins of predicted against true value; None lets the number of events decide."""
    with_bin_histograms: bool = False
    """Add pages with the distribution in every bin."""

    @property
    def is_gaussian(self) -> bool:
        """True if widths and biases are those of core fits."""
        return self.estimator == GAUSSIAN

    @property
    def width(self) -> Estimator:
        """Estimator of a width."""
        return core_sigma if self.is_gaussian else half_width_68

    @property
    def width_name(self) -> str:
        """Name of the width on an axis."""
        return "core σ" if self.is_gaussian else "68 % half width"

    @property
    def bias(self) -> Estimator:
        """Estimator of a bias."""
        return core_mean if self.is_gaussian else mean_bias

    @property
    def bias_name(self) -> str:
        """Name of the bias on an axis."""
        return "core mean" if self.is_gaussian else "mean"

    @property
    def events_per_bin(self) -> int:
        """Events wanted in a bin on average; a fit needs more than a quantile."""
        return 2 * MIN_FOR_CORE_FIT if self.is_gaussian else EVENTS_PER_BIN


DEFAULT: Final = Choice()


def choice_of(args: argparse.Namespace) -> Choice:
    """Return what the flags of `evaluation.flags` say."""
    return Choice(
        estimator=args.estimator,
        bins=args.bins,
        scatter_bins=args.pred_vs_true_bins,
        with_bin_histograms=args.bin_histograms or args.estimator == GAUSSIAN,
    )
