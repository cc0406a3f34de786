"""The whole chain on toy events, through Dagster: `python -m xec_pipeline.demo`.

Makes toy ROOT files, then materializes what Dagster calls missing or stale: an encoder trained
without truth, a regressor that begins with it, the same regressor from scratch, and an inpainter
that recovers dead sensors. Ends with the resolutions of the regressors side by side, the errors of
recovered sensors, and what those are worth to the regressor. A second call finds nothing to do.
"""

import collections
import functools
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

import dagster as dg

from xec_pipeline.config.datasets import dataset_key
from xec_pipeline.config.file_names import ANALYSIS_FOLDER, dead_study_file
from xec_pipeline.config.inpainter import InpainterRun
from xec_pipeline.config.registry import (
    registered_inpainter,
    registered_mae,
    registered_regressor,
)
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.definitions import defs
from xec_pipeline.defs import keys
from xec_pipeline.defs.automation.observation import changed_configs, changed_datasets
from xec_pipeline.defs.partitions import evaluation_paths, training_paths
from xec_pipeline.defs.resources.gpus import visible_gpus
from xec_pipeline.defs.staleness import AssetPartition, statuses
from xec_pipeline.errors import DataError, XecError
from xec_pipeline.evaluation.side_by_side import compare_runs

RUNS: Final[Mapping[str, str]] = {"demo": "pre-trained", "demo-scratch": "from scratch"}
"""What the last table calls the regressor runs; how long they train stands in their preset."""
INPAINTERS: Final = ("demo",)
"""Inpainter runs."""
WORKSPACE: Final = Path("workspace.yaml")


class Toy(NamedTuple):
    """A toy data set: number of events, energy or range [MeV], seed, first run number.

    With `truth_light` it holds the mean light, without the counting noise of the sensors.
    """

    events: int
    energy_mev: str
    seed: int
    first_run: int
    truth_light: bool = False


TOYS: Final[Mapping[str, Toy]] = {
    "data/toy/train": Toy(16_000, "15:60", 1, 1),
    "data/toy/val": Toy(2_000, "15:60", 2, 101),
    "data/toy/test": Toy(4_000, "52.83", 31, 201, truth_light=True),
}
_EVENTS_PER_FILE: Final = 1_000

# Which job makes which assets, in the order of making.
_STAGES: Final[Mapping[str, tuple[dg.AssetKey, ...]]] = {
    "build_shards": (keys.SHARDS,),
    "pretrain_mae": (keys.ENCODER,),
    "train_regressor": (keys.WEIGHTS, keys.PREDICTIONS),
    "evaluate_regressor": (
        keys.BASELINES,
        keys.FIGURES,
        keys.TABLE,
        keys.DISPLAYS,
        keys.EFFICIENCY,
        keys.ONNX,
        keys.REPORT,
    ),
    "train_inpainter": (keys.INPAINTER, keys.RECOVERED),
    "evaluate_inpainter": (
        keys.ANALYSIS,
        keys.DEAD_STUDY,
        keys.INPAINTER_EXPORT,
        keys.INPAINTER_REPORT,
    ),
    "report_mae": (keys.MAE_REPORT,),
}
_STAGE_OF: Final = {key: stage for stage, made in _STAGES.items() for key in made}
_OF_EVERY_RUN: Final = frozenset({keys.WEIGHTS, keys.PREDICTIONS})
"""What a run needs that is there to compare with; the UI makes the rest on demand."""
# A training takes all cores; what follows from it is made side by side.
_WITH_ROOM: Final = ("evaluate_regressor", "evaluate_inpainter")
_ONE_BY_ONE: Final[Mapping[str, Any]] = {"in_process": {}}
_SIDE_BY_SIDE: Final[Mapping[str, Any]] = {
    "multiprocess": {
        "max_concurrent": 2,
        "start_method": {"forkserver": {"preload_modules": ["xec_pipeline.definitions"]}},
    }
}


def main() -> int:
    """Run the demonstration; return 0 if everything is there and up to date."""
    started = time.monotonic()
    if not WORKSPACE.is_file():
        echo(f"no {WORKSPACE} here: start the demo in the folder of the repository")
        return 2
    os.environ.setdefault("DAGSTER_HOME", str(Path.cwd()))
    if not visible_gpus():  # two single-threaded ranks are faster than one rank with two threads
        os.environ.setdefault("XEC_NPROC", str(min(2, len(os.sched_getaffinity(0)))))
    # Dagster's notes on its own parts would stand between the lines of the workers.
    for category in (dg.BetaWarning, dg.PreviewWarning):
        warnings.simplefilter("ignore", category)
    try:
        runs = [registered_regressor(name) for name in RUNS]
        simulate(runs)
        with dg.DagsterInstance.get() as instance:
            observe(instance)
            wanted = wanted_partitions(runs)
            n_made = bring_up_to_date(wanted, ask_with(instance), make_with(instance), instance)
        show(runs)
    except XecError as error:
        echo(f"demo: {error}")
        return 1
    done = f"{n_made} assets were made" if n_made else "everything was up to date"
    echo(f"\n{done} in {time.monotonic() - started:.0f} s. Look at the graph: make ui")
    return 0


