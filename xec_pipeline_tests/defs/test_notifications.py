import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import dagster as dg
import pytest

from xec_pipeline.defs.automation import notifications
from xec_pipeline.defs.automation.notifications import failed_runs, failure, post
from xec_pipeline.errors import ConfigError


@pytest.fixture
def hook():
    """A web server that keeps what it is sent, and where it is."""
    received: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append({"type": self.headers["Content-Type"], **json.loads(body)})
            refuses = self.path == "/broken" or (self.path == "/once" and len(received) == 1)
            self.send_response(500 if refuses else 204)
            self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield received, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def context():
    """The failed run of a partitioned asset, as the sensor sees it."""

    @dg.asset(key=["regressor", "weights"], partitions_def=dg.StaticPartitionsDefinition(["demo"]))
    def weights() -> None:
        raise dg.Failure("rank 1 failed: ValueError: the loss is odd", allow_retries=False)

    with dg.DagsterInstance.ephemeral() as instance:
        job = dg.Definitions(
            [weights], jobs=[dg.define_asset_job("train", [weights])]
        ).resolve_job_def("train")
        result = job.execute_in_process(
            instance=instance, partition_key="demo", raise_on_error=False
        )
        yield dg.build_run_status_sensor_context(
            sensor_name="failed_runs",
            dagster_event=result.get_run_failure_event(),
            dagster_instance=instance,
            dagster_run=result.dagster_run,
        ).for_run_failure()


def test_a_failed_run_is_told_with_asset_partition_cause_and_link(context, monkeypatch):
    monkeypatch.setenv("XEC_UI_URL", "https://dagster.example.org/")
    told = failure(context)
    assert told["assets"] == ["regressor/weights"]
    assert told["partition"] == "demo"
    assert told["root_cause"] == "rank 1 failed: ValueError: the loss is odd"
    assert told["url"] == f"https://dagster.example.org/runs/{told['run_id']}"
    assert told["text"].startswith("regressor/weights [demo] failed: rank 1 failed")


def test_hook_gets_json_and_without_a_hook_there_is_only_the_log(context, hook, monkeypatch):
    received, url = hook
    monkeypatch.delenv("XEC_FAILURE_WEBHOOK", raising=False)
    monkeypatch.delenv("XEC_UI_URL", raising=False)
    failed_runs(context)
    assert received == []
    monkeypatch.setenv("XEC_FAILURE_WEBHOOK", f"{url}/hook")
    failed_runs(context)
    (told,) = received
    assert told["type"] == "application/json"
    assert told["job"] == "train"
    assert told["url"].startswith("http://127.0.0.1:3000/runs/")


def test_a_hook_that_comes_back_gets_the_message(hook, monkeypatch):
    received, url = hook
    waits: list[float] = []
    monkeypatch.setattr(notifications, "sleep", waits.append)
    post(f"{url}/once", {"text": "x"})
    assert [told["text"] for told in received] == ["x", "x"]
    assert waits == [1.0]


def test_runs_that_no_code_location_started_are_told_too(monkeypatch):
    told: list[dict[str, Any]] = []
    monkeypatch.setenv("XEC_FAILURE_WEBHOOK", "http://hook")
    monkeypatch.setattr(notifications, "post", lambda _hook, content: told.append(content))

    @dg.op
    def fail() -> None:
        raise dg.Failure("no room")

    @dg.job
    def launched() -> None:
        fail()

    repository = dg.Definitions(sensors=[failed_runs]).get_repository_def()
    with dg.DagsterInstance.ephemeral() as instance:
        cursor = None
        for _ in range(2):
            context = dg.build_sensor_context(
                instance,
                cursor,
                repository_def=repository,
                repository_name="that of the sensor",
            )
            cursor = failed_runs.evaluate_tick(context).cursor
            if not told:
                launched.execute_in_process(instance=instance, raise_on_error=False)
    assert [one["root_cause"] for one in told] == ["no room"]


def test_a_hook_that_refuses_or_is_not_there_is_an_error_of_the_sensor(hook, monkeypatch):
    monkeypatch.setattr(notifications, "sleep", lambda _seconds: None)
    _, url = hook
    with pytest.raises(OSError, match="500"):
        post(f"{url}/broken", {"text": "x"})
    with pytest.raises(OSError, match="refused"):
        post("http://127.0.0.1:9/hook", {"text": "x"})
    with pytest.raises(ConfigError, match="expected http"):
        post("file:///etc/passwd", {"text": "x"})
