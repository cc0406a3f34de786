"""Workers as processes: under torchrun or plain, watched, reported and never left behind.

The step process imports no torch. It starts the worker inside a Pipes session and watches it; see
`xec_pipeline.workers` for the other end. Retries belong to Dagster, so torchrun restarts nothing.
"""

import contextlib
import functools
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import dagster as dg
from pydantic import Field, field_validator

from xec_pipeline.defs.lineage import recorded_asset
from xec_pipeline.defs.resources.failures import (
    as_dagster_failure,
    read_error_file,
    read_launcher_report,
)
from xec_pipeline.defs.resources.gpus import visible_gpus
from xec_pipeline.defs.resources.pool_slot import wait_for_slot
from xec_pipeline.defs.resources.processes import Descendants
from xec_pipeline.lifetime import PARENT_PID_ENV
from xec_pipeline.workers.pipes import ERROR_FILE_ENV, as_line

Profile = Literal["train", "eval", "cpu"]


class Interrupted(dg.Failure):
    """The step was cancelled, or its run was ended from outside, while the worker still ran.

    Dagster would let the retry policy of the asset answer an interrupt; what a person stopped must
    not start again.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"{reason}; its worker was stopped", allow_retries=False)


class TorchDDP(dg.ConfigurableResource):  # type: ignore[type-arg]  # generic only inside Dagster
    """Starts workers: `train` under torchrun, `eval` so with one rank, `cpu` as a plain process."""

    nproc_per_node: str = Field(
        default="auto",
        description="Ranks per node; auto: one per visible GPU, else 1.",
    )
    nnodes: int = Field(default=1, ge=1, description="Machines that train together.")
    rdzv_endpoint: str = Field(
        default="", description="host:port of the first machine; needed for more than one."
    )
    backend: str = Field(
        default="auto", description="nccl (GPUs), gloo (CPU) or auto: nccl where there are GPUs."
    )
    threads_per_rank: int = Field(
        default=0, ge=0, description="CPU threads of each rank; 0 shares the cores out."
    )
    extra_env: dict[str, str] = Field(
        default_factory=dict, description="More environment variables for the workers."
    )
    grace_seconds: float = Field(
        default=10.0, ge=0, description="Time between asking a worker to end and killing it [s]."
    )
    poll_seconds: float = Field(
        default=0.25, gt=0, description="Time between looks at the worker [s]."
    )
    run_check_seconds: float = Field(
        default=10.0, gt=0, description="How often the worker's run is checked to be alive [s]."
    )
    log_dir: str = Field(default=".dagster/ranks", description="Folder of the ranks' logs.")

    @field_validator("nproc_per_node")
    @classmethod
    def _ranks_are_a_number_or_auto(cls, value: str) -> str:
        if value != "auto" and not (value.isdigit() and int(value) > 0):
            raise ValueError(f"nproc_per_node must be auto or a positive number, got {value!r}")
        return value

    @field_validator("backend")
    @classmethod
    def _backend_is_known(cls, value: str) -> str:
        if value not in {"auto", "nccl", "gloo"}:
            raise ValueError(f"backend must be auto, nccl or gloo, got {value!r}")
        return value

    def ranks(self, profile: Profile) -> int:
        """Return how many ranks a profile starts on this machine."""
        if profile != "train":
            return 1
        if self.nproc_per_node != "auto":
            return int(self.nproc_per_node)
        return max(1, 0 if self.backend == "gloo" else visible_gpus())

    def run(
        self,
        context: dg.AssetExecutionContext,
        module: str,
        arguments: Sequence[str] = (),
        *,
        profile: Profile = "train",
        extras: Mapping[str, Any] | None = None,
        env: Mapping[str, str] | None = None,
    ) -> dg.MaterializeResult[None]:
        """Run a worker to its end and return what it reported.

        Parameters
        ----------
        context
            Of the asset that is made.
        module, arguments
            The worker, as in `python -m module arguments`.
        profile
            How it is started.
        extras, env
            What the worker finds in its report's `extras`, beside what Dagster knows of the asset,
            and in its environment.

        Returns
        -------
        dagster.MaterializeResult
            Data version and metadata from rank 0.

        Raises
        ------
        dagster.Failure
            If a rank failed, with its traceback or signal; or if no result was reported.
        Interrupted
            If the step was cancelled, or its Dagster run was ended from outside.

        Notes
        -----
        Whatever ends this function, no process that it started is left.
        """
        wait_for_slot(context, functools.partial(_require_live_run, context))
        logs = self._folder(context)
        started = time.monotonic()
        with dg.open_pipes_session(
            context=context,
            extras={"asset": recorded_asset(context), **(extras or {})},
            context_injector=dg.PipesTempFileContextInjector(),
            message_reader=dg.PipesTempFileMessageReader(),
        ) as session:
            command = self._command(module, arguments, profile, logs)
            variables = {
                **self._environment(profile, logs),
                **(env or {}),
                **session.get_bootstrap_env_vars(),
            }
            code = self._watch(context, session, command, variables)
        if code != 0:
            raise as_dagster_failure(_read_failures(profile, logs, code), code, logs)
        return _reported(session, wall_s=time.monotonic() - started, ranks=self.ranks(profile))

    def _command(
        self, module: str, arguments: Sequence[str], profile: Profile, logs: Path
    ) -> list[str]:
        if profile == "cpu":
            return [sys.executable, "-m", module, *arguments]
        nodes = self.nnodes if profile == "train" else 1
        meeting = (
            ["--standalone"]
            if nodes == 1
            else ["--rdzv-backend=c10d", f"--rdzv-endpoint={self.rdzv_endpoint}"]
        )
        return [
            *(sys.executable, "-m", "xec_pipeline.workers.launch", str(logs / "report.json")),
            *(f"--nnodes={nodes}", f"--nproc-per-node={self.ranks(profile)}", *meeting),
            *("--max-restarts=0", "--tee=3", f"--log-dir={logs}", "--role=rank"),
            *("-m", module, *arguments),
        ]

    def _environment(self, profile: Profile, logs: Path) -> dict[str, str]:
        ranks = self.ranks(profile)
        threads = self.threads_per_rank or max(1, len(os.sched_getaffinity(0)) // ranks)
        variables = {
            **os.environ,
            "OMP_NUM_THREADS": str(threads),
            "PYTHONUNBUFFERED": "1",
            "TORCHELASTIC_LOG_LINE_PREFIX_TEMPLATE": "[${role_name}${rank}] ",
            PARENT_PID_ENV: str(os.getpid()),
            ERROR_FILE_ENV: str(logs / "error.json"),
        }
        if self.nnodes == 1 and sys.platform.startswith("linux"):
            variables.setdefault("GLOO_SOCKET_IFNAME", "lo")
        if self.backend == "gloo" or profile == "cpu":
            variables["CUDA_VISIBLE_DEVICES"] = ""
        return {**variables, **self.extra_env}

    def _folder(self, context: dg.AssetExecutionContext) -> Path:
        partition = context.partition_key if context.has_partition_key else "all"
        step = "-".join([*context.asset_key.path, partition, str(context.retry_number)])
        folder = Path(self.log_dir).absolute() / context.run.run_id[:8] / step
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _watch(
        self,
        context: dg.AssetExecutionContext,
        session: dg.PipesSession,
        command: list[str],
        variables: dict[str, str],
    ) -> int:
        """Run a command to its end while forwarding its messages; return its exit code."""
        worker = subprocess.Popen(command, env=variables)
        with _left_behind_is_stopped(context, worker, self.grace_seconds) as family:
            forwarded = 0
            next_check = time.monotonic() + self.run_check_seconds
            while worker.poll() is None:
                family.look()
                forwarded = _forward(context, session, forwarded)
                if time.monotonic() > next_check:
                    _require_live_run(context)
                    next_check = time.monotonic() + self.run_check_seconds
                time.sleep(self.poll_seconds)
        _forward(context, session, forwarded)
        return worker.returncode


@contextlib.contextmanager
def _left_behind_is_stopped(
    context: dg.AssetExecutionContext, worker: "subprocess.Popen[bytes]", grace_seconds: float
) -> Iterator[Descendants]:
    family = Descendants(worker.pid)
    try:
        yield family
    except (dg.DagsterExecutionInterruptedError, KeyboardInterrupt) as interrupt:
        raise Interrupted("cancelled") from interrupt
    finally:
        survivors = family.stop(grace_seconds)
        worker.wait()
        if survivors:
            context.log.error("processes that could not be stopped: %s", survivors)


def _require_live_run(context: dg.AssetExecutionContext) -> None:
    run = context.instance.get_run_by_id(context.run.run_id)
    if run is None or run.is_finished:
        state = run.status.value if run else "deleted"
        raise Interrupted(f"run {context.run.run_id} is {state}")


def _forward(context: dg.AssetExecutionContext, session: dg.PipesSession, forwarded: int) -> int:
    """Pass on what was reported since the last call: epochs as observations, progress as lines.

    The UI plots observations live. The worker sees to it that lines are few.
    """
    messages = session.get_custom_messages()
    for message in messages[forwarded:]:
        kind = message.get("kind") if isinstance(message, dict) else None
        if kind == "epoch":
            context.log_event(
                dg.AssetObservation(
                    asset_key=context.asset_key,
                    partition=context.partition_key if context.has_partition_key else None,
                    metadata=message["numbers"],
                )
            )
        elif kind == "progress":
            context.log.info(as_line(message["numbers"]))
    return len(messages)


def _read_failures(profile: Profile, logs: Path, code: int) -> list[Any]:
    if profile == "cpu":
        return read_error_file(logs / "error.json", code)
    return read_launcher_report(logs / "report.json")


def _reported(session: dg.PipesSession, **numbers: float) -> dg.MaterializeResult[None]:
    results = [
        result
        for result in session.get_results(implicit_materializations=False)
        if isinstance(result, dg.MaterializeResult)
    ]
    if len(results) != 1:
        raise dg.Failure(f"the worker ended well but reported {len(results)} results, expected one")
    metadata = {**(results[0].metadata or {}), **numbers}
    return results[0]._replace(metadata=metadata)