def simulate(runs: Sequence[RegressorRun]) -> None:
    """Make the toy data sets that `runs` name; complete files of earlier calls are kept.

    Raises
    ------
    DataError
        If the simulation fails; its own message stands on the terminal.
    """
    named = dataset_paths(runs)
    for path, toy in TOYS.items():
        if path not in named:
            continue
        options = {
            "--out": path,
            "--events": toy.events,
            "--files": -(-toy.events // _EVENTS_PER_FILE),
            "--energy": toy.energy_mev,
            "--seed": toy.seed,
            "--first_run": toy.first_run,
            "--jobs": min(8, len(os.sched_getaffinity(0))),
        }
        words = [str(word) for option in options.items() for word in option]
        words += ["--truth_light"] if toy.truth_light else []
        command = [sys.executable, "-m", "xec_pipeline", "simulate", *words, "--overwrite"]
        if subprocess.run(command, check=False).returncode != 0:
            raise DataError(f"{path}: the toy events could not be made")


def observe(instance: dg.DagsterInstance) -> None:
    """Report the present versions of ROOT files and run configurations to Dagster."""
    for observation in (*changed_configs(instance), *changed_datasets(instance)):
        instance.report_runless_asset_event(observation)


def dataset_paths(runs: Sequence[RegressorRun]) -> list[str]:
    """Return the datasets of `runs`, of their masked autoencoders and of inpainters, once each."""
    named: list[RegressorRun | InpainterRun] = [*runs, *map(registered_inpainter, INPAINTERS)]
    paths = [path for run in named for path in (*training_paths(run), *evaluation_paths(run))]
    for name in _maes(runs):
        paths += training_paths(registered_mae(name))
    return list(dict.fromkeys(paths))


def wanted_partitions(runs: Sequence[RegressorRun]) -> list[AssetPartition]:
    """Return what belongs to `runs`, each after what it is made from."""
    first, *others = (run.name for run in runs)
    partitions = {
        "build_shards": list(dict.fromkeys(map(dataset_key, dataset_paths(runs)))),
        "pretrain_mae": _maes(runs),
        "report_mae": _maes(runs),
        "train_inpainter": list(INPAINTERS),
        "evaluate_inpainter": list(INPAINTERS),
    }
    return [
        (key, name)
        for stage, made in _STAGES.items()
        for name in partitions.get(stage, [first, *others])
        for key in made
        if name not in others or key in _OF_EVERY_RUN
    ]


def _maes(runs: Sequence[RegressorRun]) -> list[str]:
    named = [*runs, *(registered_inpainter(name) for name in INPAINTERS)]
    return list(dict.fromkeys(run.mae for run in named if run.mae is not None))


def bring_up_to_date(
    wanted: Iterable[AssetPartition],
    ask_statuses: Callable[[], Mapping[AssetPartition, str]],
    make: Callable[[Sequence[AssetPartition]], None],
    instance: dg.DagsterInstance,
) -> int:
    """Make what is missing or stale, in order; return how much was made.

    What one job makes of one partition is made together. Dagster judges an asset by its direct
    inputs. So what was fresh is judged again once anything before it has been made, and what was
    not fresh is made without asking again.
    """
    known = ask_statuses()
    n_made, n_known = 0, 0
    together: list[AssetPartition] = []
    for item in wanted:
        is_fresh = not reason_to_make(known[item], instance, item)
        if together and (is_fresh or not _belongs(item, together[0])):
            make(together)
            n_made, together = n_made + len(together), []
        if is_fresh and n_made > n_known:
            known, n_known = ask_statuses(), n_made
        reason = reason_to_make(known[item], instance, item)
        if reason:
            echo(f"\n{item[0].to_user_string()} [{item[1]}]: {reason}")
            together.append(item)
    if together:
        make(together)
    return n_made + len(together)


def _belongs(item: AssetPartition, other: AssetPartition) -> bool:
    """Tell whether one job makes both, of one partition."""
    return _STAGE_OF[item[0]] == _STAGE_OF[other[0]] and item[1] == other[1]


def reason_to_make(status: str, instance: dg.DagsterInstance, item: AssetPartition) -> str:
    """Return why an item is to be made, from Dagster's status; empty if it is not."""
    if status != "FRESH":
        return status.lower()
    return "" if files_exist(instance, item) else "its files are gone"


def files_exist(instance: dg.DagsterInstance, item: AssetPartition) -> bool:
    """Tell whether the files that the latest materialization names are still there."""
    key, partition = item
    wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition])
    records = instance.fetch_materializations(wanted, limit=1).records
    made = records[0].event_log_entry.asset_materialization if records else None
    metadata = made.metadata.values() if made else ()
    paths = [value.value for value in metadata if isinstance(value, dg.PathMetadataValue)]
    return all(Path(path).exists() for path in paths)


