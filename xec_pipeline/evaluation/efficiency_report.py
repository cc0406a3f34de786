"""From predictions and limits to the files of the efficiency: table and figure."""

import dataclasses
from pathlib import Path

from xec_pipeline.data.limit_files import LimitColumns
from xec_pipeline.evaluation.compared_tables import compared_tables
from xec_pipeline.evaluation.efficiency import rows_of, samples
from xec_pipeline.evaluation.efficiency_table import EfficiencyTable
from xec_pipeline.evaluation.metadata import read_meta
from xec_pipeline.evaluation.plots.efficiency import pages
from xec_pipeline.evaluation.plots.pages import write_pages
from xec_pipeline.evaluation.plots.style import Caption
from xec_pipeline.evaluation.table_files import write_table_files


def build_efficiency_table(
    folder: Path | str, run_name: str, limits: LimitColumns
) -> EfficiencyTable:
    """Compare the predictions whose CSVs stand in `folder` with the limits of their events.

    Parameters
    ----------
    folder, run_name
        Predictions of the network and, where they are, of other methods.
    limits
        See `data.limit_files.read_limits`.

    Raises
    ------
    DataError
        If there are no predictions, or they are not of the events of the limits.
    """
    found = compared_tables(folder, run_name)
    rows = [row for sample in samples(found.tables, limits) for row in rows_of(sample)]
    # Events with a limit are of the toy detector, whatever is known of the predictions.
    meta = dataclasses.replace(read_meta(folder, run_name), is_toy=True)
    return EfficiencyTable(rows=tuple(rows), selection=found.selection, meta=meta)


def write_efficiency(
    folder: Path | str,
    run_name: str,
    limits: LimitColumns,
    out_dir: Path | str | None = None,
    suffix: str = "",
) -> tuple[EfficiencyTable, dict[str, Path]]:
    """Write the table and the figure of the efficiency of a run.

    Parameters
    ----------
    folder, run_name, limits
        See `build_efficiency_table`.
    out_dir
        By default `folder`.
    suffix
        Put behind the run's name in the names of the files.

    Returns
    -------
    table, paths
        The table, and its files `efficiency_table_{run}{suffix}` by ending (csv, json, md, txt);
        `pdf` is `limit_efficiency_{run}{suffix}.pdf`, with a JSON of the numbers drawn beside it.
    """
    table = build_efficiency_table(folder, run_name, limits)
    target = Path(out_dir or folder)
    content = {
        **dataclasses.asdict(table.meta),
        "selection": table.selection,
        "notes": table.notes(),
        "warnings": table.warnings(),
    }
    paths = write_table_files(
        target / f"efficiency_table_{run_name}{suffix}",
        table.records(),
        content,
        markdown=table.markdown(),
        text=table.text(),
    )
    paths["pdf"] = target / f"limit_efficiency_{run_name}{suffix}.pdf"
    n_events = max((row.n for row in table.rows), default=0)
    caption = Caption(run_name=run_name, n_events=n_events, meta=table.meta)
    write_pages(pages(table), caption, paths["pdf"], f"physical limit, run {run_name}")
    return table, paths
