import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from xec_pipeline.defs.retries import training_retries
from xec_pipeline.errors import ConfigError
from xec_pipeline_tests.ui.project import TINY, TOYS, Project

KILLED_RUN = Path(__file__).parent / "killed_run.py"
EPOCHS = 5


def test_attempts_come_from_the_environment(monkeypatch):
    monkeypatch.delenv("XEC_RETRIES", raising=False)
    assert training_retries().max_retries == 0
    monkeypatch.setenv("XEC_RETRIES", "3")
    assert training_retries().max_retries == 3


@pytest.mark.parametrize("text", ["two", "-1", "1.5", "", "²"])
def test_a_typing_error_names_the_variable(monkeypatch, text):
    monkeypatch.setenv("XEC_RETRIES", text)
    with pytest.raises(ConfigError, match=rf"XEC_RETRIES is '{text}': expected a number from 0"):
        training_retries()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_training_whose_rank_was_killed_goes_on_from_its_last_checkpoint(tmp_path):
    project = Project(tmp_path)
    path = tmp_path / f"runs/regressor/{TINY}.yaml"
    tree = yaml.safe_load(path.read_text())
    tree["training"]["epochs"] = EPOCHS
    tree["mae"] = None
    path.write_text(yaml.safe_dump(tree))
    env = {name: value for name, value in os.environ.items() if name != "XEC_RUNS"}
    env |= {"DAGSTER_HOME": str(project.folder), "PYTHONPATH": str(project.folder)}
    env |= {"XEC_RETRIES": "1", "XEC_NPROC": "1"}
    datasets = [name.replace("/", ".") for name in TOYS]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(KILLED_RUN), TINY, *datasets],
        cwd=project.folder,
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["begun_again"] == 1
    assert told["made"] == ["regressor/weights"]
    assert told["epochs"].count(1) == 1, "it went on"
    assert told["epochs"][-1] == EPOCHS
    # The last epoch before the end may be lost, or told twice.
    assert abs(len(told["epochs"]) - EPOCHS) <= 1
