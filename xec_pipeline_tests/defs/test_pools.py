"""Trainings that want the GPUs of a machine take turns; what needs none does not wait."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from xec_pipeline.defs import keys

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
    assert "blocked by limit for pool gpu" in waiting
