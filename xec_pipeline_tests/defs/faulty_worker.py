"""A worker that fails on demand; joins gloo ranks under torchrun."""

import os
import signal
import sys
import time

from xec_pipeline.errors import ConfigError
from xec_pipeline.workers.pipes import open_report


def main(mode: str) -> None:
    rank = int(os.environ.get("RANK", "0"))
    with open_report(rank) as report:
        if "WORLD_SIZE" in os.environ:
            import torch.distributed as dist

            dist.init_process_group("gloo")
        fail(mode, rank)
        if mode == "flaky" and report.retry_number == 0:
            raise ValueError("only once")
        report.progress(step="1/9", loss=2.0)
        for number in range(2):
            report.epoch(epoch=number, loss=1.0 / (1 + number))
            report.progress(step=number)
        passed = {"extra": report.extras["extra"], "asset": report.extras["asset"]["key"]}
        report.result({**passed, "loss": float("nan")}, "v1")


def fail(mode: str, rank: int) -> None:
    if mode == "config":
        raise ConfigError("key 'lr' is unknown")
    if mode == "raise" and rank == 1:
        raise ValueError("the loss is odd")
    if mode == "kill" and rank == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    if mode == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if mode in {"hang", "stubborn", "raise", "kill"}:
        wait(rank)


def wait(rank: int) -> None:
    if "WORLD_SIZE" not in os.environ:
        time.sleep(600)
    else:
        import torch.distributed as dist

        if rank == 0:
            dist.barrier()
        time.sleep(600)


if __name__ == "__main__":
    main(sys.argv[1])
