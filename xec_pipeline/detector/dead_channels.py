"""Which sensors are dead: from a text file, or drawn at random for studies.

Every function returns a mask over the 4760 sensors; True means dead.
"""

import re
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.detector.sensors import INNER_COLUMNS, INNER_ROWS, N_SENSORS
from xec_pipeline.errors import DataError, did_you_mean

BOARD_SENSORS = 22
"""Consecutive SiPMs of one row of the inner face that one electronics board reads."""
N_BOARDS = INNER_ROWS * INNER_COLUMNS // BOARD_SENSORS


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
    for number, line in enumerate(_lines(path), start=1):
        entry = line.partition("#")[0].strip()
        if not entry:
            continue
        sensor = _sensor_number(entry, f"{path}, line {number}")
        if sensor in line_of_sensor:
            raise DataError(
                f"{path}, line {number}: sensor {sensor} stands already in line "
                f"{line_of_sensor[sensor]}; expected every dead sensor once"
            )
        line_of_sensor[sensor] = number
    is_dead = np.zeros(N_SENSORS, dtype=np.bool_)
    is_dead[list(line_of_sensor)] = True
    return is_dead


def random_dead(fraction: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Return a mask with that fraction of all sensors dead, rounded to whole sensors.

    Raises
    ------
    ValueError
        If `fraction` is outside [0, 1].
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction must be between 0 and 1, got {fraction}")
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


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        folder = path.parent
        present = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
        near = did_you_mean(path.name, present)
        raise DataError(f"{path}: no such file of dead sensors{near}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a readable text file of dead sensors: {error}") from error


def _sensor_number(entry: str, where: str) -> int:
    number = int(entry) if _WHOLE_NUMBER.fullmatch(entry) else -1
    if not 0 <= number < N_SENSORS:
        raise DataError(
            f"{where}: '{entry}' is not a sensor number; "
            f"expected one whole number between 0 and {N_SENSORS - 1}"
        )
    return number
