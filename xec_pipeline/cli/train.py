"""`xec train`: from events to weights, predictions, figures and ONNX."""

import argparse
import importlib
import logging
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from xec_pipeline.config.file_names import checkpoint_file
from xec_pipeline.config.flags import add_training_flags, arguments_from, overrides_from
from xec_pipeline.config.inpainter import InpainterRun
from xec_pipeline.config.loader import load_inpainter_run, load_mae_run, load_regressor_run
from xec_pipeline.config.mae import MaeRun
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.errors import ConfigError

_WORKERS: Final = {
    "regressor": "xec_pipeline.workers.train",
    "mae": "xec_pipeline.workers.train_mae",
    "inpainter": "xec_pipeline.workers.train_inpainter",
}
_BEST: Final = checkpoint_file("regressor", "best")

_log = logging.getLogger(__name__)


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command; its flags are the options of the configuration."""
    parser = subparsers.add_parser(
        "train",
        help="train a network",
        description="Train a network from the events that its configuration names.",
    )
    kinds = parser.add_subparsers(dest="kind", required=True, metavar="kind")
    _add_regressor(kinds)
    _add_mae(kinds)
    _add_inpainter(kinds)


def _add_regressor(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    regressor = kinds.add_parser(
        "regressor",
        help="energy, time, position, angle",
        description="Train a regressor. Shards are built if need be; checkpoints, tables, figures "
        "and the ONNX model go to artifacts/<run_name>/, those of test events to its folder test, "
        "the curves to MLflow.",
        epilog="Example: xec train regressor --config demo --epochs 2 --run_name short",
        allow_abbrev=False,
    )
    add_training_flags(regressor)
    _add_ranks(regressor)


def _add_mae(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    mae = kinds.add_parser(
        "mae",
        help="an encoder, from events without truth",
        description="Pre-train an encoder as a masked autoencoder. Shards are built if need be; "
        "checkpoints, encoders and predictions for sensors go to artifacts/<run_name>/, the curves "
        "to MLflow. A regressor with the line 'mae: <run_name>' begins with the best encoder.",
        epilog="Example: xec train mae --config mae-demo --epochs 1 --run_name short",
        allow_abbrev=False,
    )
    add_training_flags(mae, MaeRun)
    _add_ranks(mae)


def _add_inpainter(kinds: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    inpainter = kinds.add_parser(
        "inpainter",
        help="a network that recovers dead sensors",
        description="Train an inpainter: some live sensors are hidden, and predicted from the "
        "others. With --mae <run_name> it begins with that run's best encoder. Shards are built if "
        "need be; checkpoints and predictions for hidden sensors go to artifacts/<run_name>/, the "
        "curves to MLflow.",
        epilog="Example: xec train inpainter --config inpainter-demo --mae short --run_name fill",
        allow_abbrev=False,
    )
    add_training_flags(inpainter, InpainterRun)
    _add_ranks(inpainter)


def _add_ranks(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--nproc_per_node",
        "--nproc-per-node",
        help="ranks: a number, or auto for one per GPU; default distributed.num_gpus",
    )


def run(args: argparse.Namespace) -> int:
    """Train, then predict test events, draw and export; return the exit status."""
    if args.kind == "mae":
        mae = load_mae_run(args.config, overrides_from(args, MaeRun))
        n_ranks = rank_count(args.nproc_per_node, mae)
        return _train(args.kind, arguments_from(args, MaeRun), n_ranks)
    if args.kind == "inpainter":
        inpainter = load_inpainter_run(args.config, overrides_from(args, InpainterRun))
        n_ranks = rank_count(args.nproc_per_node, inpainter)
        return _train(args.kind, arguments_from(args, InpainterRun), n_ranks)
    wanted = load_regressor_run(args.config, overrides_from(args))
    n_ranks = rank_count(args.nproc_per_node, wanted)
    status = _train(args.kind, arguments_from(args), n_ranks)
    if status == 0 and not args.skip_final:
        if wanted.checkpoint.save_artifacts:
            if wanted.data.test_path:
                _evaluate_test(wanted)
            _draw(wanted)
            _display(wanted)
        if wanted.export.onnx is not None:
            _export(wanted)
    return status


def rank_count(asked: str | None, wanted: RegressorRun | MaeRun | InpainterRun) -> int:
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


def torchrun_command(kind: str, words: list[str], n_ranks: int) -> list[str]:
    """Return the command that trains on several ranks of this machine."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--max-restarts=0"]
    return [sys.executable, *launcher, f"--nproc_per_node={n_ranks}", "-m", _WORKERS[kind], *words]


def _train(kind: str, words: list[str], n_ranks: int) -> int:
    if n_ranks > 1:
        threads = {"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
        command = torchrun_command(kind, words, n_ranks)
        return subprocess.run(command, env={**os.environ, **threads}, check=False).returncode
    worker = importlib.import_module(_WORKERS[kind])
    status: int = worker.main(words)
    return status


def _evaluate_test(wanted: RegressorRun) -> None:
    """Predict the test events with the best checkpoint, as the worker that evaluates does."""
    from xec_pipeline.evaluation.networks import open_network
    from xec_pipeline.training.distributed import start_from_env
    from xec_pipeline.workers.evaluate import evaluate_sample, samples_of
    from xec_pipeline.workers.pipes import Report

    dist = start_from_env()
    network = open_network(wanted.run_dir / _BEST, wanted, dist.device)
    for sample in samples_of(wanted):
        if sample.name == "test":
            done = evaluate_sample(network, sample, None, dist, Report(rank=0))
            _refer(wanted, "predictions_csv", done.csvs.values())


def _draw(wanted: RegressorRun) -> None:
    """Draw the figures and tell the training's MLflow run where they are."""
    from xec_pipeline.evaluation.report import write_resolution_figures, write_test_figures

    figures = write_resolution_figures(wanted.run_dir, wanted.name, tasks=wanted.tasks.active)
    of_test = write_test_figures(wanted.run_dir, wanted.name)
    _refer(wanted, "resolution_pdf", [*figures.values(), *of_test.values()])


def _display(wanted: RegressorRun) -> None:
    """Draw the worst events and what the faces count for, as the worker that displays does."""
    from xec_pipeline.training.distributed import start_from_env
    from xec_pipeline.workers.displays import DisplayOptions, draw_displays
    from xec_pipeline.workers.pipes import Report

    device = start_from_env().device
    drawn = draw_displays(wanted, None, DisplayOptions(), device, Report(rank=0))
    _refer(wanted, "event_displays", drawn.values())


def _refer(wanted: RegressorRun, name: str, paths: Iterable[Path]) -> None:
    from xec_pipeline.training.checkpoint import load_checkpoint
    from xec_pipeline.training.tracking import refer_to

    trained = load_checkpoint(wanted.run_dir / checkpoint_file("regressor", "last"))
    refer_to(wanted.mlflow, trained.mlflow_run_id, name, paths)


def _export(wanted: RegressorRun) -> None:
    from xec_pipeline.workers.export import export_run
    from xec_pipeline.workers.pipes import Report

    exported = export_run(wanted, Report(rank=0))
    _refer(wanted, "onnx", [exported.normalized.path, exported.raw.path])
    _log.info("%s and %s agree with the checkpoint", exported.normalized.path, exported.raw.path)
