"""Who an event is: what masks are drawn from, and what tells events apart in tables."""

import logging

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.data.shard_set import ShardSet

_log = logging.getLogger(__name__)


def event_identity(shards: ShardSet) -> dict[str, NDArray[np.int64]]:
    """Return the columns `run` and `event` of all events, (n_events,) each.

    Files may lack them, or hold -1. Then an event is called by the number of its file in the
    sample, and by its place there, so that no two events are the same; the log says so.
    """
    run, event, source, entry = (
        np.asarray(shards.columns[name]).astype(np.int64)
        for name in ("run", "event", "source", "entry")
    )
    is_unknown = (run < 0) | (event < 0)
    if is_unknown.any():
        _log.warning(
            "%s: %d of %d events have no run and event number; they are called by file and entry",
            shards.path,
            int(is_unknown.sum()),
            shards.n_events,
        )
    return {
        "run": np.where(is_unknown, source, run),
        "event": np.where(is_unknown, entry, event),
    }
