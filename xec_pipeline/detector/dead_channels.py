"""Which sensors are dead: in a text file, or drawn at random for studies.

A mask runs over the 4760 sensors; True means dead.
"""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.atomic import replacing
from xec_pipeline.detector.sensors import INNER_COLUMNS, INNER_ROWS, N_SENSORS
from xec_pipeline.errors import DataError, did_you_mean

BOARD_SENSORS = 22
"""Consecutive SiPMs of one row of the inner face that one electronics board reads."""
N_BOARDS = INNER_ROWS * INNER_COLUMNS // BOARD_SENSORS
BOARD_SHARE: Final = 0.5
"""Share of the dead sensors of a `study_pattern` that lie on dead boards, as far as boards fit."""

# int() alone would also take "1_000", "+5" and digits of other scripts.
_WHOLE_NUMBER = re.compile(r"[0-9]{1,9}")


def read_dead_file(path: Path | str) -> NDArray[np.bool_]:
    """Return the sensors that a text file lists as dead.

    Parameters
    ----------
    path
        One sensor number per line; from `#` to the end of the line is comment. A file without
        numbers means that no sensor is dead.

    Returns
    -------
    ndarray
        Mask, shape (4760,).

    Raises
    ------
    DataError
        If the file cannot be read, or a line is not one number between 0 and 4759, or a number
        comes twice. The message names file and line.
    """
    path = Path(path)
    line_of_sensor: dict[int, int] = {}
    for number, line in enumerate(read_lines(path), start=1):
        entry = line.partition("#")[0].strip()
        if not entry:
            continue
        sensor = sensor_number(entry, f"{path}, line {number}")
        if sensor in line_of_sensor:
            raise DataError(
                f"{path}, line {number}: sensor {sensor} stands already in line "
                f"{line_of_sensor[sensor]}; expected every dead sensor once"
            )
        line_of_sensor[sensor] = number
    return dead_mask(line_of_sensor)


def write_dead_file(path: Path | str, is_dead: NDArray[np.bool_], header: Iterable[str]) -> Path:
    """Write the dead sensors as a text file that `read_dead_file` reads.

    Parameters
    ----------
    path
        New file; an old one is replaced.
    is_dead
        Mask, shape (4760,).
    header
        Lines of comment that stand before the sensor numbers, without their `#`.

    Raises
    ------
    OutputError
        If the disk is full.
    """
    path = Path(path)
    # A line break inside a comment would end it and begin a sensor number.
    comments = [f"# {' '.join(line.split())}" for line in header]
    lines = [*comments, *map(str, np.flatnonzero(is_dead).tolist())]
    with replacing(path) as partial:
        partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def dead_mask(sensors: Iterable[int]) -> NDArray[np.bool_]:
    """Return the mask, shape (4760,), with the given sensors dead."""
    is_dead = np.zeros(N_SENSORS, dtype=np.bool_)
    is_dead[list(sensors)] = True
    return is_dead


def random_dead(fraction: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return a mask with that fraction of all sensors dead, rounded to whole sensors.

    Raises
    ------
    ValueError
        If `fraction` is outside [0, 1].
    """
    _check_fraction(fraction)
    is_dead = np.zeros(N_SENSORS, dtype=np.bool_)
    count = round(fraction * N_SENSORS)
    is_dead[rng.choice(N_SENSORS, size=count, replace=False)] = True
    return is_dead


def dead_boards(n_boards: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return a mask with whole electronics boards of the inner face dead.

    Parameters
    ----------
    n_boards
        How many of the 186 boards; each reads 22 neighbouring sensors, half of a row.
    rng
        Source of the choice.

    Returns
    -------
    ndarray
        Mask, shape (4760,).

    Raises
    ------
    ValueError
        If there are not so many boards.
    """
    if not 0 <= n_boards <= N_BOARDS:
        raise ValueError(f"n_boards must be between 0 and {N_BOARDS}, got {n_boards}")
    boards = rng.choice(N_BOARDS, size=n_boards, replace=False)
    is_dead = np.zeros(N_SENSORS, dtype=np.bool_)
    is_dead[(boards[:, None] * BOARD_SENSORS + np.arange(BOARD_SENSORS)).ravel()] = True
    return is_dead


def study_pattern(fraction: float, seed: int) -> NDArray[np.bool_]:
    """Return a pattern of dead sensors as real failures look: whole boards and single sensors.

    Of the `fraction * 4760` dead sensors, half lie on dead boards (as many boards of 22
    neighbouring sensors of the inner face as fit into that half); the rest is drawn from all other
    sensors, every one with the same probability. At 3 % these are 3 boards with 66 sensors, and 77
    single ones. Single sensors alone would flatter an inpainter: a neighbour would nearly always be
    alive.

    Parameters
    ----------
    fraction
        Share of all sensors that is dead, rounded to whole sensors.
    seed
        Decides the pattern. Patterns of one seed do not contain one another.

    Returns
    -------
    ndarray
        Mask, shape (4760,).

    Raises
    ------
    ValueError
        If `fraction` is outside [0, 1].
    """
    _check_fraction(fraction)
    rng = np.random.default_rng(seed)
    count = round(fraction * N_SENSORS)
    is_dead = dead_boards(int(BOARD_SHARE * count) // BOARD_SENSORS, rng)
    alive = np.flatnonzero(~is_dead)
    is_dead[rng.choice(alive, size=count - int(is_dead.sum()), replace=False)] = True
    return is_dead


def read_lines(path: Path, encoding: str = "utf-8") -> list[str]:
    """Return the lines of a text file about dead sensors.

    Raises
    ------
    DataError
        If it cannot be read; a missing file's nearest names are given.
    """
    try:
        return path.read_text(encoding=encoding).splitlines()
    except (FileNotFoundError, NotADirectoryError):
        folder = path.parent
        present = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        near = did_you_mean(path.name, present)
        raise DataError(f"{path}: no such file of dead sensors{near}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable text file of dead sensors: {error}") from error


def sensor_number(entry: str, where: str) -> int:
    """Return the sensor number that a text states.

    Raises
    ------
    DataError
        If it is not one between 0 and 4759; the message begins with `where`.
    """
    number = whole_number(entry)
    if number is None or number >= N_SENSORS:
        raise DataError(
            f"{where}: '{entry}' is not a sensor number; "
            f"expected one whole number between 0 and {N_SENSORS - 1}"
        )
    return number


def whole_number(text: str) -> int | None:
    """Return the whole number that a text of 1 to 9 ASCII digits states, or None."""
    return int(text) if _WHOLE_NUMBER.fullmatch(text) else None


def _check_fraction(fraction: float) -> None:
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction must be between 0 and 1, got {fraction}")
