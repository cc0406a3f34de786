"""Recover hidden sensors of events with an inpainter, and with methods that need no network.

python -m xec_pipeline.workers.recover --config runs/inpainter/demo.yaml [--mode data]

Writes inpainter_<mode>_<run>.root: one row for each recovered sensor, with truth and predictions.
Modes: `mc`, a pattern of dead sensors on simulated events; `data`, a few live sensors of each event
beside those that are dead; `sensorfront`, the one sensor in front of the first interaction.
"""

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from tqdm import tqdm

from xec_pipeline.config.file_names import checkpoint_file, recovered_file
from xec_pipeline.config.inpainter import InpainterRun
from xec_pipeline.config.loader import load_inpainter_run, validate
from xec_pipeline.data.schema import is_valid
from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline.detector.geometry import ideal_geometry
from xec_pipeline.evaluation.inpainter_network import InpainterNetwork, open_inpainter
from xec_pipeline.evaluation.masked_rows import ARTIFICIAL, MaskedRows, photons
from xec_pipeline.evaluation.masked_table import MaskedMetadata, write_masked_table
from xec_pipeline.evaluation.recovery import Recovery
from xec_pipeline.evaluation.recovery_flags import add_arguments
from xec_pipeline.reconstruction.inpainting.baselines import build_baselines
from xec_pipeline.training.distributed import start_from_env
from xec_pipeline.units import MEV_PER_GEV
from xec_pipeline.workers.entry import run_worker
from xec_pipeline.workers.outputs import ColumnsVersion
from xec_pipeline.workers.pipes import Report
from xec_pipeline.workers.recovery_setup import chosen_events, hiding, mean_of, sample_path
from xec_pipeline.workers.sample_shards import shards_of

_BRIGHT: Final = 100.0
"""Counts [photons] from which relative errors say more than counting noise."""


def main(argv: Sequence[str] | None = None) -> int:
    """Recover as the command line says; return 0, or 2 after an error that the user can mend."""
    parser = argparse.ArgumentParser(
        prog="python -m xec_pipeline.workers.recover", description=__doc__, allow_abbrev=False
    )
    add_arguments(parser)
    return run_worker(parser.parse_args(argv), work)


def work(args: argparse.Namespace, report: Report) -> int:
    """Open the inpainter, recover, report; return 0."""
    run = load_inpainter_run(args.config)
    dist = start_from_env()
    try:
        path = args.checkpoint or run.run_dir / checkpoint_file("inpainter", "best")
        network = open_inpainter(path, dist.device, use_ema=args.weights == "ema")
        recover(network, with_options(run, args), args, report)
    finally:
        dist.stop()
    return 0


def with_options(run: InpainterRun, args: argparse.Namespace) -> InpainterRun:
    """Return `run` with the options of the command line."""
    names = ("dead_file", "dead_run", "max_events", "seed")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    tree = run.model_dump()
    tree["validation"] |= given
    return validate(InpainterRun, tree, "command line")


def recover(
    network: InpainterNetwork, run: InpainterRun, args: argparse.Namespace, report: Report
) -> Path:
    """Recover the hidden sensors of a sample, write their table and report it; return its path.

    Parameters
    ----------
    network
        The inpainter.
    run
        Says which events are used, what is hidden, and where the table goes.
    args
        What `evaluation.recovery_flags` defines.
    report
        Receives the numbers and, as data version, a hash of the table's columns.

    Raises
    ------
    ConfigError
        If no events are named.
    DataError
        If no event can be used.
    """
    path = sample_path(run, args.input)
    shards = shards_of(report, run.data, path)
    recovery, pattern = _recovery(network, run, args.mode, path, shards)
    out = args.output or run.run_dir / recovered_file(args.mode, run.name)
    started, rows = time.perf_counter(), _Rows(recovery, run.data.batch_size, report)
    write_masked_table(out, rows, _metadata(recovery, run, args.mode, pattern, path))
    seconds = time.perf_counter() - started
    report.log(
        f"{out}: {rows.n_rows} sensors of {len(recovery.events)} events of {path}, "
        f"{len(recovery.events) / seconds:.0f} events/s with all methods"
    )
    numbers = {
        "run_name": run.name,
        "table": out,
        "mode": args.mode,
        "dead_pattern": pattern,
        "events": len(recovery.events),
        "sensors": rows.n_rows,
        "sensors_with_truth": rows.n_true,
        "not_finite": rows.n_not_finite,
        "seconds": seconds,
        **rows.relative_errors(),
    }
    report.result(numbers, str(rows.version))
    return out


