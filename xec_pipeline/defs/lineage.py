"""Which encoder a regressor begins with: as Dagster recorded it, not as the folder looks."""

import dataclasses
from typing import Any

import dagster as dg

from xec_pipeline.config.registry import registered_mae
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

    def beside(self, made: dg.MaterializeResult[None]) -> dg.MaterializeResult[None]:
        """Return what was made from this encoder with its metadata added."""
        return made._replace(metadata={**(made.metadata or {}), **self.metadata()})


def upstream_encoder(instance: dg.DagsterInstance, mae: str) -> UpstreamEncoder:
    """Return the encoder that Dagster knows of the masked-autoencoder run `mae`.

    Raises
    ------
    dagster.Failure
        If it was never made.
    """
    wanted = dg.AssetRecordsFilter(asset_key=keys.ENCODER, asset_partitions=[mae])
    records = instance.fetch_materializations(wanted, limit=1).records
    made = records[0].event_log_entry.asset_materialization if records else None
    if made is None:
        name = keys.ENCODER.to_user_string()
        raise dg.Failure(
            f"{name} [{mae}] was never materialized; make it first", allow_retries=False
        )
    path = made.metadata.get("encoder")
    return UpstreamEncoder(
        mae=mae,
        path=str(path.value if path else registered_mae(mae).encoder_path.absolute()),
        data_version=(made.tags or {})[keys.VERSION_TAG],
        dagster_run_id=records[0].run_id,
    )
