"""What is missing or out of date, asked of Dagster itself.

Dagster tells staleness through its GraphQL interface only. The query runs in a process of its own,
without a server, on the instance that DAGSTER_HOME names.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import dagster as dg

from xec_pipeline.errors import XecError

AssetPartition = tuple[dg.AssetKey, str]

_GRAPHQL: Final = (sys.executable, "-c", "from dagster_graphql.cli import main; main()")
_QUERY: Final = "{ assetNodes { assetKey { path } partitionKeys staleStatusByPartition } }"


def statuses(workspace: Path) -> dict[AssetPartition, str]:
    """Return the status of each partition of each asset: FRESH, STALE or MISSING.

    Parameters
    ----------
    workspace
        The file workspace.yaml.

    Raises
    ------
    XecError
        If the code location cannot be loaded; the message ends with Dagster's own.
    """
    command = [*_GRAPHQL, "-w", str(workspace), "-t", _QUERY]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    answer = _last_json(done.stdout)
    if answer is None or answer.get("errors") or not answer["data"]["assetNodes"]:
        raise XecError(f"{workspace}: Dagster cannot tell what is stale:\n{done.stderr[-2000:]}")
    return {
        (dg.AssetKey(node["assetKey"]["path"]), partition): status
        for node in answer["data"]["assetNodes"]
        for partition, status in zip(
            node["partitionKeys"], node["staleStatusByPartition"], strict=True
        )
    }


def _last_json(text: str) -> dict[str, Any] | None:
    lines = [line for line in text.splitlines() if line.startswith("{")]
    return dict(json.loads(lines[-1])) if lines else None
