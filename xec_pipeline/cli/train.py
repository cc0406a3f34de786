"""`xec train`: from events to weights, predictions, figures and ONNX."""

import argparse
import logging
import os
import subprocess
import sys

from xec_pipeline.config.file_names import checkpoint_file
from xec_pipeline.config.flags import add_training_flags, arguments_from, overrides_from
from xec_pipeline.config.loader import load_regressor_run
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.errors import ConfigError

_WORKER = "xec_pipeline.workers.train"
_PARITY_EVENTS = 64

_log = logging.getLogger(__name__)


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command; its flags are the options of the configuration."""
    parser = subparsers.add_parser(
        "train",
        help="train a network",
        description="Train a network from the events that its configuration names.",
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="kind")
    regressor = kinds.add_parser(
        "regressor",
        help="energy, time, position, angle",
        description="Train a regressor. Shards are built if need be; checkpoints, tables, figures "
        "and the ONNX model go to artifacts/<run_name>/, the curves to MLflow.",
        epilog="Example: xec train regressor --config demo --epochs 2 --run_name short",
        allow_abbrev=False,
    )
    add_training_flags(regressor)
    regressor.add_argument(
        "--nproc_per_node",
        "--nproc-per-node",
        help="ranks: a number, or auto for one per GPU; default distributed.num_gpus",
    )


def run(args: argparse.Namespace) -> int:
    """Train, then draw and export what came out; return the exit status."""
    wanted = load_regressor_run(args.config, overrides_from(args))
    n_ranks = rank_count(args.nproc_per_node, wanted)
    status = _train(arguments_from(args), n_ranks)
    if status == 0 and not args.skip_final:
        if wanted.checkpoint.save_artifacts:
            _draw(wanted)
        if wanted.export.onnx is not None:
            _export(wanted, wanted.export.onnx)
    return status


def rank_count(asked: str | None, wanted: RegressorRun) -> int:
    """Return the number of ranks to start.

    Raises
    ------
    ConfigError
        If `asked` is neither `auto` nor a positive number.
    """
    if asked is None:
        return wanted.distributed.num_gpus
    if asked == "auto":
        import torch

        return max(torch.cuda.device_count(), 1)
    if not asked.isdecimal() or int(asked) < 1:
        raise ConfigError(f"--nproc_per_node {asked}: expected auto or a number from 1")
    return int(asked)


def torchrun_command(words: list[str], n_ranks: int) -> list[str]:
    """Return the command that trains on several ranks of this machine."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--max-restarts=0"]
    return [sys.executable, *launcher, f"--nproc_per_node={n_ranks}", "-m", _WORKER, *words]


def _train(words: list[str], n_ranks: int) -> int:
    if n_ranks > 1:
        threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
        command = torchrun_command(words, n_ranks)
        return subprocess.run(command, env={**os.environ, **threads}, check=False).returncode
    from xec_pipeline.workers.train import main

    return main(words)


def _draw(wanted: RegressorRun) -> None:
    from xec_pipeline.evaluation.report import write_resolution_figures

    write_resolution_figures(wanted.run_dir, wanted.name, tasks=wanted.tasks.active)


def _export(wanted: RegressorRun, file_name: str) -> None:
    from xec_pipeline.data.shards import ensure_shards
    from xec_pipeline.export.onnx import export_onnx
    from xec_pipeline.units import NS_PER_S

    shards = ensure_shards(wanted.data, wanted.data.val_path)
    rows = slice(0, min(_PARITY_EVENTS, shards.n_events))
    exported = export_onnx(
        wanted.run_dir / checkpoint_file("regressor", "best"),
        wanted.run_dir / file_name,
        shards.npho(rows),
        shards.times_ns(rows) / NS_PER_S,
    )
    _log.info("%s and %s agree with the checkpoint", exported.normalized.path, exported.raw.path)
