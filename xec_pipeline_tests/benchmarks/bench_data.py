"""Shards beside straightforward reading of ROOT files: events per second, both in one run."""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
import uproot

from xec_pipeline.config.data import DataConfig
from xec_pipeline.data.dataset import EventBatches
from xec_pipeline.data.root_io import write_tree
from xec_pipeline.data.shards import build_shards, open_shards

N_EVENTS = 4000
BATCH = 256
ROUNDS = 3


def run() -> dict[str, float]:
    """Return events per second and ratios."""
    with tempfile.TemporaryDirectory() as name:
        path = _write_events(Path(name) / "events.root")
        shard_dir = Path(name) / "shards"
        started = time.perf_counter()
        build_shards([path], shard_dir, DataConfig(), jobs=1, progress=False)
        build_seconds = time.perf_counter() - started
        batches = EventBatches(open_shards(shard_dir), batch_size=BATCH)
        reference, shards = [], []
        for number in range(ROUNDS):
            reference.append(_rate(partial(_read_root, path)))
            shards.append(_rate(partial(_read_shards, batches, number)))
    return {
        "straightforward ROOT reading [events/s]": float(np.median(reference)),
        "shards, shuffled, decoded to float32 [events/s]": float(np.median(shards)),
        "ratio": float(np.median(np.divide(shards, reference))),
        "building shards, one process [events/s]": N_EVENTS / build_seconds,
    }


def _rate(read: Callable[[], int]) -> float:
    started = time.perf_counter()
    n_events = read()
    return n_events / (time.perf_counter() - started)


def _write_events(path: Path) -> Path:
    """Write events whose numbers compress about as well as real ones."""
    rng = np.random.default_rng(0)
    mean = 10 ** rng.uniform(0, 4, size=4760)
    npho = rng.poisson(0.12 * mean, size=(N_EVENTS, 4760)) / 0.12 + rng.normal(size=(N_EVENTS, 1))
    time_s = 1e-9 * (rng.uniform(0, 15, size=4760) + rng.normal(scale=0.3, size=npho.shape))
    columns = {"npho": npho.astype("f4"), "relative_time": time_s.astype("f4")}
    return write_tree(path, "tree", columns)


def _read_shards(batches: EventBatches, epoch: int) -> int:
    return sum(len(batch) for batch in batches.epoch(epoch))


def _read_root(path: Path) -> int:
    """Read, mask, stack and cut into batches, as a first version of a loader does."""
    n_events = 0
    steps = uproot.iterate(
        {str(path): "tree"}, ["npho", "relative_time"], library="np", step_size=4000
    )
    for arrays in steps:
        npho = arrays["npho"].astype("float32")
        time_s = arrays["relative_time"].astype("float32")
        npho = np.where(np.isnan(npho) | (npho > 9e9), np.nan, npho)
        time_s = np.where(np.isnan(time_s) | (np.abs(time_s) > 9e9), np.nan, time_s)
        events = torch.from_numpy(np.stack([npho, time_s], axis=-1))
        order = torch.randperm(len(events))
        for first in range(0, len(events), BATCH):
            n_events += len(events[order[first : first + BATCH]])
    return n_events