def ask_with(instance: dg.DagsterInstance) -> Callable[[], Mapping[AssetPartition, str]]:
    """Return a function that tells what Dagster says about every partition."""

    def ask() -> Mapping[AssetPartition, str]:
        if not any(map(instance.get_latest_materialization_event, _STAGE_OF)):
            return collections.defaultdict(lambda: "MISSING")  # no need to start a code server
        return statuses(WORKSPACE)

    return ask


def make_with(instance: dg.DagsterInstance) -> Callable[[Sequence[AssetPartition]], None]:
    """Return a function that materializes assets of one job and partition in one Dagster run."""

    def make(items: Sequence[AssetPartition]) -> None:
        key, partition = items[0]
        stage = _STAGE_OF[key]
        executor: Mapping[str, Any] = _ONE_BY_ONE
        if stage in _WITH_ROOM and len(items) > 1:
            executor = _SIDE_BY_SIDE
        elif job(stage).executor_def is dg.in_process_executor:
            executor = {}  # takes no choice
        target = dg.build_reconstructable_job("xec_pipeline.demo", "job", (stage,))
        with dg.execute_job(
            target,
            instance,
            run_config={
                "execution": {"config": executor},
                "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            },
            tags={"dagster/partition": partition},
            asset_selection=[key for key, _ in items],
        ) as result:
            if not result.success:
                raise XecError(_cause(result, partition))

    return make


@functools.cache
def job(name: str) -> dg.JobDefinition:
    """Return a job of the code location; the processes of its steps call this again."""
    return _definitions().resolve_job_def(name)


@functools.cache
def _definitions() -> dg.Definitions:
    return defs()


def _cause(result: dg.JobExecutionResult, partition: str) -> str:
    """Return which step failed first, and why."""
    for event in result.filter_events(lambda event: event.is_step_failure):
        data = event.step_failure_data
        where = f"{str(event.step_key).replace('__', '/')} [{partition}] failed"
        if data.user_failure_data is not None:
            return f"{where}: {data.user_failure_data.description}"
        if data.error is not None:
            return f"{where}: {(data.error.cause or data.error).message.strip()}"
    return f"[{partition}]: see run {result.run_id} in the UI"


def show(runs: Sequence[RegressorRun]) -> None:
    """Print tables and files of each run, then runs side by side, then what inpainters give.

    Raises
    ------
    DataError
        If predictions are missing, or are of different events.
    """
    for run in runs:
        _echo_files(run.run_dir / f"resolution_table_{run.name}.txt")
        echo(f"\nFiles in {run.run_dir}:")
        for path in sorted(path for path in run.run_dir.rglob("*") if path.is_file()):
            echo(f"  {path.stat().st_size / 1e6:9.3f} MB  {path.relative_to(run.run_dir)}")
    for run in runs[:1]:
        path = run.run_dir / f"efficiency_table_{run.name}.txt"
        if path.is_file():  # of all depths; by depth it is in the file
            echo(f"\n{path.read_text().partition('Versus depth')[0].rstrip()}")
    first, second = ((run.run_dir, run.name) for run in runs)
    pretrained, scratch = RUNS.values()
    echo(f"\n{compare_runs(first, second, (pretrained, scratch)).text().rstrip()}")
    for name in INPAINTERS:
        folder = registered_inpainter(name).run_dir
        _echo_files(folder / ANALYSIS_FOLDER / f"recovery_table_{name}.txt")
        _echo_files(folder / f"{dead_study_file(name)}.txt")
    reports = sorted({path for run in runs for path in run.run_dir.glob("*report_*.html")})
    if reports:
        echo("\nAll about a run in one file, to open in a browser:")
    for path in reports:
        echo(f"  {path}")


def _echo_files(*paths: Path) -> None:
    """Print the texts of the files that are there, each after an empty line."""
    for path in paths:
        if path.is_file():
            echo(f"\n{path.read_text().rstrip()}")


def echo(text: str) -> None:
    """Write a line to the terminal, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
