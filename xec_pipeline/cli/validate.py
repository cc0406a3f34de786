"""`xec validate`: predictions and figures of a checkpoint, without training."""

import argparse
import sys
from pathlib import Path

from xec_pipeline.config.tasks import TASK_NAMES

_EPILOG = """\
examples
  xec validate artifacts/demo/checkpoint_best.pth --val_path data/toy/val
  xec validate artifacts/demo/checkpoint_best.pth --val_path data/toy/test --tasks energy angle \\
      --output_dir artifacts/demo/test
  xec validate artifacts/demo/model_raw.onnx --val_path data/toy/val --output_dir from_onnx"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "validate",
        help="predict events with a checkpoint and draw the resolution figures",
        description="Predict events with a checkpoint and write the prediction tables and "
        "resolution figures. The file says how it was trained; no YAML file is needed. Exported "
        "models can be validated in the same way, those for raw and those for normalized inputs.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", type=Path, help="checkpoint (.pth) or exported model (.onnx)")
    parser.add_argument(
        "--val_path", "--val-path", help="ROOT file, folder, pattern or shard folder (default: "
        "the validation events of the training)",
    )  # fmt: skip
    parser.add_argument(
        "--config", help="preset or YAML, to read events otherwise than the training"
    )
    parser.add_argument(
        "--tasks",
        nargs="+",
        choices=TASK_NAMES,
        metavar="TASK",
        help=f"of {', '.join(TASK_NAMES)} (default: all that were trained and have truth)",
    )
    parser.add_argument(
        "--output_dir", "--output-dir", type=Path, help="default: the checkpoint's folder"
    )
    parser.add_argument("--batch_size", "--batch-size", type=int, help="events at a time")
    parser.add_argument(
        "--weights",
        choices=("ema", "raw"),
        default="ema",
        help="averaged weights, or those of the last step (default: ema)",
    )


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit status."""
    from xec_pipeline.config.loader import load_regressor_run
    from xec_pipeline.errors import ConfigError
    from xec_pipeline.evaluation.comparison import resolution_of_all_events
    from xec_pipeline.evaluation.networks import open_network
    from xec_pipeline.evaluation.report import write_resolution_figures
    from xec_pipeline.training.distributed import DistContext
    from xec_pipeline.workers.evaluate import Sample, evaluate_sample, with_data
    from xec_pipeline.workers.pipes import Report

    dist = DistContext()
    config = load_regressor_run(args.config) if args.config else None
    network = open_network(args.checkpoint, config, dist.device, use_ema=args.weights == "ema")
    network = with_data(network, batch_size=args.batch_size, val_path=args.val_path)
    if not network.run.data.val_path:
        raise ConfigError("give the events: --val_path")
    out_dir = args.output_dir or args.checkpoint.parent
    sample = Sample(name="val", path=network.run.data.val_path, out_dir=out_dir)
    tasks = tuple(args.tasks) if args.tasks else None
    done = evaluate_sample(network, sample, tasks, dist, Report(rank=0))
    pdfs = write_resolution_figures(out_dir, network.run.name, list(done.csvs))
    sys.stdout.writelines(f"{path}\n" for path in (*done.csvs.values(), *pdfs.values()))
    sys.stdout.write(
        f"{done.n_events} events with {network.weights} weights at {done.events_per_s:.0f} "
        "events/s\n"
    )
    table = resolution_of_all_events(out_dir, network.run.name, list(done.csvs))
    sys.stdout.write(table.text_of_model())
    return 0
