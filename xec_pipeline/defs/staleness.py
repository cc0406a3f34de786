"""What is missing or out of date, asked of Dagster itself.

Dagster tells staleness through its GraphQL interface only. The query runs in a process of its own,
without a server, on the instance that DAGSTER_HOME names.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import dagster as dg

from xec_pipeline.defs import keys
from xec_pipeline.errors import XecError

AssetPartition = tuple[dg.AssetKey, str]

_GRAPHQL: Final = (sys.executable, "-c", "from dagster_graphql.cli import main; main()")
_BY_PARTITION: Final = "assetKey { path } partitionKeys staleStatusByPartition"


def statuses(workspace: Path) -> dict[AssetPartition, str]:
    """Return the status of each partition of each asset: FRESH, STALE or MISSING.

    Parameters
    ----------
    workspace
        The file workspace.yaml.

    Returns
    -------
    dict
        By asset and partition; the partition of an asset without partitions is empty.

    Raises
    ------
    XecError
        If the code location cannot be loaded; the message ends with Dagster's own.
    """
    return _statuses(_answer(workspace, _status_query()))


def _status_query() -> str:
    # The status by partition is an error for an asset without partitions.
    partitioned = [key for key in keys.all_keys() if key not in keys.UNPARTITIONED]
    return (
        f"runs: {_nodes(partitioned, _BY_PARTITION)} "
        f"top: {_nodes(keys.UNPARTITIONED, 'assetKey { path } staleStatus')}"
    )


def _nodes(wanted: Iterable[dg.AssetKey], fields: str) -> str:
    paths = ", ".join(f"{{path: {json.dumps(key.path)}}}" for key in wanted)
    return f"assetNodes(assetKeys: [{paths}]) {{ {fields} }}"


def _statuses(data: dict[str, Any]) -> dict[AssetPartition, str]:
    found: dict[AssetPartition, str] = {}
    for node in data["runs"]:
        key = dg.AssetKey(node["assetKey"]["path"])
        told = zip(node["partitionKeys"], node["staleStatusByPartition"], strict=True)
        found |= {(key, partition): status for partition, status in told}
    tops = {(dg.AssetKey(node["assetKey"]["path"]), ""): node for node in data["top"]}
    return found | {top: node["staleStatus"] for top, node in tops.items()}


def _answer(workspace: Path, query: str) -> dict[str, Any]:
    """Ask Dagster; DAGSTER_HOME is this folder if it is not set, as it is for `dg dev`."""
    command = [*_GRAPHQL, "-w", str(workspace), "-t", f"{{ {query} }}"]
    env = {"DAGSTER_HOME": str(Path.cwd()), **os.environ}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    answer = _last_json(done.stdout)
    if answer is None or answer.get("errors") or not answer["data"]["runs"]:
        raise XecError(f"{workspace}: Dagster cannot tell what is stale:\n{done.stderr[-2000:]}")
    return dict(answer["data"])


def _last_json(text: str) -> dict[str, Any] | None:
    lines = [line for line in text.splitlines() if line.startswith("{")]
    return dict(json.loads(lines[-1])) if lines else None
