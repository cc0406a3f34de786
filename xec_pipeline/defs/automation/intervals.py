"""How often sensors look."""

import os
from typing import Final

from xec_pipeline.errors import ConfigError

_VARIABLE: Final = "XEC_SENSOR_SECONDS"


def sensor_seconds(usual: int) -> int:
    """Return the time between two looks of a sensor [s]; XEC_SENSOR_SECONDS wins over `usual`."""
    text = os.environ.get(_VARIABLE, str(usual))
    if not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise ConfigError(f"environment variable {_VARIABLE} is {text!r}: expected seconds from 1")
    return int(text)
