"""What is missing or out of date, asked of Dagster itself.

Dagster tells staleness through its GraphQL interface only. The query runs in a process of its own,
without a server, on the instance that DAGSTER_HOME names.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import dagster as dg

from xec_pipeline.errors import XecError

AssetPartition = tuple[dg.AssetKey, str]

_GRAPHQL: Final = (sys.executable, "-c", "from dagster_graphql.cli import main; main()")
_STATUSES: Final = (
    "{ assetNodes { assetKey { path } partitionKeys staleStatus staleStatusByPartition } }"
)
_CAUSES: Final = (
    "{{ assetNodes(assetKeys: [{{path: {path}}}]) {{ staleCauses(partition: {partition}) "
    "{{ reason partitionKey key {{ path }} dependency {{ path }} dependencyPartitionKey }} }} }}"
)


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
    found: dict[AssetPartition, str] = {}
    for node in _asset_nodes(workspace, _STATUSES):
        key, partitions = dg.AssetKey(node["assetKey"]["path"]), node["partitionKeys"]
        if partitions:
            told = zip(partitions, node["staleStatusByPartition"], strict=True)
            found |= {(key, partition): status for partition, status in told}
        else:
            found[key, ""] = node["staleStatus"]
    return found


def causes(workspace: Path, key: dg.AssetKey, partition: str) -> list[str]:
    """Return why Dagster calls a partition stale, each in a sentence; empty if it does not.

    Raises
    ------
    XecError
        As `statuses`.
    """
    query = _CAUSES.format(path=json.dumps(key.path), partition=json.dumps(partition))
    return [
        _sentence(cause) for node in _asset_nodes(workspace, query) for cause in node["staleCauses"]
    ]


def _sentence(cause: dict[str, Any]) -> str:
    dependency = cause["dependency"]
    named = f" ({_name(dependency, cause['dependencyPartitionKey'])})" if dependency else ""
    return f"{_name(cause['key'], cause['partitionKey'])} {cause['reason']}{named}"


def _name(key: dict[str, Any], partition: str | None) -> str:
    text = "/".join(key["path"])
    return f"{text} [{partition}]" if partition else text


def _asset_nodes(workspace: Path, query: str) -> list[dict[str, Any]]:
    """Ask Dagster; DAGSTER_HOME is this folder if it is not set, as it is for `dg dev`."""
    command = [*_GRAPHQL, "-w", str(workspace), "-t", query]
    env = {"DAGSTER_HOME": str(Path.cwd()), **os.environ}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    answer = _last_json(done.stdout)
    if answer is None or answer.get("errors") or not answer["data"]["assetNodes"]:
        raise XecError(f"{workspace}: Dagster cannot tell what is stale:\n{done.stderr[-2000:]}")
    return list(answer["data"]["assetNodes"])


def _last_json(text: str) -> dict[str, Any] | None:
    lines = [line for line in text.splitlines() if line.startswith("{")]
    return dict(json.loads(lines[-1])) if lines else None
