"""One of two ranks of a test: train without a break, with a break, and from one rank's checkpoint.

Arguments: shard folder, output folder, checkpoint of one rank. Writes `curves.json` on rank 0.
"""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import torch

from xec_pipeline.config.run import RegressorRun
from xec_pipeline.data.shards import open_shards
from xec_pipeline.training.distributed import DistContext, start_from_env
from xec_pipeline.training.guard import StopSignal
from xec_pipeline_tests.training.stopped_line import last, linear
from xec_pipeline_tests.training.tiny import balanced_run, fit, stop_after

STEPS_BEFORE_THE_BREAK = 8
"""Of five in an epoch."""


def run_of(folder: Path, epochs: int, batch_size: int, resume_from: Path | None) -> RegressorRun:
    return balanced_run(
        folder,
        data={"batch_size": batch_size},
        training={"epochs": epochs},
        checkpoint={"resume_from": str(resume_from) if resume_from is not None else None},
    )


def break_lines_off(folder: Path, dist: DistContext) -> None:
    """Train a line as a whole, and again for each of its steps with a break after that step."""
    linear(folder / "whole", "cosine", dist=dist)
    for step in range(1, 11):
        broken = folder / str(step)
        assert linear(broken, "cosine", step, dist).global_step < 12
        linear(broken, "cosine", dist=dist, resume_from=str(last(broken)))


def main(shard_dir: Path, out_dir: Path, of_one_rank: Path) -> None:
    warnings.filterwarnings("ignore", message="Grad strides do not match bucket view")
    torch.set_num_threads(1)
    dist = start_from_env()
    shards = open_shards(shard_dir)

    def train(name: str, epochs: int, resume_from: Path | None = None, **options: Any) -> Any:
        return fit(run_of(out_dir / name, epochs, 4, resume_from), shards, dist, **options)

    def interrupt(stage: Any) -> None:
        if dist.rank == 1:  # only one rank hears the signal
            stop_after(STEPS_BEFORE_THE_BREAK, stop, stage)

    curves = {"whole": train("whole", 2).curve.epochs}
    stop = StopSignal()
    broken = train("broken", 2, stop=stop, on_stage=interrupt)
    assert broken.result.was_stopped
    curves["resumed"] = train("broken", 2, last(out_dir / "broken")).curve.epochs
    curves["from one"] = train("from_one", 3, of_one_rank).curve.epochs
    break_lines_off(out_dir / "lines", dist)
    if dist.is_main:
        (out_dir / "curves.json").write_text(json.dumps(curves))
    dist.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]))
