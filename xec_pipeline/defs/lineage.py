"""Which weights a training begins with: as Dagster recorded them, not as the folder looks."""

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone
from typing import Any, Final

import dagster as dg

from xec_pipeline.config.datasets import dataset_key
from xec_pipeline.config.origin import encoder_by_name, resumed_run
from xec_pipeline.config.pretrained import PretrainedRun
from xec_pipeline.config.registry import RunKind, registered_mae
from xec_pipeline.config.run_base import Run
from xec_pipeline.defs import keys


@dataclasses.dataclass(frozen=True)
class UpstreamEncoder:
    """The latest materialization of an encoder.

    Attributes
    ----------
    mae
        Name of the masked-autoencoder run.
    path
        The encoder's file.
    data_version
        Hash of its weights, as its worker reported it.
    dagster_run_id
        Dagster run that made it.
    """

    mae: str
    path: str
    data_version: str
    dagster_run_id: str

    def extras(self) -> dict[str, Any]:
        """Return what the worker is told; it refuses a file of another data version."""
        return {"encoder": {"path": self.path, "data_version": self.data_version}}

    def metadata(self) -> dict[str, dg.MetadataValue[Any]]:
        """Return what is said about it beside the regressor's weights."""
        page = f"/assets/{'/'.join(keys.ENCODER.path)}?view=partitions&partition={self.mae}"
        return {
            "upstream_mae": dg.MetadataValue.text(self.mae),
            "upstream_mae_data_version": dg.MetadataValue.text(self.data_version),
            # Text: a path would count as a file of the regressor itself.
            "upstream_mae_encoder": dg.MetadataValue.text(self.path),
            "upstream_mae_run": dg.MetadataValue.dagster_run(self.dagster_run_id),
            "upstream_mae_asset": dg.MetadataValue.asset(keys.ENCODER),
            "upstream_mae_page": dg.MetadataValue.url(page),
        }


def with_origin(
    made: dg.MaterializeResult[None],
    upstream: UpstreamEncoder | None,
    resumed: Mapping[str, dg.MetadataValue[Any]],
) -> dg.MaterializeResult[None]:
    """Return trained weights with what is said about those that they began with."""
    told = {**(upstream.metadata() if upstream else {}), **resumed}
    return made._replace(metadata={**(made.metadata or {}), **told}) if told else made


def named_encoder(instance: dg.DagsterInstance, run: PretrainedRun) -> UpstreamEncoder | None:
    """Return the encoder that a run begins with by its line `mae`; None if there is none."""
    mae = encoder_by_name(run)
    return upstream_encoder(instance, mae) if mae is not None else None


def upstream_encoder(instance: dg.DagsterInstance, mae: str) -> UpstreamEncoder:
    """Return the encoder that Dagster knows of the masked-autoencoder run `mae`.

    Raises
    ------
    dagster.Failure
        If it was never made.
    """
    found = latest_of(instance, keys.ENCODER, mae)
    if found is None:
        name = keys.ENCODER.to_user_string()
        raise dg.Failure(
            f"{name} [{mae}] was never materialized; make it first", allow_retries=False
        )
    made, dagster_run_id = found
    path = made.metadata.get("encoder")
    return UpstreamEncoder(
        mae=mae,
        path=str(path.value if path else registered_mae(mae).encoder_path.absolute()),
        data_version=(made.tags or {})[keys.VERSION_TAG],
        dagster_run_id=dagster_run_id,
    )


def begun_with(
    paths: Iterable[str], upstream: UpstreamEncoder | None = None
) -> list[tuple[dg.AssetKey, str]]:
    """Return what a training begins with, as assets and partitions: its shards, its encoder."""
    shards = [(keys.SHARDS, name) for name in sorted(map(dataset_key, paths))]
    return shards + ([(keys.ENCODER, upstream.mae)] if upstream else [])


_NO_EVENT: Final = "NULL"
"""What Dagster writes where the number of an input's latest event would stand."""
_WEIGHTS: Final[Mapping[RunKind, dg.AssetKey]] = {
    "mae": keys.ENCODER,
    "regressor": keys.WEIGHTS,
    "inpainter": keys.INPAINTER,
}


