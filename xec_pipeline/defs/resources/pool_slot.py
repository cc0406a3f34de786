"""A step in a pool works only while it has its place there.

On SQLite, Dagster finds a free place and takes it in two statements. Two steps that begin in the
same moment then both take the same one, and the later overwrites the earlier. Two trainings would
share the GPUs.
"""

import time
from collections.abc import Callable
from typing import Final

import dagster as dg

_SETTLE_SECONDS: Final = 0.5
"""After this long, whoever overwrites a place has done so."""
_POLL_SECONDS: Final = 1.0


def wait_for_slot(context: dg.AssetExecutionContext, check: Callable[[], None]) -> None:
    """Return once the step has its place in its pool; at once if it is in none.

    Parameters
    ----------
    context
        Of the step.
    check
        Called again and again while the step waits; may raise to end it.
    """
    pool, storage = context.op_def.pool, context.instance.event_log_storage
    if pool is None or pool not in storage.get_concurrency_keys():
        return
    step_key = context.get_step_execution_context().step.key
    time.sleep(_SETTLE_SECONDS)
    is_told = False
    while not storage.claim_concurrency_slot(pool, context.run.run_id, step_key).is_claimed:
        if not is_told:
            context.log.info("another step took the place in pool %s too; waiting for it", pool)
        is_told = True
        check()
        time.sleep(_POLL_SECONDS)
