"""What happens after a failed training."""

import os

import dagster as dg


def training_retries() -> dg.RetryPolicy:
    """Return the policy of trainings: XEC_RETRIES attempts more, none by default."""
    attempts = int(os.environ.get("XEC_RETRIES", "0"))
    return dg.RetryPolicy(max_retries=attempts, delay=10, backoff=dg.Backoff.EXPONENTIAL)