def resumed_metadata(instance: dg.DagsterInstance, run: Run) -> dict[str, dg.MetadataValue[Any]]:
    """Return what is said of the registered run whose checkpoint a training was told to resume.

    An asset cannot depend on another partition of itself, so this is told beside the weights. Ask
    before the training begins, because that run may be made again meanwhile. The version is that of
    its best weights; the worker tells that of the very file as `resumed_from_tensor_digest`, or
    `encoder_tensor_digest`.
    """
    origin = resumed_run(run)
    if origin is None:
        return {}
    key = _WEIGHTS[origin.kind]
    told: dict[str, dg.MetadataValue[Any]] = {
        "resumed_from_run": dg.MetadataValue.text(origin.name),
        "resumed_from_file": dg.MetadataValue.text(str(run.checkpoint.resume_from)),
        "resumed_from_asset": dg.MetadataValue.asset(key),
    }
    made = latest_of(instance, key, origin.name)
    if made is not None:
        event, dagster_run_id = made
        version = (event.tags or {}).get(keys.VERSION_TAG, "")
        told["resumed_from_data_version"] = dg.MetadataValue.text(version)
        told["resumed_from_dagster_run"] = dg.MetadataValue.dagster_run(dagster_run_id)
    return told


def recorded_asset(context: dg.AssetExecutionContext) -> dict[str, Any]:
    """Return what every worker is told of the asset that it makes.

    Returns
    -------
    dict
        `key` and `partition` as text, `code_version`, and `data_version` as it was recorded last;
        None for what is not there.
    """
    key = context.asset_key
    partition = context.partition_key if context.has_partition_key else None
    if partition is None:
        made = latest_unpartitioned(context.instance, key)
    else:
        found = latest_of(context.instance, key, partition)
        made = found[0] if found else None
    version = ((made.tags if made else None) or {}).get(keys.VERSION_TAG)
    return {
        "key": key.to_user_string(),
        "partition": partition,
        "code_version": context.assets_def.specs_by_key[key].code_version,
        "data_version": version,
    }


def latest_of(
    instance: dg.DagsterInstance, key: dg.AssetKey, partition: str
) -> tuple[dg.AssetMaterialization, str] | None:
    """Return the latest materialization of a partition and the Dagster run that made it."""
    wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition])
    records = instance.fetch_materializations(wanted, limit=1).records
    made = records[0].event_log_entry.asset_materialization if records else None
    return None if made is None else (made, records[0].run_id)


def last_event_seen(made: dg.AssetMaterialization, upstream: dg.AssetKey) -> int:
    """Return the storage number of the last event of an input when an asset was made; -1 for none.

    Dagster writes this into a tag, "NULL" if the input had no event then.
    """
    name = "/".join(upstream.path)
    text = (made.tags or {}).get(f"dagster/input_event_pointer/{name}", _NO_EVENT)
    return -1 if text == _NO_EVENT else int(text)


def made_before(
    instance: dg.DagsterInstance, items: Iterable[tuple[dg.AssetKey, str]]
) -> list[dict[str, str]]:
    """Return what Dagster knows of the latest materializations, for a report to show.

    Parameters
    ----------
    instance
        Holds what was made.
    items
        Assets and partitions; those that were never made are left out.
    """
    found = []
    for key, partition in items:
        wanted = dg.AssetRecordsFilter(asset_key=key, asset_partitions=[partition])
        for record in instance.fetch_materializations(wanted, limit=1).records:
            event = record.event_log_entry.asset_materialization
            time = datetime.fromtimestamp(record.timestamp, timezone.utc)
            found.append(
                {
                    "asset": key.to_user_string(),
                    "partition": partition,
                    "dagster_run_id": record.run_id,
                    "data_version": ((event.tags if event else None) or {}).get(
                        keys.VERSION_TAG, ""
                    ),
                    "time": f"{time:%Y-%m-%d %H:%M:%S} UTC",
                }
            )
    return found


def latest_unpartitioned(
    instance: dg.DagsterInstance, key: dg.AssetKey
) -> dg.AssetMaterialization | None:
    """Return the latest materialization of an asset without partitions."""
    event = instance.get_latest_materialization_event(key)
    return None if event is None else event.asset_materialization
