"""`xec dead`: which sensors are dead in which run."""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from xec_pipeline.errors import ConfigError, DataError

if TYPE_CHECKING:
    from xec_pipeline.data.dead_from_data import SeenDead
    from xec_pipeline.detector.dead_table import DeadInterval

_DESCRIPTION: Final = """\
List, keep and compare the dead sensors of real runs. They come from a SOURCE:
  FILE.txt      one sensor number per line, # begins a comment
  FOLDER        such files, named dead_run<RUN>.txt or dead_channels_run<RUN>.txt
  FILE.csv      table of run intervals: run_first,run_last,status_id,channel,source
  URL           database with RunCatalog, XECConf, XECPMStatusDB and XECPMStatus
  database      the same, its URL in the variable XEC_DEAD_DB
A run that the source does not know is an error, never a run without dead sensors."""

_EPILOG: Final = """\
examples
  fill a table from the database once; afterwards nobody needs the database:
    export XEC_DEAD_DB='mysql+pymysql://reader:PASSWORD@host/name'
    xec dead import --runs 391000:391999 --out dead_channels.csv
  the sensors of one run, as a text file on the screen:
    xec dead list 391066 --source dead_channels.csv
  counts by face, of all intervals or of some runs:
    xec dead summary --source dead_channels.csv
    xec dead summary 391066 427120 --source dead_channels.csv
  years side by side, tables and a figure:
    xec dead compare 2021=391066 2022=427120 2023=520134 --source dead_channels.csv
  text files dead_run<RUN>.txt:
    xec dead write 391066 427120 --source dead_channels.csv --output_dir dead/
  what the events themselves say (no value in more than 90 % of a run's events):
    xec dead from-data /data/run430000.root --out dead_seen.csv"""

