"""From what a dead worker left behind to the one sentence that says why it died."""

import dataclasses
import json
import re
from collections.abc import Mapping
from pathlib import Path
from signal import SIGTERM, Signals
from typing import Any

import dagster as dg

# What a healthy rank says after another one died.
_SYMPTOM = re.compile(
    r"connection (closed|reset|refused)|broken pipe|read error|recvbytes|socket timeout"
    r"|NCCL (error|communicator)|DistBackendError|gloo",
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RankFailure:
    """How one rank ended.

    Attributes
    ----------
    rank
        Its number; -1 for the launcher itself.
    text
        The exception, or the signal and exit code.
    traceback
        Where it was raised; empty for a signal.
    signal
        Name of the signal that killed it, or empty.
    exit_code
        Of its process; negative for a signal.
    time
        Seconds since 1970, 0 if unknown.
    is_final
        True for an error that will come again, such as a wrong configuration.
    """

    rank: int
    text: str
    traceback: str = ""
    signal: str = ""
    exit_code: int = 1
    time: int = 0
    is_final: bool = False

    @property
    def is_symptom(self) -> bool:
        """True if the rank ended because another one did."""
        obeyed = self.exit_code in {-SIGTERM, 128 + SIGTERM}
        return obeyed or bool(_SYMPTOM.search(self.text))


def read_launcher_report(path: Path) -> list[RankFailure]:
    """Return the failures that `xec_pipeline.workers.launch` reported; none without a report."""
    if not path.is_file():
        return []
    report = json.loads(path.read_text())
    return [_from_report(int(rank), entry) for rank, entry in report.items()]


def read_error_file(path: Path, exit_code: int) -> list[RankFailure]:
    """Return the failure of a worker without ranks; a negative exit code is a signal."""
    data = json.loads(path.read_text()) if path.is_file() else {}
    name = Signals(-exit_code).name if exit_code < 0 else ""
    return [_failure(0, data, signal=name, exit_code=exit_code)]


def root_cause(failures: list[RankFailure]) -> RankFailure:
    """Return the failure that the others follow from: no symptom, then the earliest."""
    return min(failures, key=lambda failure: (failure.is_symptom, failure.time, failure.rank))


def as_dagster_failure(failures: list[RankFailure], exit_code: int, logs: Path) -> dg.Failure:
    """Return the exception that makes the asset fail with the root cause as its description."""
    if not failures:
        failures = [
            RankFailure(rank=-1, text=f"launcher ended with exit code {exit_code}, no report")
        ]
    cause = root_cause(failures)
    return dg.Failure(
        description=f"rank {cause.rank} failed: {cause.text}",
        metadata={
            "first_failed_rank": cause.rank,
            "signal": cause.signal or "none",
            "exit_code": exit_code,
            "traceback": dg.MetadataValue.md(f"```\n{cause.traceback or cause.text}\n```"),
            "rank_logs": dg.MetadataValue.path(str(logs.absolute())),
            "all_ranks": dg.MetadataValue.json(
                [{"rank": f.rank, "symptom": f.is_symptom, "error": f.text[:300]} for f in failures]
            ),
        },
        allow_retries=not cause.is_final,
    )


def _from_report(rank: int, entry: Mapping[str, Any]) -> RankFailure:
    return _failure(
        rank,
        entry["data"],
        signal=entry["signal"],
        exit_code=entry["exit_code"],
        text=entry["message"],
        time=int(entry["time"]),
    )


def _failure(
    rank: int,
    data: Mapping[str, Any],
    *,
    signal: str,
    exit_code: int,
    text: str = "",
    time: int = 0,
) -> RankFailure:
    message = data.get("message") if isinstance(data.get("message"), dict) else None
    extra = message.get("extraInfo", {}) if message else {}
    if signal:
        text = f"killed by {signal} (exit code {exit_code})"
    elif message and message.get("message"):
        text = str(message["message"])
    return RankFailure(
        rank=rank,
        text=text or f"exit code {exit_code}; the log of the step says more",
        traceback=str(extra.get("py_callstack", "")),
        signal=signal,
        exit_code=exit_code,
        time=time,
        is_final=bool(extra.get("is_final", False)),
    )
