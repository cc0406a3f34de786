"""Cron expressions of five fields, checked field by field so that an error names the wrong one."""

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

_MONTHS: Final = [
    *("jan", "feb", "mar", "apr", "may", "jun"),
    *("jul", "aug", "sep", "oct", "nov", "dec"),
]
_WEEKDAYS: Final = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"]
_ITEM: Final = re.compile(r"(?:(?P<all>\*)|(?P<first>\w+)(?:-(?P<last>\w+))?)(?:/(?P<step>\d+))?")
_LONGEST_MONTH: Final = {2: 29, 4: 30, 6: 30, 9: 30, 11: 30}


class _Field(NamedTuple):
    """One of the five fields: what it counts, from where to where, and names of its numbers."""

    name: str
    low: int
    high: int
    names: Sequence[str] = ()


_FIELDS: Final = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 7, _WEEKDAYS),
)


def check_cron(text: str) -> str:
    """Return a cron expression with single spaces.

    Known are `*`, numbers, ranges `a-b`, lists `a,b`, steps `*/n` and `a-b/n`, and names of months
    and weekdays of three letters. 0 and 7 are Sunday.

    Raises
    ------
    ValueError
        If it has not five fields, if one of them cannot be read, or if the day never comes.
    """
    parts = text.split()
    if len(parts) != len(_FIELDS):
        raise ValueError(
            f"cron expression {text!r} has {len(parts)} fields, expected 5: minute, hour, day of "
            "the month, month, day of the week; '0 3 * * 1' is Mondays at 3:00"
        )
    values = [_values(field, part) for field, part in zip(_FIELDS, parts, strict=True)]
    days, months = values[2], values[3]
    if min(days) > max(_LONGEST_MONTH.get(month, 31) for month in months):
        raise ValueError(f"cron expression {text!r}: no such month has day {min(days)}")
    return " ".join(parts)


def _values(field: _Field, text: str) -> set[int]:
    """Return the numbers that one field names."""
    return {value for item in text.split(",") for value in _item_values(field, item)}


def _item_values(field: _Field, item: str) -> range:
    found = _ITEM.fullmatch(item)
    if found is None:
        raise ValueError(f"{field.name} {item!r} is none of *, a, a-b, */n, a-b/n, or a list")
    low, high = field.low, field.high
    if found["first"]:
        low = _number(field, found["first"])
        high = _number(field, found["last"]) if found["last"] else low
    step = int(found["step"] or 1)
    if low > high:
        raise ValueError(f"{field.name} {item!r}: {low} is after {high}")
    if found["step"] and (low == high or not 0 < step <= high - low):
        raise ValueError(f"{field.name} {item!r}: a step must fit into a range, or into *")
    return range(low, high + 1, step)


def _number(field: _Field, text: str) -> int:
    if text.lower() in field.names:
        return field.names.index(text.lower()) + field.low
    number = int(text) if text.isascii() and text.isdecimal() else -1
    if not field.low <= number <= field.high:
        names = f", or {', '.join(field.names)}" if field.names else ""
        raise ValueError(f"{field.name} {text!r} is not in {field.low}-{field.high}{names}")
    return number
