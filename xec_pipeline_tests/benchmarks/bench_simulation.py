"""Events per second of the toy detector, one thread, and beside a straightforward program if there
is one.

That program is `toy_sim.py` in the folder XEC_PROTOTYPES, by default `shared/prototypes` beside the
repository; without it only our own numbers are printed. CPU time is compared, in alternation.
"""

import importlib
import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from xec_pipeline.config.simulation import simulation_config
from xec_pipeline.simulation.dataset import simulate_dataset
from xec_pipeline.simulation.events import BATCH, Simulator
from xec_pipeline.simulation.light import one_thread

N_EVENTS = 512
N_ROUNDS = 5
_REPOSITORY = Path(__file__).resolve().parents[2]


def run() -> dict[str, float]:
    """Return events per CPU second, kB per event and the ratio to the other program."""
    results = _file_sizes()
    rivals: dict[str, Callable[[], object]] = {"ours": _simulate_ours()}
    prototype = _prototype()
    if prototype is not None:
        rivals["prototype"] = _simulate_prototype(prototype)
    with one_thread():
        seconds = _cpu_seconds(rivals)
    results["simulation: events per CPU second"] = N_EVENTS / seconds["ours"]
    if "prototype" in seconds:
        results["simulation: prototype, events per CPU second"] = N_EVENTS / seconds["prototype"]
        results["simulation: times faster than prototype"] = seconds["prototype"] / seconds["ours"]
    return results


def _simulate_ours() -> Callable[[], object]:
    simulator = Simulator(simulation_config("meg2", {"branches": "full", "rounding": False}))
    return lambda: list(simulator.blocks(np.random.SeedSequence(1), N_EVENTS))


def _prototype() -> Any:
    default = _REPOSITORY.parent / "shared" / "prototypes"
    folder = Path(os.environ.get("XEC_PROTOTYPES", default))
    if not (folder / "toy_sim.py").is_file():
        return None
    sys.path.insert(0, str(folder))
    try:
        return importlib.import_module("toy_sim")
    finally:
        sys.path.remove(str(folder))


def _simulate_prototype(prototype: Any) -> Callable[[], object]:
    toy = prototype.Toy()
    generator, rng = torch.Generator().manual_seed(1), np.random.default_rng(1)

    def simulate() -> None:
        truth = toy.gen_truth(N_EVENTS, rng)
        for start in range(0, N_EVENTS, BATCH):
            rows = truth[start : start + BATCH]
            charge, times, _ = toy.sample(rows, generator, rng)
            toy.event_arrays(rows, charge, times)

    return simulate


def _cpu_seconds(rivals: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median CPU time of each; they take turns, so other work hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    for round_number in range(N_ROUNDS + 1):
        for name, simulate in rivals.items():
            start = time.process_time()
            simulate()
            if round_number > 0:
                seconds[name].append(time.process_time() - start)
    return {name: float(np.median(values)) for name, values in seconds.items()}


def _file_sizes() -> dict[str, float]:
    results = {}
    for branches in ("min", "full"):
        config = simulation_config("meg2", {"branches": branches, "events": N_EVENTS})
        with tempfile.TemporaryDirectory() as folder:
            start = time.process_time()
            (path,) = simulate_dataset(config, Path(folder), progress=False)
            rate = N_EVENTS / (time.process_time() - start)
            size = path.stat().st_size
        results[f"simulation: {branches} file, kB per event"] = size / N_EVENTS / 1e3
        results[f"simulation: {branches} file, events per CPU second"] = rate
    return results
