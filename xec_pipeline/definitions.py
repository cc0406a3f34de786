"""The Dagster code location: everything that `xec_pipeline.defs` defines."""

from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """Return all assets, checks, sensors, jobs and resources."""
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
