"""Put the resolutions of all registered regressors beside each other.

python -m xec_pipeline.workers.leaderboard
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xec_pipeline.config.registry import production_config, registered_regressor, run_names
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.errors import ConfigError
from xec_pipeline.evaluation.champion import Candidate, read_champion
from xec_pipeline.evaluation.leaderboard import Entry, Leaderboard, ranked, read_entry
from xec_pipeline.evaluation.table_files import write_table_files
from xec_pipeline.workers.entry import run_worker
from xec_pipeline.workers.outputs import files_version
from xec_pipeline.workers.pipes import Report


def main(argv: Sequence[str] | None = None) -> int:
    """Run the worker; return 0, or 2 after an error that the user can mend."""
    parser = argparse.ArgumentParser(
        prog="python -m xec_pipeline.workers.leaderboard", description=__doc__
    )
    return run_worker(parser.parse_args(argv), work)


def work(_args: argparse.Namespace, report: Report) -> int:
    """Read the tables, write the board and report it; return 0."""
    folder = Path(production_config().folder)
    board = read_board(read_champion(folder), report.extras.get("trained", {}))
    paths = write_table_files(
        folder / "leaderboard",
        board.numbers(),
        {"notes": board.notes(), "missing": board.missing},
        markdown=board.markdown(),
        text=board.text(),
    )
    sys.stdout.write(board.text())
    report.result(
        {
            "runs": len(board.entries),
            "best": board.entries[0].run if board.entries else "none",
            "missing": ", ".join(board.missing) or "none",
            "leaderboard": {"raw_value": as_table(board), "type": "table"},
            "notes": {"raw_value": "\n\n".join(board.notes()), "type": "md"},
            "table": paths["md"],
        },
        files_version(paths.values(), folder),
    )
    return 0


def read_board(champion: Candidate | None, trained: Mapping[str, str]) -> Leaderboard:
    """Return the board of all registered regressors.

    Parameters
    ----------
    champion
        The model in use, if there is one.
    trained
        By run, when its weights were made; empty by hand.
    """
    entries, missing = [], []
    for name in run_names("regressor"):
        try:
            run = registered_regressor(name)
        except ConfigError as error:
            missing.append(f"{name} ({error})")
            continue
        path = run.run_dir / f"resolution_table_{name}.json"
        if path.is_file():
            used = champion.weights_version if champion and champion.run == name else None
            entries.append(read_entry(path, _entry(run, trained.get(name, "")), used))
        else:
            missing.append(name)
    return ranked(entries, missing)


def as_table(board: Leaderboard) -> dict[str, Any]:
    """Return the board as Dagster's table."""
    # A browser would break a number before its uncertainty.
    found = [
        {
            name: text.replace(" ± ", "\N{NO-BREAK SPACE}±\N{NO-BREAK SPACE}")
            for name, text in record.items()
        }
        for record in board.records()
    ]
    columns = list(found[0]) if found else ["run"]
    return {
        "records": found,
        "schema": [{"name": name, "type": "string"} for name in columns],
    }


def _entry(run: RegressorRun, trained: str) -> Entry:
    begun = f", MAE {run.mae}" if run.mae else ""
    return Entry(run=run.name, encoder=f"{run.model.encoder}{begun}", trained=trained)


if __name__ == "__main__":
    sys.exit(main())
