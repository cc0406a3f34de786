"""Whether a challenger takes the champion's place: a paired comparison on the same events.

One number decides for each quantity: the 68.27 % quantile of |residual|, which a bias widens too.
The uncertainty of a difference comes from events drawn anew, the same for both models. Weights are
compared as they are; how much trainings with other seeds would differ plays no part.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any, Final

import numpy as np

from xec_pipeline.config.production import ProductionConfig
from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.compared_tables import model_tables, selection_of
from xec_pipeline.evaluation.comparison import MEASURES, Measure
from xec_pipeline.evaluation.metadata import PredictionMeta, read_meta
from xec_pipeline.evaluation.resolution import COVERAGE, Values, containment_68
from xec_pipeline.evaluation.same_events import same_events
from xec_pipeline.evaluation.side_by_side import Difference
from xec_pipeline.evaluation.tables import PredictionTable
from xec_pipeline.evaluation.text import NOT_KNOWN, markdown_lines, with_error

ESTIMATOR: Final = "68 % of |res| within"
_N_RESAMPLES: Final = 400
"""A standard deviation is known to 3.5 %, a threshold of 2.7 sigma so to 0.1."""
_SEED: Final = 1
_DRAWN_AT_ONCE: Final = 1_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Model:
    """A model that takes part: predictions of one sample and what they were made from."""

    name: str
    tables: Mapping[str, PredictionTable]
    """By task, of the events that are compared."""
    meta: PredictionMeta
    folder: Path


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """What the rule says of a challenger.

    Attributes
    ----------
    is_promoted
        True if the challenger takes the champion's place.
    reason
        Why, in words with numbers.
    differences
        Challenger as `first`, champion as `second`, by quantity.
    asked_sigma
        Standard deviations by which a quantity that decides must be better.
    decides_on
        Names of the quantities that decide, as far as both predict them.
    selection
        Which events, in words.
    is_toy
        Whether the events are from the toy detector.
    """

    is_promoted: bool
    reason: str
    differences: Mapping[str, Difference]
    asked_sigma: float
    decides_on: tuple[str, ...]
    selection: str = ""
    is_toy: bool = False

    def cells(self, champion: str, challenger: str) -> list[list[str]]:
        """Return the comparison as text, the first row being the header."""
        lines = [["quantity", "decides", champion, challenger, "challenger - champion", "N"]]
        for name, line in self.differences.items():
            in_sigma = line.in_sigma
            lines.append(
                [
                    line.label,
                    "yes" if name in self.decides_on else "must not be worse",
                    with_error(line.second.value, line.second.error),
                    with_error(line.first.value, line.first.error),
                    f"{in_sigma:+.1f} sigma" if np.isfinite(in_sigma) else NOT_KNOWN,
                    str(line.first.n),
                ]
            )
        return lines

    def markdown(self, champion: str, challenger: str) -> str:
        """Return the comparison in Markdown, with what it was made from."""
        toy = ", toy detector" if self.is_toy else ""
        table = markdown_lines(self.cells(champion, challenger), 2)
        note = f"{ESTIMATOR}, {self.selection}{toy}. Negative sigmas: the challenger is better."
        return "\n".join([*table, "", note, ""])


def read_model(folder: Path, run_name: str, name: str) -> Model:
    """Read the predictions of a model.

    Parameters
    ----------
    folder, run_name
        Where the tables stand, and the name in theirs.
    name
        What the model is called.

    Raises
    ------
    DataError
        If there are none.
    """
    tables = model_tables(folder, run_name)
    if not tables:
        raise DataError(f"{folder}: no predictions of run {run_name}; expected predictions_*.csv")
    return Model(name=name, tables=tables, meta=read_meta(folder, run_name), folder=folder)


def challenge(champion: Model, challenger: Model, rule: ProductionConfig) -> Verdict:
    """Compare two models and apply the rule.

    Raises
    ------
    DataError
        If they predict different events: then nothing can be said.
    """
    require_same_events(champion, challenger)
    verdict = decide(differences(champion, challenger), missing(champion, challenger), rule)
    return dataclasses.replace(
        verdict,
        selection=selection_of(challenger.tables),
        is_toy=bool(challenger.meta.is_toy),
    )


def decide(
    lines: Mapping[str, Difference], lacking: Sequence[str], rule: ProductionConfig
) -> Verdict:
    """Apply the rule to differences.

    Parameters
    ----------
    lines
        Challenger as `first`, champion as `second`, by the name of the quantity.
    lacking
        Quantities that the champion predicts and the challenger does not.
    rule
        What must be better, what may be worse.
    """
    deciding = tuple(name for name in rule.decides_on if name in lines)
    asked = NormalDist().inv_cdf(1 - rule.false_promotion_rate / max(1, len(deciding)))
    sigmas = {name: line.in_sigma for name, line in lines.items()}
    worse = [name for name, sigma in sigmas.items() if sigma > rule.worse_sigma]
    better = [name for name in deciding if sigmas[name] < -asked]
    if lacking:
        reason = f"it does not predict {', '.join(lacking)}, which the champion does"
    elif not deciding:
        reason = f"the models have none of {', '.join(rule.decides_on)} in common"
    elif worse:
        reason = f"worse beyond {rule.worse_sigma:g} sigma in {_named(worse, sigmas)}"
    elif not better:
        best = min(deciding, key=lambda name: (not np.isfinite(sigmas[name]), sigmas[name]))
        reason = f"nothing is better beyond {asked:.1f} sigma; most {_named([best], sigmas)}"
    else:
        reason = (
            f"better beyond {asked:.1f} sigma in {_named(better, sigmas)}, and nothing is worse "
            f"beyond {rule.worse_sigma:g} sigma"
        )
    return Verdict(
        is_promoted=bool(better) and not worse and not lacking,
        reason=reason,
        differences=lines,
        asked_sigma=asked,
        decides_on=deciding,
    )


def require_same_events(champion: Model, challenger: Model) -> None:
    """Raise DataError, saying what to do, if two models predict different events."""
    versions = champion.meta.data_version, challenger.meta.data_version
    if None not in versions and versions[0] != versions[1]:
        short = [str(version)[:12] for version in versions]
        raise DataError(
            f"{champion.name} was tested on data version {short[0]} of {champion.meta.sample}, "
            f"{challenger.name} on {short[1]} of {challenger.meta.sample}: they cannot be "
            f"compared. {_WHAT_TO_DO}"
        )
    for task in sorted(set(champion.tables) & set(challenger.tables)):
        if not same_events(champion.tables[task], challenger.tables[task]):
            raise DataError(
                f"{champion.folder} and {challenger.folder}: the tables of {task} are of "
                f"different events. {_WHAT_TO_DO}"
            )


_WHAT_TO_DO: Final = (
    "If the champion's run still has the champion's weights, materialize its "
    "regressor/predictions_csv; else choose by hand: xec promote RUN --reason TEXT"
)


def differences(champion: Model, challenger: Model) -> dict[str, Difference]:
    """Return challenger and champion, and the uncertainty of their difference, by quantity."""
    return {
        measure.name: _difference(
            measure, challenger.tables[measure.task], champion.tables[measure.task]
        )
        for measure in MEASURES
        if measure.task in champion.tables and measure.task in challenger.tables
    }


def missing(champion: Model, challenger: Model) -> list[str]:
    """Return the quantities that the champion predicts and the challenger does not."""
    lacking = set(champion.tables) - set(challenger.tables)
    return [measure.name for measure in MEASURES if measure.task in lacking]


def rule_text(rule: ProductionConfig) -> str:
    """Return the rule in a sentence."""
    return (
        f"One of {', '.join(rule.decides_on)} must be better, at a chance of "
        f"{100 * rule.false_promotion_rate:g} % for a model that is no better, and no quantity "
        f"worse beyond {rule.worse_sigma:g} sigma."
    )


def records(verdict: Verdict) -> list[dict[str, Any]]:
    """Return one dictionary per quantity, for JSON."""
    return [
        {
            "quantity": line.label,
            "estimator": line.estimator,
            "decides": name in verdict.decides_on,
            "challenger": line.first.value,
            "challenger_error": line.first.error,
            "champion": line.second.value,
            "champion_error": line.second.error,
            "difference_error": line.error,
            "in_sigma": line.in_sigma,
            "n": line.first.n,
        }
        for name, line in verdict.differences.items()
    ]


def paired_error(first: Values, second: Values, n_resamples: int = _N_RESAMPLES) -> float:
    """Return the standard deviation of the difference of two models' quantiles of |residual|.

    Parameters
    ----------
    first, second
        Residuals of the same events, shape (n_events,).
    n_resamples
        How often events are drawn anew, the same for both models.

    Returns
    -------
    float
        NaN for fewer than two events.
    """
    n = len(first)
    if n < 2:
        return math.nan
    rng = np.random.default_rng(_SEED)
    sizes = np.abs(np.stack([first, second]))
    at_once = max(1, _DRAWN_AT_ONCE // n)
    parts = []
    for start in range(0, n_resamples, at_once):
        drawn = rng.integers(0, n, (min(at_once, n_resamples - start), n))
        one, other = np.quantile(sizes[:, drawn], COVERAGE, axis=-1)
        parts.append(one - other)
    return float(np.std(np.concatenate(parts), ddof=1))


def _difference(
    measure: Measure, challenger: PredictionTable, champion: PredictionTable
) -> Difference:
    first, second = measure.residual(challenger), measure.residual(champion)
    return Difference(
        label=f"{measure.name} [{measure.unit}]",
        estimator=ESTIMATOR,
        first=containment_68(first),
        second=containment_68(second),
        error=paired_error(first, second),
    )


def _named(names: Sequence[str], sigmas: Mapping[str, float]) -> str:
    return ", ".join(f"{name} ({sigmas[name]:+.1f} sigma)" for name in names)
