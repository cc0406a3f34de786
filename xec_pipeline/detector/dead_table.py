"""Dead sensors of real runs by intervals of runs.

Intervals never overlap, and a run that is in none of them is unknown, not free of dead sensors.
"""

import bisect
import dataclasses
from collections.abc import Iterable, Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.detector.dead_channels import (
    dead_mask,
)
from xec_pipeline.errors import DataError

LAST_RUN: Final = 999_999_999
"""Largest run number that files may name."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeadInterval:
    """Runs with the same dead sensors."""

    run_first: int
    run_last: int
    """Belongs to the interval."""
    channels: tuple[int, ...]
    """Numbers of the dead sensors, ascending."""
    status_id: int | None = None
    """XECPMStatus_id, if the list comes from the database."""
    source: str = ""
    """Where the list comes from, in words."""

    def mask(self) -> NDArray[np.bool_]:
        """Return the mask, shape (4760,), True for a dead sensor."""
        return dead_mask(self.channels)

    def at(self, run: int) -> "DeadInterval":
        """Return the same dead sensors for one run alone."""
        return dataclasses.replace(self, run_first=run, run_last=run)

    @property
    def runs(self) -> str:
        """The runs as text: `430000`, `430000-430099`, or `all`."""
        if (self.run_first, self.run_last) == (0, LAST_RUN):
            return "all"
        last = f"-{self.run_last}" if self.run_last != self.run_first else ""
        return f"{self.run_first}{last}"


@dataclasses.dataclass(frozen=True)
class DeadTable:
    """Intervals that do not overlap.

    Parameters
    ----------
    name
        What messages call the table.
    intervals
        In any order; kept in ascending order.

    Raises
    ------
    DataError
        If two intervals overlap or one ends before it begins.
    """

    name: str
    intervals: tuple[DeadInterval, ...]

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.intervals, key=lambda interval: interval.run_first))
        object.__setattr__(self, "intervals", ordered)
        check_order([(interval, self.name) for interval in ordered])

    def of_run(self, run: int) -> DeadInterval:
        """Return the interval that a run is in.

        Raises
        ------
        DataError
            If it is in none; the message names the nearest.
        """
        place = bisect.bisect_right(self.intervals, run, key=lambda item: item.run_first) - 1
        if place < 0 or run > self.intervals[place].run_last:
            raise unknown_run(self.name, run, run, self.intervals)
        return self.intervals[place]

    def all_intervals(self) -> tuple[DeadInterval, ...]:
        """Return the intervals, as the other sources of dead sensors do."""
        return self.intervals

    def overlapping(self, other: DeadInterval) -> tuple[DeadInterval, ...]:
        """Return the intervals that share a run with `other`."""
        begin = bisect.bisect_left(self.intervals, other.run_first, key=lambda item: item.run_last)
        end = bisect.bisect_right(self.intervals, other.run_last, key=lambda item: item.run_first)
        return self.intervals[begin:end]

    def with_intervals(self, new: Iterable[DeadInterval]) -> "DeadTable":
        """Return a table in which `new` replaces whatever stood for its runs before.

        Raises
        ------
        DataError
            If the new intervals overlap.
        """
        added = DeadTable(f"runs to add to {self.name}", tuple(new))
        kept: list[DeadInterval] = []
        for old in self.intervals:
            parts = [old]
            for item in added.overlapping(old):
                parts = [rest for part in parts for rest in _outside(part, item)]
            kept += parts
        return DeadTable(self.name, tuple(merge_neighbours([*kept, *added.intervals])))


def merge_neighbours(intervals: Iterable[DeadInterval]) -> list[DeadInterval]:
    """Join intervals that follow one another without a gap and are equal in all but the runs."""
    merged: list[DeadInterval] = []
    for interval in sorted(intervals, key=lambda item: item.run_first):
        before = merged[-1] if merged else None
        if before is not None and interval.run_first == before.run_last + 1:
            joined = dataclasses.replace(before, run_last=interval.run_last)
            if joined == dataclasses.replace(interval, run_first=before.run_first):
                merged[-1] = joined
                continue
        merged.append(interval)
    return merged


def unknown_run(name: str, first: int, last: int, known: Iterable[DeadInterval]) -> DataError:
    """Return the error that says runs are in none of the `known` intervals, naming the nearest."""
    intervals = list(known)
    before = [item for item in intervals if item.run_last < first]
    after = [item for item in intervals if item.run_first > last]
    near = [f"{max(before, key=lambda item: item.run_last).runs} before"] if before else []
    near += [f"{min(after, key=lambda item: item.run_first).runs} after"] if after else []
    nearest = f"nearest: {', '.join(near)}" if near else "it knows no run at all"
    asked = f"run {first}" if first == last else f"the runs {first} to {last}"
    return DataError(
        f"{name}: nothing is known of {asked} ({nearest}); "
        "an unknown run is not a run without dead sensors"
    )


def check_order(placed: Iterable[tuple[DeadInterval, str]]) -> None:
    """Check intervals, each with the place where it stands.

    Raises
    ------
    DataError
        If one ends before it begins, or two overlap; the message begins with the place.
    """
    before: DeadInterval | None = None
    where_before = ""
    for interval, where in sorted(placed, key=lambda item: (item[0].run_first, item[0].run_last)):
        if interval.run_first > interval.run_last:
            raise DataError(
                f"{where}: run_first {interval.run_first} is after run_last {interval.run_last}"
            )
        if before is not None and interval.run_first <= before.run_last:
            raise DataError(
                f"{where}: runs {interval.runs} overlap with {before.runs} "
                f"({where_before}); expected every run in one interval"
            )
        before, where_before = interval, where


def _outside(old: DeadInterval, new: DeadInterval) -> Iterator[DeadInterval]:
    """Yield the parts of `old` before and after `new`."""
    if old.run_first < new.run_first:
        yield dataclasses.replace(old, run_last=min(old.run_last, new.run_first - 1))
    if old.run_last > new.run_last:
        yield dataclasses.replace(old, run_first=max(old.run_first, new.run_last + 1))
