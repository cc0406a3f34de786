"""How near predictions come to the physical limit of their own events.

Like is compared with like: the root mean square (RMS) of residuals with the RMS of the limits, the
68 % half width of residuals with the one they would have if each were normal with the limit of its
event. Efficiency is limit over resolution, pull is residual over limit, event by event.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import erf

from xec_pipeline.data.limit_files import LimitColumns
from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.compared_tables import MODEL, TRAINING_MEAN
from xec_pipeline.evaluation.comparison import MEASURES, Measure
from xec_pipeline.evaluation.event_bootstrap import N_RESAMPLES, Resampled, content_seed
from xec_pipeline.evaluation.profiles import MIN_EVENTS
from xec_pipeline.evaluation.residuals import column
from xec_pipeline.evaluation.resolution import COVERAGE, Estimate, Values
from xec_pipeline.evaluation.tables import KEYS, PredictionTable
from xec_pipeline.units import MM_PER_CM, PS_PER_NS

Rows = NDArray[np.intp]
Statistic = Callable[[Rows], Values]
"""Estimate from events, an event as often as its row is named: rows (k, n) to values (k,)."""
Tables = Mapping[str, Mapping[str, PredictionTable]]
"""Method to task to predictions."""

RMS: Final = "RMS"
HALF_WIDTH: Final = "68 % half width"
DEPTH_EDGES_CM: Final = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 38.5)
SUSPICIOUS_BELOW: Final = 0.9
"""Resolution over limit; the limit itself is known to about 5 %."""
JUDGED_FROM: Final = 100
"""Events of a row that is looked at for this: a table has over a hundred rows, of which some with
few events would seem too good by chance."""
_SIGMAS: Final = 2.0
_GRID: Final = 81
_LARGEST: Final = 4_000_000
"""Numbers that an estimate looks at together."""
_SAME_CM, _SAME_NS = 1e-3, 1e-3
_FLIGHT_NS: Final = (1.5, 6.0)
"""Least and largest time from the target to the first interaction."""

_EMISSION: Final = "lim_t_emission"
_LIMIT_OF: Final[Mapping[str, tuple[str, float]]] = MappingProxyType(
    {
        "energy": ("lim_E", 1.0),
        "u": ("lim_u", MM_PER_CM),
        "v": ("lim_v", MM_PER_CM),
        "w": ("lim_w", MM_PER_CM),
        "time": ("lim_t", PS_PER_NS),
        "theta": ("lim_theta", 1.0),
        "phi": ("lim_phi", 1.0),
    }
)
"""Quantity to the branch of its limit and the factor to the unit of the table."""


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One quantity of n events: residuals by method, limits and depths [cm], each (n,)."""

    quantity: str
    unit: str
    residual: Mapping[str, Values]
    limit: Values
    depth_cm: Values

    def __len__(self) -> int:
        return len(self.limit)

    def between(self, low_cm: float, high_cm: float) -> "Sample":
        """Return the events with low <= w < high."""
        inside = (self.depth_cm >= low_cm) & (self.depth_cm < high_cm)
        return Sample(
            quantity=self.quantity,
            unit=self.unit,
            residual={method: values[inside] for method, values in self.residual.items()},
            limit=self.limit[inside],
            depth_cm=self.depth_cm[inside],
        )


@dataclass(frozen=True, kw_only=True)
class EfficiencyRow:
    """One quantity by one estimator in one range of depth."""

    quantity: str
    unit: str
    estimator: str
    depth_cm: tuple[float, float] | None
    """None for all depths."""
    n: int
    limit: Estimate
    resolution: Mapping[str, Estimate]
    """By method."""
    efficiency: Mapping[str, Estimate]
    pull: Mapping[str, Estimate]
    """The same estimator of residual over limit."""

    def is_suspicious(self, method: str) -> bool:
        """Return whether a method resolves better than it can, beyond two standard deviations.

        False for fewer than `JUDGED_FROM` events.
        """
        if self.n < JUDGED_FROM:
            return False
        efficiency = self.efficiency[method]
        error = efficiency.error if math.isfinite(efficiency.error) else 0.0
        return efficiency.value - _SIGMAS * error > 1 / SUSPICIOUS_BELOW


def samples(tables: Tables, limits: LimitColumns) -> Iterator[Sample]:
    """Yield the quantities that the network predicts, for the events that have a limit.

    Parameters
    ----------
    tables
        Predictions by method and task. Those of the training mean are not used: at one energy its
        width is no resolution.
    limits
        Of the same events.

    Raises
    ------
    DataError
        If tables have no run and event, no event has a limit, or events of the same number are not
        the same.
    """
    frame = pd.DataFrame(dict(limits))
    _require_unique(frame, "the files of limits")
    for measure in MEASURES:
        if measure.name in _LIMIT_OF and measure.task in tables[MODEL]:
            yield _sample(measure, tables, frame)


def rows_of(sample: Sample) -> Iterator[EfficiencyRow]:
    """Yield the rows of a quantity: all depths, then the ranges of depth; both estimators of each.

    A range with fewer than ten events has a row without values.
    """
    yield from _rows_in(sample, None)
    for depth in itertools.pairwise(DEPTH_EDGES_CM):
        yield from _rows_in(sample.between(*depth), depth)


def expected_half_width(limit: Values) -> float:
    """Return the 68.27 % half width of residuals that are normal with these standard deviations."""
    if not len(limit):
        return math.nan

    def excess(half: float) -> float:
        return float(erf(half / (math.sqrt(2) * limit)).mean()) - COVERAGE

    found: float = brentq(excess, 0.1 * float(limit.min()), 10 * float(limit.max()))
    return found


