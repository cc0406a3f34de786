"""torchrun with a failure report that a program can read.

`python -m xec_pipeline.workers.launch REPORT.json <arguments of torchrun>` writes, when a rank
fails, the exit code, signal and traceback of every failed rank to REPORT.json. Alone, torchrun says
nothing for a rank that was killed by a signal.
"""

import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.run import parse_args, run

from xec_pipeline.lifetime import PARENT_PID_ENV, die_with_parent


def main(argv: list[str]) -> int:
    """Run torchrun with `argv[1:]`; write the report of a failure to `argv[0]`.

    Returns
    -------
    int
        0 if all ranks ended well, else 1.
    """
    die_with_parent(signal.SIGTERM)
    os.environ[PARENT_PID_ENV] = str(os.getpid())
    report = Path(argv[0])
    try:
        run(parse_args(argv[1:]))  # type: ignore[no-untyped-call]  # torch gives these two no types
    except ChildFailedError as error:
        failed = {int(rank): _describe(failure) for rank, failure in error.failures.items()}
        _write(report, failed)
        return 1
    except BaseException:
        _write(report, {-1: _launcher_failure()})
        raise
    return 0


def _describe(failure: ProcessFailure) -> dict[str, Any]:
    name = failure.signal_name()
    data: object = failure.error_file_data  # a dictionary by its annotation, text in practice
    return {
        "exit_code": failure.exitcode,
        "signal": name if name.startswith("SIG") else "",
        "pid": failure.pid,
        "time": failure.timestamp,
        "message": failure.message,
        "data": data if isinstance(data, dict) else {},
    }


def _launcher_failure() -> dict[str, Any]:
    text = traceback.format_exc()
    return {
        "exit_code": 1,
        "signal": "",
        "pid": os.getpid(),
        "time": 0,
        "message": f"torchrun could not start: {text.strip().splitlines()[-1]}",
        "data": {"message": {"message": "", "extraInfo": {"py_callstack": text}}},
    }


def _write(report: Path, failures: dict[int, dict[str, Any]]) -> None:
    partial = report.with_suffix(".part")
    partial.write_text(json.dumps(failures, default=str))
    partial.replace(report)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
