"""A real `dg dev` on the loopback interface, asked through GraphQL, and provably ended."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import psutil

from xec_pipeline.defs.resources.processes import stop_processes

Found = TypeVar("Found")

LOCATION = {"repositoryName": "__repository__", "repositoryLocationName": "xec_pipeline"}
_MARK = "XEC_TEST_PROJECT"
_START_SECONDS = 240.0
_GRACE_SECONDS = 5.0
_LOADED = """{ locationStatusesOrError {
  ... on WorkspaceLocationStatusEntries { entries { name loadStatus } }
} }"""
_LAUNCH = """
mutation ($parameters: ExecutionParams!) {
  launchPipelineExecution(executionParams: $parameters) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
_STATUS = "query ($run: ID!) { runOrError(runId: $run) { ... on Run { status } } }"
_TIMES = "query ($run: ID!) { runOrError(runId: $run) { ... on Run { creationTime endTime } } }"
_STALE = """query ($key: AssetKeyInput!, $partition: String) {
  assetNodeOrError(assetKey: $key) { ... on AssetNode { staleStatus(partition: $partition) } }
}"""
_CODE = """query ($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) { ... on AssetNode { opVersion } }
}"""
_EVENTS = """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
  assetMaterializations(limit: 1) { timestamp }
  assetObservations { timestamp partition metadataEntries { label
    ... on IntMetadataEntry { intValue } } }
} } }"""
_RUNS = """{ runsOrError { ... on Runs { results { runId assetSelection { path } } } } }"""
_ENDED = {"SUCCESS", "FAILURE", "CANCELED"}


class DagsterDev:
    """`dg dev` with webserver and daemon in a project's folder.

    Attributes
    ----------
    url
        Of the UI.
    seconds_to_start
        From the command to a loaded code location [s].
    """

    def __init__(self, folder: Path) -> None:
        self._folder, self._log = folder, folder / "dg_dev.log"
        port = _free_port()
        self.url = f"http://127.0.0.1:{port}"
        command = [str(Path(sys.executable).with_name("dg")), "dev", "-w", "workspace.yaml"]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        command += ["--log-level", "warning"]
        self._started, self.seconds_to_start = time.monotonic(), 0.0
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=_environment(folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        """Wait for the UI to answer and the code location to be loaded."""
        self.wait_for(self._is_ready, _START_SECONDS, "dg dev is not ready")
        self.seconds_to_start = time.monotonic() - self._started

    def stop(self) -> list[int]:
        """End the server and all that it started; return the ids of survivors."""
        for _ in range(3):  # what is being stopped can start a process just then
            stop_processes(self.processes(), _GRACE_SECONDS)
        self._process.wait()
        return [process.pid for process in self.processes()]

    def processes(self, *words: str) -> list[psutil.Process]:
        """Return the living processes of this server whose command lines hold all `words`."""
        found = []
        for process in psutil.process_iter():
            try:
                is_ours = process.environ().get(_MARK) == str(self._folder)
                line = " ".join(process.cmdline())
            except psutil.Error:
                continue  # of another user, or ended meanwhile
            if is_ours and all(word in line for word in words):
                found.append(process)
        return found

    def log_tail(self, n_lines: int = 40) -> str:
        """Return the last lines that the server wrote."""
        lines = self._log.read_text(errors="replace").splitlines()
        return "\n".join(lines[-n_lines:])

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """Return the data of a GraphQL answer."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"{self.url}/graphql", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            content = json.load(answer)
        assert not content.get("errors"), content["errors"]
        return dict(content["data"])

    def launch(
        self,
        job: str,
        partition: str,
        *assets: str,
        resources: Mapping[str, Any] | None = None,
    ) -> str:
        """Start a job for a partition, its steps in one process; return the id of its run.

        Parameters
        ----------
        job, partition
            What to start.
        assets
            Keys of those to make, by default all of the job.
        resources
            Configuration of resources by name.
        """
        selection = [{"path": key.split("/")} for key in assets]
        parameters = {
            "selector": {
                **LOCATION,
                "jobName": job,
                **({"assetSelection": selection} if assets else {}),
            },
            "runConfigData": {
                "execution": {"config": {"in_process": {}}},
                "resources": {
                    name: {"config": config} for name, config in (resources or {}).items()
                },
            },
            "executionMetadata": {"tags": [{"key": "dagster/partition", "value": partition}]},
        }
        launched = self.ask(_LAUNCH, parameters=parameters)["launchPipelineExecution"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return str(launched["run"]["runId"])

    def status(self, run_id: str) -> str:
        """Return the status of a run."""
        return str(self.ask(_STATUS, run=run_id)["runOrError"]["status"])

    def seconds_of_run(self, run_id: str) -> float:
        """Return how long a run took that has ended, from its request on."""
        run = self.ask(_TIMES, run=run_id)["runOrError"]
        return float(run["endTime"]) - float(run["creationTime"])

    def stale(self, asset: str, partition: str | None = None) -> str:
        """Return whether an asset, or a partition of it, is FRESH, STALE or MISSING."""
        answer = self.ask(_STALE, key={"path": asset.split("/")}, partition=partition)
        return str(answer["assetNodeOrError"]["staleStatus"])

    def code_version(self, asset: str) -> str:
        """Return the version of the code that makes an asset."""
        answer = self.ask(_CODE, key={"path": asset.split("/")})
        return str(answer["assetNodeOrError"]["opVersion"])

    def observations(self, asset: str) -> list[dict[str, Any]]:
        """Return the observations of an asset, oldest first: timestamp [ms], partition, numbers."""
        node = self.ask(_EVENTS, key={"path": asset.split("/")})["assetNodeOrError"]
        return [_observation(found) for found in reversed(node["assetObservations"])]

    def made_at(self, asset: str) -> float:
        """Return when an asset was made last [ms]."""
        node = self.ask(_EVENTS, key={"path": asset.split("/")})["assetNodeOrError"]
        return float(node["assetMaterializations"][0]["timestamp"])

    def made_by_runs(self) -> dict[str, list[str]]:
        """Return the keys of the assets that each run was to make, by run, newest first."""
        runs = self.ask(_RUNS)["runsOrError"]["results"]
        return {
            run["runId"]: ["/".join(key["path"]) for key in run["assetSelection"] or ()]
            for run in runs
        }

    def wait_for_run(self, run_id: str, seconds: float = 400) -> None:
        """Wait for a run to end well."""
        ended = self.wait_for(
            lambda: self.status(run_id) in _ENDED and self.status(run_id),
            seconds,
            f"run {run_id} has not ended",
        )
        assert ended == "SUCCESS", f"run {run_id}: {ended}\n{self.log_tail()}"

    def wait_for(self, look: Callable[[], Found], seconds: float, otherwise: str) -> Found:
        """Return what `look` finds as soon as it is true; fail after so many seconds."""
        end = time.monotonic() + seconds
        while not (found := look()):
            assert self._process.poll() is None, f"dg dev ended\n{self.log_tail()}"
            assert time.monotonic() < end, f"{otherwise} after {seconds} s\n{self.log_tail()}"
            time.sleep(0.25)
        return found

    def _is_ready(self) -> bool:
        try:
            entries = self.ask(_LOADED)["locationStatusesOrError"]["entries"]
        except OSError:
            return False
        return [entry["loadStatus"] for entry in entries] == ["LOADED"]


def _observation(found: Mapping[str, Any]) -> dict[str, Any]:
    numbers = {
        entry["label"]: entry["intValue"]
        for entry in found["metadataEntries"]
        if "intValue" in entry
    }
    return {
        "timestamp": float(found["timestamp"]),
        "partition": found["partition"],
        **numbers,
    }


def _environment(folder: Path) -> Mapping[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in {"XEC_RUNS", "MLFLOW_TRACKING_URI", "XEC_RETRIES", "XEC_CODE_URL"}
    }
    return {
        **kept,
        "PYTHONPATH": str(folder),
        "DAGSTER_HOME": str(folder),
        "XEC_NPROC": "1",
        "XEC_BACKEND": "gloo",
        "XEC_SENSOR_SECONDS": "4",
        "XEC_FILE_AGE": "0",
        "DAGSTER_GRPC_TIMEOUT_SECONDS": "300",
        _MARK: str(folder),
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