_SOURCE_HELP: Final = "text file, folder, table, URL or 'database' [database]"
_OUT_HELP: Final = (
    "also write: FILE.csv a table by run, FILE.txt one list over all events, FOLDER a list per run"
)
_FEW_EVENTS: Final = 20


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its actions."""
    parser = subparsers.add_parser(
        "dead",
        help="list, import and compare the dead sensors of runs",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="action")
    show = _action(actions, "list", _list, "print the dead sensors of a run, as a text file")
    show.add_argument("run", type=int, help="run number")
    summary = _action(actions, "summary", _summary, "count dead sensors by face")
    summary.add_argument("runs", nargs="*", type=int, metavar="RUN", help="default: all intervals")
    write = _action(actions, "write", _write, "write text files dead_run<RUN>.txt")
    write.add_argument("runs", nargs="+", type=int, metavar="RUN")
    compare = _action(actions, "compare", _compare, "compare periods, each represented by a run")
    compare.add_argument("periods", nargs="+", metavar="RUN|LABEL=RUN", help="in order of time")
    for each in (show, summary, write, compare):
        each.add_argument("--source", default="database", help=_SOURCE_HELP)
    for each in (write, compare):
        each.add_argument(
            "--output_dir", "--output-dir", type=Path, default=Path(), help="folder [here]"
        )
    _add_import(actions)
    _add_from_data(actions)


def run(args: argparse.Namespace) -> int:
    """Run the chosen action; return the exit status."""
    sys.stdout.writelines(f"{line}\n" for line in args.do(args))
    return 0


def _action(
    actions: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    do: Callable[[argparse.Namespace], Sequence[str]],
    text: str,
) -> argparse.ArgumentParser:
    parser = actions.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}. See `xec dead --help`."
    )
    parser.set_defaults(do=do)
    return parser


def _add_import(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _action(
        actions, "import", _import, "read a range of runs from a database into a table"
    )
    parser.add_argument("--runs", required=True, metavar="A:B", help="first and last run")
    parser.add_argument(
        "--source",
        default="database",
        metavar="URL",
        help="URL of the database; others on this machine can see a password in it, so better set "
        "XEC_DEAD_DB [database]",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("dead_channels.csv"), help="table [dead_channels.csv]"
    )
    parser.add_argument(
        "--skip_incomplete",
        "--skip-incomplete",
        action="store_true",
        help="leave out runs with a missing link; the table will not know them",
    )
    _add_replace(parser)


def _add_from_data(actions: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    parser = _action(actions, "from-data", _from_data, "find sensors that hardly ever have a value")
    parser.add_argument("path", help="ROOT file, folder, pattern or shard folder")
    parser.add_argument(
        "--above",
        type=float,
        default=0.9,
        metavar="SHARE",
        help="dead without a value in more than this share of a run's events [0.9]",
    )
    parser.add_argument("--out", type=Path, help=_OUT_HELP)
    _add_replace(parser)


def _add_replace(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--replace", action="store_true", help="replace what a table says of the same runs"
    )


def _list(args: argparse.Namespace) -> list[str]:
    from xec_pipeline.detector.dead_runs import file_header, open_dead_source

    dead = open_dead_source(args.source).of_run(args.run).at(args.run)
    return [*(f"# {line}" for line in file_header(dead)), *map(str, dead.channels)]


def _summary(args: argparse.Namespace) -> list[str]:
    from xec_pipeline.detector.dead_runs import open_dead_source

    source = open_dead_source(args.source)
    if not args.runs:
        return _counts([(dead.runs, dead) for dead in source.all_intervals()])
    return _counts([(str(run), source.of_run(run)) for run in args.runs])


def _write(args: argparse.Namespace) -> list[str]:
    from xec_pipeline.detector.dead_runs import open_dead_source, write_run_file

    source = open_dead_source(args.source)
    # All are looked up before the first is written.
    found = [source.of_run(run).at(run) for run in args.runs]
    return [str(write_run_file(args.output_dir, dead)) for dead in found]


def _compare(args: argparse.Namespace) -> list[str]:
    from xec_pipeline.detector.dead_runs import open_dead_source
    from xec_pipeline.evaluation.dead_comparison import (
        DeadComparison,
        Period,
        write_dead_comparison,
    )

    source = open_dead_source(args.source)
    periods = [
        Period(label=label, run=run, dead=source.of_run(run))
        for label, run in map(_period, args.periods)
    ]
    comparison = DeadComparison(tuple(periods))
    paths = write_dead_comparison(comparison, args.output_dir)
    return [comparison.text(), *map(str, paths.values())]


def _import(args: argparse.Namespace) -> list[str]:
    from xec_pipeline.detector.dead_runs import DATABASE, open_dead_database
    from xec_pipeline.detector.dead_table_file import add_to_dead_table

    first, last = _range(args.runs)
    database = open_dead_database(None if args.source == DATABASE else args.source)
    got = database.of_runs(first, last, skip_incomplete=args.skip_incomplete, progress=True)
    table = add_to_dead_table(args.out, got.intervals, replace=args.replace)
    return [
        *(f"left out: {line}" for line in got.left_out),
        *_counts([(dead.runs, dead) for dead in got.intervals]),
        f"{got.n_runs} runs from {database.name}; {args.out}: {len(table.intervals)} intervals",
    ]


def _from_data(args: argparse.Namespace) -> list[str]:
    from xec_pipeline.data.dead_from_data import count_missing

    if not 0 <= args.above < 1:
        raise ConfigError(f"--above {args.above}: expected a share from 0 to below 1")
    seen = count_missing(args.path, progress=True)
    found = seen.intervals(args.above)
    names = [f"{dead.runs} ({seen.n_events[dead.run_first]} events)" for dead in found]
    lines = _counts(list(zip(names, found, strict=True)))
    if min(seen.n_events.values()) < _FEW_EVENTS:
        lines.append(f"fewer than {_FEW_EVENTS} events say little: dim sensors may look dead")
    return lines if args.out is None else [*lines, *_keep(args, seen, found)]


def _keep(args: argparse.Namespace, seen: "SeenDead", found: Sequence["DeadInterval"]) -> list[str]:
    """Write what the events say as a table, one list, or a list per run; return the paths."""
    from xec_pipeline.detector.dead_channels import write_dead_file
    from xec_pipeline.detector.dead_runs import write_run_file
    from xec_pipeline.detector.dead_table import merge_neighbours
    from xec_pipeline.detector.dead_table_file import add_to_dead_table

    if args.out.suffix == ".txt":
        header = [seen.words(args.above), f"{sum(seen.n_events.values())} events"]
        return [str(write_dead_file(args.out, seen.of_all(args.above), header))]
    if found[0].run_first < 0:
        raise DataError(f"{args.path}: the events have no run number; write one list, FILE.txt")
    if args.out.suffix == ".csv":
        add_to_dead_table(args.out, merge_neighbours(found), replace=args.replace)
        return [str(args.out)]
    return [str(write_run_file(args.out, dead)) for dead in found]


def _counts(rows: Sequence[tuple[str, "DeadInterval"]]) -> list[str]:
    """Return a table of counts by face."""
    from xec_pipeline.detector.dead_runs import summarize_dead
    from xec_pipeline.detector.faces import FACE_NAMES

    faces = list(FACE_NAMES.values())
    cells = [["runs", "status", *faces, "total", "fraction"]]
    for name, dead in rows:
        summary = summarize_dead(dead.mask())
        status = "-" if dead.status_id is None else str(dead.status_id)
        counts = [str(summary.by_face[face]) for face in faces]
        cells.append(
            [name, status, *counts, str(summary.n_dead), f"{100 * summary.fraction:.2f} %"]
        )
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(map(str.rjust, row, widths)) for row in cells]


def _range(text: str) -> tuple[int, int]:
    first, colon, last = text.partition(":")
    if not (first.isdecimal() and (last or first).isdecimal()) or (colon and not last):
        raise ConfigError(f"--runs {text}: expected first and last run, such as 391000:391999")
    runs = int(first), int(last or first)
    if runs[0] > runs[1]:
        raise ConfigError(f"--runs {text}: the first run is after the last")
    return runs


def _period(text: str) -> tuple[str, int]:
    label, equals, run = text.rpartition("=")
    if not run.isdecimal() or (equals and not label):
        raise ConfigError(f"{text}: expected RUN or LABEL=RUN, such as 2021=391066")
    return label or run, int(run)
