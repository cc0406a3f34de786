"""Small synthetic files that many tests share. Nothing here imports the simulation."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from xec_pipeline.config.data import DataConfig
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.config.tasks import TaskConfig, TasksConfig, TimingTaskConfig
from xec_pipeline.data.root_io import write_tree
from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline.data.shards import build_shards, open_shards

Arrays = dict[str, NDArray[Any]]

N_SENSORS = 4760
RADIUS_CM = 64.97
LIGHT_CM_PER_NS = 29.9792458
EVENTS_PER_FILE = 24


def make_events(n_events: int, seed: int = 0) -> Arrays:
    """Return events with the branches of a Monte Carlo file and a crude dependence on the truth.

    Light falls with the distance from a point, times grow with it; two sensors of each are dead.
    """
    rng = np.random.default_rng(seed)
    events = _truth(rng, n_events)
    events |= _identity(n_events, seed)
    events |= _sensors(rng, events)
    reco = rng.normal(scale=0.5, size=(n_events, 3)).astype("f4")
    events["uvwRecoFI"] = events["uvwTruth"] + reco
    events["energyReco"] = events["energyTruth"] * np.float32(1.01)
    return events


def _identity(n_events: int, seed: int) -> Arrays:
    return {
        "run": np.full(n_events, 1000 + seed, dtype="i4"),
        "event": np.arange(n_events, dtype="i4"),
    }


def _truth(rng: np.random.Generator, n_events: int) -> Arrays:
    uvw = rng.uniform([-20, -60, 0.5], [20, 60, 30], size=(n_events, 3))
    angle, radius = uvw[:, 1] / RADIUS_CM, RADIUS_CM + uvw[:, 2]
    xyz = np.stack([-radius * np.cos(angle), radius * np.sin(angle), uvw[:, 0]], axis=1)
    vertex = rng.normal(scale=[0.3, 0.3, 5.0], size=(n_events, 3))
    direction = (xyz - vertex) / np.linalg.norm(xyz - vertex, axis=1, keepdims=True)
    theta = np.degrees(np.arccos(direction[:, 2]))
    phi = np.degrees(np.arctan2(direction[:, 1], -direction[:, 0]))
    return {
        "energyTruth": rng.uniform(0.015, 0.06, n_events).astype("f4"),
        "timeTruth": rng.uniform(-10, 10, n_events).astype("f4"),
        "uvwTruth": uvw.astype("f4"),
        "xyzTruth": xyz.astype("f4"),
        "xyzVTX": vertex.astype("f4"),
        "emiVec": direction.astype("f4"),
        "emiAng": np.stack([theta, phi], axis=1).astype("f4"),
    }


def _sensors(rng: np.random.Generator, truth: Arrays) -> Arrays:
    n_events = len(truth["energyTruth"])
    place = np.random.default_rng(7).normal(size=(N_SENSORS, 3))
    place *= (80 / np.linalg.norm(place, axis=1))[:, None]
    distance = np.linalg.norm(truth["xyzTruth"][:, None] - place, axis=2)
    mean = 1e8 * truth["energyTruth"][:, None] / (distance**2 + 50)
    npho = mean + np.sqrt(mean) * rng.normal(size=mean.shape) - 1
    flight_ns = np.linalg.norm(truth["xyzTruth"] - truth["xyzVTX"], axis=1) / LIGHT_CM_PER_NS
    hit_ns = truth["timeTruth"] + flight_ns
    time_s = 1e-9 * (hit_ns[:, None] + distance / 12 + rng.normal(scale=0.3, size=mean.shape))
    npho, nphe, time_s = (a.astype("f4") for a in (npho, 0.12 * npho, time_s))
    rows = np.arange(n_events)[:, None]
    dead = rng.integers(0, N_SENSORS, size=(n_events, 2))
    for values in (npho, nphe, time_s):
        values[rows, dead] = 1e10
    return {"npho": npho, "nphe": nphe, "time": time_s} | relative_times(npho, nphe, time_s)


def relative_times(npho: NDArray[Any], nphe: NDArray[Any], time_s: NDArray[Any]) -> Arrays:
    """Return the derived branches, by a loop that follows the rule word by word."""
    relative = np.full_like(time_s, 1e10)
    minimum = np.full(len(time_s), 1e10, dtype="f4")
    first = np.full(len(time_s), -1, dtype="i2")
    for event, (light, times) in enumerate(zip(nphe, time_s, strict=True)):
        allowed = np.flatnonzero((light > 50) & (times < 9e9))
        if len(allowed):
            first[event] = allowed[np.argmin(times[allowed])]
            minimum[event] = times[first[event]]
        good = times < 9e9
        relative[event, good] = times[good] - minimum[event]
    valid = np.where(npho < 1e9, npho, -1)
    return {
        "relative_time": relative,
        "time_min_used": minimum,
        "ch_time_min": first,
        "npho_max_used": valid.max(axis=1),
        "ch_npho_max": valid.argmax(axis=1).astype("i2"),
    }


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell the times and numbers that tests recorded: times depend on the machine."""
    for report in terminalreporter.getreports("passed"):
        for name, value in report.user_properties:
            if name.endswith(" [s]"):
                terminalreporter.write_line(f"{name} {value:.1f}")
            elif name.startswith("processes "):
                terminalreporter.write_line(f"{name}: {value}")


@pytest.fixture(scope="session")
def event_factory() -> Callable[..., Arrays]:
    """Return `make_events(n_events, seed)`: arrays by branch name."""
    return make_events


@pytest.fixture(scope="session")
def tiny_root_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with two Monte Carlo files of 24 events; do not write into it."""
    folder = tmp_path_factory.mktemp("tiny_root")
    for number in (1, 2):
        events = make_events(EVENTS_PER_FILE, seed=number)
        write_tree(folder / f"MCGamma_{number:06d}.root", "tree", events)
    return folder


@pytest.fixture(scope="session")
def tiny_root_file(tiny_root_dir: Path) -> Path:
    """Return one Monte Carlo file of 24 events."""
    return tiny_root_dir / "MCGamma_000001.root"


@pytest.fixture(scope="session")
def tiny_shards(tiny_root_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> ShardSet:
    """Return the shards of `tiny_root_dir`, 48 events in two parts."""
    out_dir = tmp_path_factory.mktemp("tiny_shards")
    files = sorted(tiny_root_dir.glob("*.root"))
    build_shards(files, out_dir, DataConfig(), jobs=1, progress=False)
    return open_shards(out_dir)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Any]:
    """Return the URL of a PostgreSQL server of our own; tests that have none are skipped."""
    from xec_pipeline_tests import postgres

    programs = postgres.require_server()
    with postgres.running_server(programs) as url:
        yield url


@pytest.fixture
def four_tasks() -> RegressorRun:
    """Return a run with all four tasks and otherwise defaults."""
    on = TaskConfig(enabled=True)
    tasks = TasksConfig(angle=on, energy=on, timing=TimingTaskConfig(enabled=True), uvwFI=on)
    return RegressorRun(tasks=tasks)
