"""The Dagster code location: everything that `xec_pipeline.defs` defines."""

from pathlib import Path

import dagster as dg

from xec_pipeline.defs.code_links import with_code_links


@dg.definitions
def defs() -> dg.Definitions:
    """Return all assets, checks, sensors, jobs and resources."""
    return with_code_links(dg.load_from_defs_folder(path_within_project=Path(__file__).parent))
