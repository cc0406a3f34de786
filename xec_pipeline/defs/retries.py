"""What happens after a failed step."""

import os
from collections.abc import Mapping
from typing import Final

import dagster as dg

from xec_pipeline.errors import ConfigError

_VARIABLE: Final = "XEC_RETRIES"

INTERRUPTED_BUILD: Final[Mapping[str, str]] = {
    "dagster/max_retries": "2",
    # What failed in a step was tried again there; wrong data stay wrong.
    "dagster/retry_on_asset_or_op_failure": "false",
    # After a reboot nobody tells that the process is gone, so a day [s] is the end of it.
    "dagster/max_runtime": "86400",
}
"""Tags of a build of shards: it starts again if its process was killed, or the machine went down.

A build that a person cancelled stays so.
"""


def training_retries() -> dg.RetryPolicy:
    """Return the policy of trainings: XEC_RETRIES attempts more, none by default."""
    return dg.RetryPolicy(max_retries=_attempts(), delay=10, backoff=dg.Backoff.EXPONENTIAL)


def figure_retries() -> dg.RetryPolicy:
    """Return the policy of figures: an automatic run that failed is not asked for again."""
    return dg.RetryPolicy(max_retries=1, delay=5)


def shard_retries() -> dg.RetryPolicy:
    """Return the policy of shards: a sensor asks for them once; a disk may come back meanwhile."""
    return dg.RetryPolicy(max_retries=2, delay=60, backoff=dg.Backoff.EXPONENTIAL)


def _attempts() -> int:
    text = os.environ.get(_VARIABLE, "0")
    if not (text.isascii() and text.isdecimal()):
        raise ConfigError(f"environment variable {_VARIABLE} is {text!r}: expected a number from 0")
    return int(text)