def _sample(measure: Measure, tables: Tables, limits: pd.DataFrame) -> Sample:
    joined = _with_limits(tables[MODEL][measure.task], limits, measure.task)
    joined = joined.assign(**{MODEL: measure.residual(joined)})
    methods = [MODEL]
    for method, by_task in tables.items():
        if method not in (MODEL, TRAINING_MEAN) and measure.task in by_task:
            other = by_task[measure.task]
            _require_unique(other, f"the predictions of {method}, {measure.task}")
            joined = joined.merge(
                other[list(KEYS)].assign(**{method: measure.residual(other)}), on=list(KEYS)
            )
            methods.append(method)
    return Sample(
        quantity=measure.name,
        unit=measure.unit,
        residual={method: column(joined, method) for method in methods},
        limit=_limit(measure, joined),
        depth_cm=column(joined, "w"),
    )


def _with_limits(table: PredictionTable, limits: pd.DataFrame, task: str) -> PredictionTable:
    """Return the predictions that have a limit, with it; they must be of the same events."""
    _require_unique(table, f"the predictions of {task}")
    joined = table.merge(limits, on=list(KEYS))
    if not len(joined):
        raise DataError(
            f"none of the {len(table)} predicted events of {task} is among the {len(limits)} with "
            "a physical limit; name the files that the predictions were made from"
        )
    if "true_w" in joined and not _agree(joined, "true_w", "w", _SAME_CM):
        raise DataError(
            f"the predictions of {task} have run and event of the limits, but not their true "
            "depths: they are of other events; name the files that they were made from"
        )
    return joined


def _require_unique(table: pd.DataFrame, what: str) -> None:
    missing = [name for name in KEYS if name not in table]
    if missing:
        raise DataError(
            f"{what} have no column '{missing[0]}', by which events and their limits are matched"
        )
    again = table[table.duplicated(list(KEYS))]
    if len(again):
        run, event = again[list(KEYS)].iloc[0]
        raise DataError(f"{what} hold event {event} of run {run} twice; expected every event once")


def _agree(joined: pd.DataFrame, first: str, second: str, tolerance: float) -> bool:
    difference = np.abs(column(joined, first) - column(joined, second))
    return not bool((difference > tolerance).any())


def _limit(measure: Measure, joined: pd.DataFrame) -> Values:
    """Return the limits in the unit of the table."""
    branch, factor = _LIMIT_OF[measure.name]
    if measure.name == "time" and not _agree(joined, "true_timing", "t_FI", _SAME_NS):
        flight = column(joined, "t_FI") - column(joined, "true_timing")
        if flight.min() < _FLIGHT_NS[0] or flight.max() > _FLIGHT_NS[1]:
            raise DataError(
                "the true times of the predictions are neither those of the first interaction nor "
                "of the emission of the events with limits: they are of other events"
            )
        branch = _EMISSION
    limit = column(joined, branch) * factor
    return 100 * limit / column(joined, "true_energy") if measure.name == "energy" else limit


def _rows_in(sample: Sample, depth_cm: tuple[float, float] | None) -> Iterator[EfficiencyRow]:
    resamples = _Resamples(len(sample), content_seed(sample.limit))
    limits = {
        RMS: resamples.of(_rms(sample.limit), RMS),
        HALF_WIDTH: resamples.of(_expected_half_width(sample.limit), HALF_WIDTH),
    }
    for name, statistic in ((RMS, _rms), (HALF_WIDTH, _half_width)):
        found = {
            method: resamples.of(statistic(values), name)
            for method, values in sample.residual.items()
        }
        yield EfficiencyRow(
            quantity=sample.quantity,
            unit=sample.unit,
            estimator=name,
            depth_cm=depth_cm,
            n=len(sample),
            limit=limits[name].estimate(),
            resolution={method: one.estimate() for method, one in found.items()},
            efficiency={method: limits[name].over(one) for method, one in found.items()},
            pull={
                method: resamples.of(statistic(values / sample.limit), f"{name} of pull").estimate()
                for method, values in sample.residual.items()
            },
        )


class _Resamples:
    """Draws of n events with replacement, the same for all that is estimated of these events."""

    def __init__(self, n: int, seed: int) -> None:
        self._n = n
        self._rows = np.random.default_rng(seed).integers(0, max(n, 1), (N_RESAMPLES, n))

    def of(self, statistic: Statistic, name: str) -> Resampled:
        """Return an estimate with what the draws make of it; NaN for fewer than ten events."""
        draws, value = np.full(N_RESAMPLES, np.nan), math.nan
        if self._n >= MIN_EVENTS:
            value = float(statistic(np.arange(self._n)[None])[0])
            n_pieces = -(-self._rows.size // _LARGEST)
            draws = np.concatenate([statistic(r) for r in np.array_split(self._rows, n_pieces)])
        return Resampled(value=value, draws=draws, n=self._n, n_events=self._n, estimator=name)


def _rms(values: Values) -> Statistic:
    squares = values**2
    return lambda rows: np.sqrt(squares[rows].mean(axis=1))


def _half_width(values: Values) -> Statistic:
    ends = ((1 - COVERAGE) / 2, (1 + COVERAGE) / 2)

    def statistic(rows: Rows) -> Values:
        low, high = np.quantile(values[rows], ends, axis=1)
        half: Values = (high - low) / 2
        return half

    return statistic


def _expected_half_width(limit: Values) -> Statistic:
    """Return `expected_half_width` of drawn events, by interpolation around that of all."""
    half = expected_half_width(limit) * np.linspace(0.5, 1.5, _GRID)
    inside = erf(half / (math.sqrt(2) * limit[:, None])) / max(len(limit), 1)

    def statistic(rows: Rows) -> Values:
        counts = np.stack([np.bincount(one, minlength=len(limit)) for one in rows])
        return np.array([np.interp(COVERAGE, share, half) for share in counts @ inside])

    return statistic
