"""Numbers by name as lines of a CSV."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from xec_pipeline.atomic import replacing


def write_records(path: Path, records: Sequence[Mapping[str, Any]]) -> Path:
    """Write one line per record, with the keys of the first as header; whole or not at all."""
    with replacing(path) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(records[0]) if records else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(records)
    return path
