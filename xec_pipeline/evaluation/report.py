"""From the CSVs of a run to its figures."""

import logging
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final

from xec_pipeline.evaluation.beside import with_conventional
from xec_pipeline.evaluation.cross_truth import further_tables, with_cross_truth
from xec_pipeline.evaluation.metadata import PredictionMeta, read_meta
from xec_pipeline.evaluation.plots import angle, energy, position, timing
from xec_pipeline.evaluation.plots.bin_histograms import bin_pages
from xec_pipeline.evaluation.plots.choice import DEFAULT, Choice
from xec_pipeline.evaluation.plots.pages import Page, write_pages
from xec_pipeline.evaluation.plots.style import Caption
from xec_pipeline.evaluation.residuals import usable
from xec_pipeline.evaluation.tables import (
    TEST_FOLDER,
    PredictionTable,
    predicted_tasks,
    read_prediction_csvs,
)

_PAGES: Final[Mapping[str, Callable[[PredictionTable, Choice], list[Page]]]] = MappingProxyType(
    {
        "angle": angle.pages,
        "energy": energy.pages,
        "timing": timing.pages,
        "uvwFI": position.pages,
    }
)

_log = logging.getLogger(__name__)


def figure_path(out_dir: Path | str, task: str, run_name: str, suffix: str = "") -> Path:
    """Return where the resolution figure of a task is written."""
    return Path(out_dir) / f"resolution_{task}_{run_name}{suffix}.pdf"


def write_resolution_figures(
    run_dir: Path | str,
    run_name: str,
    tasks: Iterable[str] | None = None,
    out_dir: Path | str | None = None,
    suffix: str = "",
    *,
    csv_suffix: str = "",
    choice: Choice = DEFAULT,
) -> dict[str, Path]:
    """Draw the resolution figures of a run from its CSVs; a JSON with the numbers beside each.

    Where the CSV of the conventional reconstruction stands beside that of the network, profiles
    show both.

    Parameters
    ----------
    run_dir, run_name
        Where the CSVs stand, and the name in theirs.
    tasks
        Tasks to draw; by default all whose CSV is there.
    out_dir
        Folder for the figures; by default `run_dir`.
    suffix
        Put behind the run's name in the names of the figures.
    csv_suffix
        `_ep{N}` to draw the predictions of that epoch.
    choice
        How widths are estimated, and how finely events are divided.

    Returns
    -------
    dict
        Path of the PDF by task.

    Raises
    ------
    DataError
        If a CSV is missing or lacks columns.
    """
    tables = read_prediction_csvs(run_dir, run_name, csv_suffix, tasks=tasks)
    others = further_tables(tables, run_dir, run_name, csv_suffix)
    completed = with_cross_truth(tables, others.values())
    tables = with_conventional(completed, run_dir, run_name)
    paths = {}
    for task, table in tables.items():
        meta = read_meta(run_dir, run_name, csv_suffix, task=task)
        path = figure_path(out_dir or run_dir, task, run_name, suffix)
        draw_task(task, table, meta, path, choice)
        paths[task] = path
    return paths


def write_test_figures(
    run_dir: Path | str,
    run_name: str,
    tasks: Iterable[str] | None = None,
    suffix: str = "",
    choice: Choice = DEFAULT,
) -> dict[str, Path]:
    """Draw the figures of the test sample into its folder below that of the run.

    Returns
    -------
    dict
        Path of the PDF by task; empty without predictions of test events. Of `tasks`, those that
        were predicted are drawn.
    """
    folder = Path(run_dir) / TEST_FOLDER
    predicted = predicted_tasks(folder, run_name)
    drawn = [task for task in predicted if tasks is None or task in tasks]
    if not drawn:
        return {}
    return write_resolution_figures(folder, run_name, drawn, suffix=suffix, choice=choice)


def draw_task(
    task: str, table: PredictionTable, meta: PredictionMeta, path: Path, choice: Choice = DEFAULT
) -> None:
    """Draw the figure of one task and write its PDF and JSON."""
    kept = usable(table, task)
    n_left_out = len(table) - len(kept)
    if n_left_out:
        _log.warning(
            "%s: %d events without finite truth or prediction left out", path.name, n_left_out
        )
    caption = Caption(run_name=meta.run_name, n_events=len(kept), n_left_out=n_left_out, meta=meta)
    write_pages(
        pages_of(task, kept, choice), caption, path, f"{task} resolution, run {meta.run_name}"
    )


def pages_of(task: str, table: PredictionTable, choice: Choice = DEFAULT) -> list[Page]:
    """Return the pages of the figure of a task for its usable events."""
    pages = _PAGES[task](table, choice)
    return [*pages, *bin_pages(pages)] if choice.with_bin_histograms else pages
