"""Build the tensor shards of one dataset.

python -m xec_pipeline.workers.shards --config demo --path data/toy/train [--jobs 2]
python -m xec_pipeline.workers.shards --config runs/mae/demo.yaml --kind mae --path data/toy/train
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from xec_pipeline.config.data import DataConfig
from xec_pipeline.config.datasets import dataset_key
from xec_pipeline.config.loader import load_inpainter_run, load_mae_run, load_regressor_run
from xec_pipeline.data.root_files import find_root_files
from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline.data.shard_summary import sensor_summary, shared_events, truth_ranges
from xec_pipeline.data.shards import build_shards, is_shard_dir, open_shards, shard_dir_for
from xec_pipeline.errors import XecError
from xec_pipeline.workers.pipes import Report, open_report

_READERS: Final[Mapping[str, Callable[[str], DataConfig]]] = {
    "regressor": lambda source: load_regressor_run(source).data,
    "mae": lambda source: load_mae_run(source).data,
    "inpainter": lambda source: load_inpainter_run(source).data,
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the worker; return its exit status."""
    args = build_parser().parse_args(argv)
    try:
        with open_report() as report:
            config = _READERS[args.kind](args.config)
            run_worker(config, args.path, args.jobs, report, args.apart_from)
    except XecError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this worker's options."""
    parser = argparse.ArgumentParser(prog="xec_pipeline.workers.shards", description=__doc__)
    parser.add_argument("--config", required=True, help="preset name or YAML file of a run")
    parser.add_argument(
        "--kind",
        choices=list(_READERS),
        default="regressor",
        help="of that run (default: %(default)s)",
    )
    parser.add_argument("--path", required=True, help="ROOT file, folder, or pattern in quotes")
    parser.add_argument(
        "--apart-from",
        "--apart_from",
        action="append",
        default=[],
        metavar="PATH",
        help="sample that must share no event with this one; looked at if it has shards",
    )
    parser.add_argument("--jobs", type=int, help="processes (default: data.num_workers)")
    return parser


def run_worker(
    config: DataConfig,
    path: str,
    jobs: int | None,
    report: Report,
    apart_from: Sequence[str] = (),
) -> ShardSet:
    """Build the shards of the events at `path` as a run's `config` says, and report them.

    Of the samples `apart_from` it is told how many events they share with this one.
    """
    started, n_converted = time.perf_counter(), 0

    def converted(n_events: int) -> None:
        nonlocal n_converted
        n_converted = n_events
        report.progress(events=n_events)

    out_dir = shard_dir_for(config, path)
    if is_shard_dir(path):
        shards = open_shards(path)
    else:
        files = find_root_files(path)
        report.log(f"{path}: {len(files)} ROOT files")
        build_shards(
            files,
            out_dir,
            config,
            jobs=jobs,
            on_progress=converted,
        )
        shards = open_shards(out_dir)
    seconds = time.perf_counter() - started
    numbers = describe(shards, config, seconds) | overlaps(shards, config, apart_from)
    # Parts that were there already say nothing about speed.
    numbers |= {"events_per_s": n_converted / seconds} if n_converted else {}
    report.result(numbers, shards.data_version)
    return shards


def overlaps(shards: ShardSet, config: DataConfig, others: Sequence[str]) -> dict[str, object]:
    """Return how many events other samples share with this one; those without shards are left out.

    Whichever of two samples gets its shards last looks at the other.
    """
    folders = {path: shard_dir_for(config, path) for path in others}
    return {
        f"events_shared_with_{dataset_key(path)}": shared_events(shards, open_shards(folder))
        for path, folder in folders.items()
        if is_shard_dir(folder)
    }


def describe(shards: ShardSet, config: DataConfig, seconds: float) -> dict[str, object]:
    """Return the numbers that describe a shard folder."""
    manifest = shards.manifest
    return {
        "events": manifest.n_events,
        "files": len(manifest.sources),
        "dead_percent": 100 * manifest.dead_fraction,
        "nonfinite_values": manifest.n_nonfinite,
        "toy": manifest.toy,
        **sensor_summary(shards),
        **truth_ranges(shards, config.truth_time_unit),
        "npho_rms_error_percent": 100 * manifest.quantization.npho_rms_relative,
        "time_rms_error_ps": manifest.quantization.time_rms_ps,
        "seconds": seconds,
        "shard_dir": shards.path,
    }


if __name__ == "__main__":
    sys.exit(main())
