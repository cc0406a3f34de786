"""`make bench`: speed beside straightforward code, each pair measured in the same run."""

import importlib
import sys
from pathlib import Path

PARTS = sorted(path.stem for path in Path(__file__).parent.glob("bench_*.py"))


def main() -> None:
    """Run every benchmark and print its numbers."""
    for part in PARTS:
        sys.stdout.write(f"{part}\n")
        module = importlib.import_module(f"xec_pipeline_tests.benchmarks.{part}")
        for name, value in module.run().items():
            sys.stdout.write(f"  {name:<52} {value:>12.4g}\n")


if __name__ == "__main__":
    main()
