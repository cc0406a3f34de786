"""Trainings that want the GPUs of a machine take turns; what needs none does not wait."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy

from xec_pipeline.defs import keys
from xec_pipeline.defs.resources.pool_slot import wait_for_slot

REPOSITORY = Path(__file__).parents[2]
RUN = Path(__file__).parent / "pool_run.py"
SECONDS = 2.0


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A working folder with the repository's dagster.yaml and a history without runs."""
    (tmp_path / "dagster.yaml").write_text((REPOSITORY / "dagster.yaml").read_text())
    return tmp_path


def start(home: Path, name: str, pool: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-W", "ignore", str(RUN), name, pool, str(SECONDS)]
    env = {**os.environ, "DAGSTER_HOME": str(home), "PYTHONPATH": str(REPOSITORY)}
    with (home / f"{name}.log").open("wb") as log:
        return subprocess.Popen(command, cwd=home, env=env, stdout=log, stderr=log)


def worked(home: Path, name: str) -> tuple[float, float]:
    """Return when a worker began and ended."""
    began, ended = map(float, (home / f"{name}.times").read_text().split())
    return began, ended


@pytest.mark.slow
def test_two_trainings_take_turns_and_other_work_goes_on(home, monkeypatch):
    monkeypatch.chdir(home)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.get() as instance:  # the tables are there before three want them
        assert instance.get_runs_count() == 0
    pools = {"first": keys.GPU_POOL, "second": keys.GPU_POOL, "figures": ""}
    runs = {name: start(home, name, pool) for name, pool in pools.items()}
    for name, run in runs.items():
        assert run.wait(timeout=100) == 0, (home / f"{name}.log").read_text()[-2000:]
    early, late = sorted((worked(home, "first"), worked(home, "second")))
    assert early[1] <= late[0], "one ended before the other began"
    assert worked(home, "figures")[0] < late[0], "what needs no GPU did not wait"
    waiting = "".join((home / f"{name}.log").read_text() for name in ("first", "second"))
    assert "blocked by limit for pool gpu" in waiting or "took the place in pool gpu too" in waiting


def test_a_step_whose_place_was_taken_by_another_waits_for_it(home, monkeypatch):
    monkeypatch.chdir(home)
    took: list[float] = []

    @dg.asset(pool=keys.GPU_POOL)
    def training(context: dg.AssetExecutionContext) -> None:
        storage = context.instance.event_log_storage
        other = ("another-run", "training")
        take = "UPDATE concurrency_slots SET run_id = :run, step_key = :step"
        with storage.index_connection() as connection:  # as a step does that began with this one
            connection.execute(sqlalchemy.text(take), {"run": other[0], "step": other[1]})
        leave = threading.Timer(2.0, storage.free_concurrency_slot_for_step, other)
        leave.start()
        began = time.monotonic()
        wait_for_slot(context, lambda: None)
        took.append(time.monotonic() - began)
        leave.join()

    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert dg.materialize([training], instance=instance).success
    assert took[0] > 1.9
