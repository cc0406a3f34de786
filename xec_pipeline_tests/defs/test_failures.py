import json
from pathlib import Path

import pynvml
import pytest

from xec_pipeline.defs.resources.failures import (
    RankFailure,
    as_dagster_failure,
    read_error_file,
    read_launcher_report,
    root_cause,
)
from xec_pipeline.defs.resources.gpus import visible_gpus

GLOO = "RuntimeError: [../gloo/transport/tcp/pair.cc:534] Connection closed by peer"


def entry(text: str = "", **changes):
    data = {"message": {"message": text, "extraInfo": {"py_callstack": "Traceback ..."}}}
    return {
        "exit_code": 1,
        "signal": "",
        "pid": 1,
        "time": 100,
        "message": "<NONE>",
        "data": data if text else {},
        **changes,
    }


def read(tmp_path: Path, report: dict[int, dict[str, object]]) -> list[RankFailure]:
    path = tmp_path / "report.json"
    path.write_text(json.dumps(report))
    return read_launcher_report(path)


@pytest.mark.parametrize(
    ("report", "guilty"),
    [
        ({0: entry(GLOO, time=99), 1: entry("ValueError: odd")}, 1),
        ({0: entry(signal="SIGTERM", exit_code=-15), 1: entry(signal="SIGKILL", exit_code=-9)}, 1),
        ({0: entry(exit_code=143), 3: entry("ValueError: odd", time=120)}, 3),
        ({0: entry("ValueError: late", time=120), 2: entry("ValueError: first", time=101)}, 2),
        ({0: entry(GLOO), 1: entry(GLOO)}, 0),
    ],
)
def test_the_cause_is_no_symptom_and_the_earliest(tmp_path, report, guilty):
    assert root_cause(read(tmp_path, report)).rank == guilty


def test_a_rank_that_says_nothing_still_fails_with_words(tmp_path):
    failure = as_dagster_failure(read(tmp_path, {2: entry(message="")}), 1, tmp_path)
    assert failure.description == "rank 2 failed: exit code 1; the log of the step says more"


def test_no_report_at_all(tmp_path):
    failures = read_launcher_report(tmp_path / "absent.json")
    failure = as_dagster_failure(failures, -9, tmp_path)
    assert failure.description == ("rank -1 failed: launcher ended with exit code -9, no report")
    assert failure.allow_retries


def test_signal_of_a_plain_worker(tmp_path):
    (failure,) = read_error_file(tmp_path / "absent.json", -11)
    assert (failure.signal, failure.text) == ("SIGSEGV", "killed by SIGSEGV (exit code -11)")


@pytest.mark.parametrize(("allowed", "expected"), [(None, 4), ("", 0), ("-1", 0), ("0,2", 2)])
def test_gpus_hidden_by_the_environment_do_not_count(monkeypatch, allowed, expected):
    for name, found in {"nvmlInit": None, "nvmlDeviceGetCount": 4, "nvmlShutdown": None}.items():
        monkeypatch.setattr(pynvml, name, lambda found=found: found)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if allowed is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", allowed)
    assert visible_gpus() == expected


def test_no_driver_means_no_gpu(monkeypatch):
    def fail() -> None:
        raise pynvml.NVMLError_LibraryNotFound

    monkeypatch.setattr(pynvml, "nvmlInit", fail)
    assert visible_gpus() == 0
