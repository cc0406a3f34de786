"""Numbers with uncertainties as text."""

import math

from xec_pipeline.evaluation.resolution import Estimate

NOT_KNOWN = "n/a"


def with_error(value: float, error: float) -> str:
    """Return `value ± error`, rounded to two significant digits of the error.

    Without an error the value has four significant digits; without a value it is "n/a".
    """
    if not math.isfinite(value):
        return NOT_KNOWN
    if not math.isfinite(error) or error <= 0:
        return f"{value:.4g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def estimate_text(estimate: Estimate, unit: str = "") -> str:
    """Return an estimate with its uncertainty and unit."""
    text = with_error(estimate.value, estimate.error)
    return text if text == NOT_KNOWN or not unit else f"{text} {unit}"
