"""A table in four files: numbers as CSV and JSON, text for a terminal and in Markdown."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xec_pipeline.atomic import replacing
from xec_pipeline.evaluation.metadata import write_json
from xec_pipeline.evaluation.records import write_records


def write_table_files(
    stem: Path,
    records: Sequence[Mapping[str, Any]],
    content: Mapping[str, Any],
    *,
    markdown: str,
    text: str,
) -> dict[str, Path]:
    """Write a table.

    Parameters
    ----------
    stem
        Path without its ending.
    records
        Rows of the CSV, all with the same names; also `rows` of the JSON.
    content
        What else the JSON holds.
    markdown, text
        The table to read.

    Returns
    -------
    dict
        Paths by ending: csv, json, md, txt.
    """
    endings = ("csv", "json", "md", "txt")
    paths = {ending: stem.with_name(f"{stem.name}.{ending}") for ending in endings}
    write_records(paths["csv"], records)
    write_json(paths["json"], {**content, "rows": records})
    for ending, readable in (("md", markdown), ("txt", text)):
        with replacing(paths[ending]) as partial:
            partial.write_text(readable)
    return paths
