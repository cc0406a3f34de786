"""`xec shards`: ROOT files to tensor shards."""

import argparse
import sys


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "shards",
        help="convert ROOT files into memory-mapped tensor shards",
        description="Convert ROOT files into memory-mapped tensor shards. Training does it by "
        "itself; this command does it ahead. Unchanged files are not converted again.",
    )
    parser.add_argument(
        "path",
        nargs="*",
        help="ROOT file, folder, or pattern in quotes; default: all paths of the configuration",
    )
    parser.add_argument("--config", default="demo", help="preset name or YAML file of a run")
    parser.add_argument("--shard_dir", "--shard-dir", help="folder to write (data.shard_dir)")
    parser.add_argument("--jobs", type=int, help="processes (default: data.num_workers)")


def run(args: argparse.Namespace) -> int:
    """Run the command; return the exit status."""
    from xec_pipeline.config.loader import load_regressor_run
    from xec_pipeline.data.shards import ensure_shards

    overrides = {"data.shard_dir": args.shard_dir} if args.shard_dir else {}
    config = load_regressor_run(args.config, overrides).data
    paths = args.path or [
        path for path in (config.train_path, config.val_path, config.test_path) if path
    ]
    for path in dict.fromkeys(paths):
        shards = ensure_shards(config, path, jobs=args.jobs)
        manifest = shards.manifest
        sys.stdout.write(
            f"{path} -> {shards.path}: {manifest.n_events} events, "
            f"{100 * manifest.dead_fraction:.2f} % dead, {'toy, ' if manifest.toy else ''}"
            f"data version {manifest.data_version[:12]}\n"
        )
    return 0