def _recovery(
    network: InpainterNetwork, run: InpainterRun, mode: str, path: str, shards: ShardSet
) -> tuple[Recovery, str]:
    """Return what is to be recovered, and in words which sensors are dead."""
    hide, pattern = hiding(mode, run, shards)
    recovery = Recovery(
        network=network,
        shards=shards,
        events=chosen_events(hide, shards, run),
        hide=hide,
        baselines=build_baselines(run.validation.baselines, ideal_geometry()),
        mean_photons=mean_of(path),
        depth_cm=shards.columns["uvwTruth"][:, 2] if mode == "sensorfront" else None,
    )
    return recovery, pattern


def _metadata(
    recovery: Recovery, run: InpainterRun, mode: str, pattern: str, sample: str
) -> MaskedMetadata:
    network = recovery.network
    low, high = _energies_mev(recovery)
    return MaskedMetadata(
        predict_channels=network.features,
        normalization=network.run.normalization,
        epoch=network.epoch,
        checkpoint_digest=network.digest,
        run_name=run.name,
        data_version=recovery.shards.data_version,
        toy=bool(recovery.shards.toy),
        mode=mode,
        baselines=run.validation.baselines,
        dead_pattern=pattern,
        n_events=len(recovery.events),
        sample=sample,
        energy_low_mev=low,
        energy_high_mev=high,
    )


def _energies_mev(recovery: Recovery) -> tuple[float, float]:
    """Return least and greatest true energy of the events; -1 if any is not known."""
    energy = recovery.shards.columns["energyTruth"][recovery.events].astype(np.float64)
    if not is_valid(energy).all():
        return -1.0, -1.0
    return float(energy.min()) * MEV_PER_GEV, float(energy.max()) * MEV_PER_GEV


class _Rows:
    """The recovered sensors, counted, judged and hashed as they pass."""

    def __init__(self, recovery: Recovery, batch_size: int, report: Report) -> None:
        self._recovery, self._batch_size, self._report = recovery, batch_size, report
        self._squares: dict[str, list[float]] = {}
        self.n_rows = self.n_true = self.n_not_finite = 0
        self.version = ColumnsVersion()

    def __iter__(self) -> Iterator[MaskedRows]:
        n_events, n_done = len(self._recovery.events), 0
        with tqdm(total=n_events, unit="event", disable=None) as bar:
            for block in self._recovery.blocks(self._batch_size):
                self._add(block)
                n_new = min(self._batch_size, n_events - n_done)
                n_done += n_new
                bar.update(n_new)
                self._report.progress(events=f"{n_done}/{n_events}")
                yield block

    def relative_errors(self) -> dict[str, float]:
        """Return the root mean square of (predicted - true) / true of bright sensors by method."""
        return {
            f"relative_rms_above_{_BRIGHT:g}_photons_{name}": (total / count) ** 0.5
            for name, (count, total) in self._squares.items()
            if count
        }

    def _add(self, block: MaskedRows) -> None:
        self.n_rows += len(block)
        self.n_true += int((block.mask_type == ARTIFICIAL).sum())
        self.n_not_finite += int((~np.isfinite(block.pred_npho)).sum())
        self.version.update(block.arrays())
        bright = block.taken(block.truth_photons > _BRIGHT)
        for name, values in (("model", bright.pred_npho), *bright.baselines.items()):
            found = photons(values, self._recovery.network.run.normalization)
            ratio = found.astype(np.float64) / bright.truth_photons - 1.0
            given = ratio[np.isfinite(ratio)]
            sums = self._squares.setdefault(name, [0.0, 0.0])
            sums[0] += len(given)
            sums[1] += float(np.square(given).sum())


if __name__ == "__main__":
    sys.exit(main())
