"""Predict events with a regressor whose sensors are partly dead, left so or filled.

python -m xec_pipeline.workers.dead_study --config runs/inpainter/demo.yaml [--regressor demo]

The regressor is the one that `validation.regressor` names; the pattern of dead sensors is that of
`validation`. Writes inpainter_dead_study_<run>.root, one row for each event with every prediction,
and the table of resolutions inpainter_dead_study_<run> (csv, json, md, txt).
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.config.file_names import checkpoint_file, dead_study_file
from xec_pipeline.config.inpainter import InpainterRun
from xec_pipeline.config.loader import load_inpainter_run
from xec_pipeline.config.registry import registered_regressor, run_names
from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline.detector.geometry import ideal_geometry
from xec_pipeline.errors import ConfigError
from xec_pipeline.evaluation.dead_events import write_dead_study
from xec_pipeline.evaluation.dead_flags import add_arguments
from xec_pipeline.evaluation.dead_study import (
    AVERAGE,
    INPAINTED,
    NeighbourTimes,
    filled_by,
    predictors,
)
from xec_pipeline.evaluation.dead_table import StrategyTable, build_strategy_table
from xec_pipeline.evaluation.inpainter_network import InpainterNetwork, open_inpainter
from xec_pipeline.evaluation.networks import Network, open_network
from xec_pipeline.evaluation.predict import only_tasks, predict_events
from xec_pipeline.evaluation.tables import PredictionTable, checked_table
from xec_pipeline.reconstruction.inpainting.baselines import build_baselines
from xec_pipeline.training.distributed import DistContext, start_from_env
from xec_pipeline.training.stages.regressor_events import select_events
from xec_pipeline.workers.entry import run_worker
from xec_pipeline.workers.evaluate import choose_tasks, with_data
from xec_pipeline.workers.outputs import ColumnsVersion
from xec_pipeline.workers.pipes import Report
from xec_pipeline.workers.recovery_setup import dead_pattern, sample_path
from xec_pipeline.workers.sample_shards import shards_of

_BATCH: Final = 256


def main(argv: Sequence[str] | None = None) -> int:
    """Run the study; return 0, or 2 after an error that the user can mend."""
    parser = argparse.ArgumentParser(
        prog="python -m xec_pipeline.workers.dead_study", description=__doc__, allow_abbrev=False
    )
    add_arguments(parser)
    return run_worker(parser.parse_args(argv), work)


def work(args: argparse.Namespace, report: Report) -> int:
    """Open both networks, predict under every strategy, write and report; return 0."""
    run = load_inpainter_run(args.config)
    dist = start_from_env()
    try:
        path = run.run_dir / checkpoint_file("inpainter", "best")
        inpainter = open_inpainter(path, dist.device)
        regressor = open_network(args.regressor or regressor_path(run), None, dist.device)
        study(run, inpainter, regressor, sample_path(run, args.input), report)
    finally:
        dist.stop()
    return 0


def regressor_path(run: InpainterRun) -> Path:
    """Return the checkpoint of the regressor run that the inpainter run names.

    Raises
    ------
    ConfigError
        If it names none.
    """
    name = run.validation.regressor
    if name is None:
        raise ConfigError(
            f"run {run.name}: validation.regressor is null, so there is nothing to try with dead "
            "sensors; name a registered regressor run"
        )
    file = checkpoint_file("regressor", "best")
    if name in run_names("regressor"):
        return registered_regressor(name).run_dir / file
    return Path(run.checkpoint.save_dir) / name / file


def study(
    run: InpainterRun,
    inpainter: InpainterNetwork,
    regressor: Network,
    path: str,
    report: Report,
) -> StrategyTable:
    """Predict the events of `path` under every strategy, write tree and table, and report them."""
    is_dead, pattern = dead_pattern(run)
    started = time.perf_counter()
    network = with_data(regressor, batch_size=_BATCH, shard_dir=run.data.shard_dir)
    shards = shards_of(report, network.run.data, path)
    tasks, tables = _predicted(run, inpainter, network, shards, is_dead)
    n_dead = int(is_dead.sum())
    title = f"run {regressor.run.name} with {n_dead} dead sensors ({pattern}), {path}"
    by_task = {name: dict.fromkeys(tasks, table) for name, table in tables.items()}
    table = build_strategy_table(by_task, f"{title}, toy detector" if shards.toy else title)
    stem = run.run_dir / dead_study_file(run.name)
    root = write_dead_study(stem.with_name(f"{stem.name}.root"), tables, tasks)
    files = table.write(stem)
    sys.stdout.write(table.text())
    version = ColumnsVersion()
    for name, predicted in tables.items():
        version.update({f"{name} {c}": predicted[c].to_numpy() for c in predicted.columns})
    numbers = {
        "run_name": run.name,
        "regressor": str(regressor.path),  # a path would count as a file that was made
        "predictions": root,
        "table": files["md"],
        "dead_sensors": n_dead,
        "dead_pattern": pattern,
        "resolutions": {"raw_value": table.markdown(), "type": "md"},
        "seconds": time.perf_counter() - started,
    }
    report.result({**numbers, **_main_numbers(table)}, str(version))
    return table


def _predicted(
    run: InpainterRun,
    inpainter: InpainterNetwork,
    network: Network,
    shards: ShardSet,
    is_dead: NDArray[np.bool_],
) -> tuple[tuple[str, ...], Mapping[str, PredictionTable]]:
    """Return the tasks with truth, and predictions of the events by strategy, internal units."""
    wanted = only_tasks(network.run, choose_tasks(network, shards, None))
    events = select_events(shards, wanted)
    events = replace(events, chosen=events.chosen[: run.validation.max_events])
    geometry = ideal_geometry()
    (average,) = build_baselines(("avg",), geometry)
    fills = {AVERAGE: filled_by(average), INPAINTED: inpainter.photons}
    made = predictors(network.predictor, is_dead, fills, NeighbourTimes(geometry))
    tasks = tuple(wanted.tasks.active)
    return tasks, {
        name: checked_table(predict_events(predictor, events, wanted, DistContext()).table or {})
        for name, predictor in made.items()
    }


def _main_numbers(table: StrategyTable) -> dict[str, float]:
    """Return the half widths by quantity and strategy, for curves over materializations."""
    return {
        f"{row.label} {name}".replace("%", "percent"): entry.value
        for row in table.rows
        if row.estimator.endswith("half width")
        for name, entry in row.entries.items()
    }


if __name__ == "__main__":
    sys.exit(main())
