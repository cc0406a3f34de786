"""A worker that does nothing for a while and leaves the times of its begin and end."""

import sys
import time
from pathlib import Path

from xec_pipeline.workers.pipes import open_report


def main(name: str, seconds: float) -> None:
    with open_report() as report:
        began = time.time()
        time.sleep(seconds)
        Path(f"{name}.times").write_text(f"{began} {time.time()}")
        report.result({"name": name}, "v1")


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
