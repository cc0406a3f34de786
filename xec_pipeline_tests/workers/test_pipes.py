import json
import logging
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

from xec_pipeline.errors import ConfigError
from xec_pipeline.workers import pipes


class Recorder:
    """Stands for the Pipes context; keeps what is reported."""

    def __init__(self) -> None:
        self.messages: list[dict[str, object]] = []
        self.results: list[dict[str, object]] = []

    def report_custom_message(self, message):
        json.dumps(message, allow_nan=False)
        self.messages.append(message)

    def report_asset_materialization(self, **result):
        json.dumps(result["metadata"], allow_nan=False)
        self.results.append(result)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def test_by_hand_it_reports_to_the_log(caplog):
    caplog.set_level(logging.INFO)
    with pipes.open_report() as report:
        assert dict(report.extras) == {}
        report.epoch(epoch=1, loss=0.123456789)
        report.log("a sentence")
        report.result({"events": 3}, "v1")
    assert caplog.messages == ["epoch 1  loss 0.12346", "a sentence", "data version v1: events 3"]


def test_other_ranks_are_silent(caplog, recorder):
    report = pipes.Report(1, pipes=recorder)
    report.epoch(epoch=1)
    report.progress(step=1)
    report.log("a sentence")
    report.result({}, "v1")
    assert (caplog.messages, recorder.messages, recorder.results) == ([], [], [])


def test_progress_is_thinned_out_and_epochs_are_not(recorder, monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    report = pipes.Report(0, pipes=recorder)
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    for second in range(1000, 1600):  # a step in each second, an epoch in each 250
        now = float(second)
        report.progress(second=second)
        if second % 250 == 249:
            report.epoch(second=second)
    heard = [(message["kind"], message["numbers"]["second"]) for message in recorder.messages]
    assert heard == [
        *(("progress", second) for second in (1000, 1060, 1120, 1180, 1240)),
        ("epoch", 1249),
        *(("progress", second) for second in (1309, 1369, 1429, 1489)),
        ("epoch", 1499),
        ("progress", 1559),
    ]
    assert len(caplog.messages) == len(heard)


def test_result_survives_json(recorder, tmp_path):
    metadata = {
        "path": tmp_path / "model.pth",
        "loss": np.float32(0.5),
        "undefined": float("nan"),
        "list": [1, float("inf")],
        "nested": {"n": np.int64(3), "where": Path("x")},
    }
    pipes.Report(0, pipes=recorder).result(metadata, "v1")
    (result,) = recorder.results
    assert result["data_version"] == "v1"
    assert result["metadata"] == {
        "path": {"raw_value": str(tmp_path / "model.pth"), "type": "path"},
        "loss": 0.5,
        "undefined": "nan",
        "list": [1, "inf"],
        "nested": {"n": 3, "where": "x"},
    }


@pytest.mark.parametrize(("error", "is_final"), [(ConfigError("bad"), True), (KeyError(1), False)])
def test_error_file_says_what_happened_and_if_it_will_again(tmp_path, monkeypatch, error, is_final):
    path = tmp_path / "logs" / "error.json"
    monkeypatch.setenv(pipes.ERROR_FILE_ENV, str(path))
    with pytest.raises(type(error)), pipes.open_report():
        raise error
    message = json.loads(path.read_text())["message"]
    assert message["message"].startswith(type(error).__name__)
    assert "test_pipes.py" in message["extraInfo"]["py_callstack"]
    assert message["extraInfo"]["is_final"] is is_final


def test_worker_of_a_dead_parent_does_not_start():
    code = "from xec_pipeline.lifetime import die_with_parent; die_with_parent()"
    done = subprocess.run([sys.executable, "-c", code], env={"XEC_PARENT_PID": "1"}, check=False)
    assert done.returncode == 143


POOL = """
import multiprocessing, os, sys, time
from concurrent.futures import ProcessPoolExecutor
from xec_pipeline.lifetime import start_in_pool

if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, context, start_in_pool, (os.getpid(), int)) as pool:
        ids = [pool.submit(os.getpid) for _ in range(2)]
        print(*{found.result() for found in ids}, flush=True)
        time.sleep(600)
"""


def test_a_pool_ends_with_the_worker_that_opened_it(tmp_path):
    script = tmp_path / "opens_a_pool.py"
    script.write_text(POOL)
    worker = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    with worker:
        assert worker.stdout is not None
        children = [psutil.Process(int(pid)) for pid in worker.stdout.readline().split()]
        assert children
        assert all(child.is_running() for child in children)
        worker.kill()
    _, alive = psutil.wait_procs(children, timeout=10)
    assert alive == []


def test_files_that_were_made_are_told_with_their_size(recorder, tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a.bin").write_bytes(b"12345")
    table = tmp_path / "table.csv"
    table.write_bytes(b"123")
    metadata = {"folder": tmp_path / "parts", "csv": table, "again": table, "input": "other.csv"}
    pipes.Report(0, pipes=recorder).result(metadata, "v1")
    assert recorder.results[0]["metadata"]["size_bytes"] == 8
