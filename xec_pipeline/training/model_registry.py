"""The model in use by MLflow's name for it: the alias `champion` of a registered model."""

import logging
from pathlib import Path
from typing import Any, Final

from xec_pipeline.config.output import MlflowConfig
from xec_pipeline.training.tracking import NO_TRACKING, tracking_uri

ALIAS: Final = "champion"
_VERSION_TAG: Final = "weights_version"

_log = logging.getLogger(__name__)


def register_champion(
    config: MlflowConfig, model: str, file: Path, *, run_id: str, tags: dict[str, str]
) -> str:
    """Let the alias `champion` of a registered model name a file; it is referred to, not copied.

    Parameters
    ----------
    config
        Names the store.
    model
        Name of the registered model; made if there is none.
    file
        Model file. Weights that were registered before get no second version.
    run_id
        MLflow run of the training; empty if there is none.
    tags
        What is said of the version; `weights_version` identifies it.

    Returns
    -------
    str
        What was done, or why nothing was: a store that is out of order hinders no selection.
    """
    uri = tracking_uri(config)
    if uri.lower() in NO_TRACKING:
        return "no MLflow store is configured, so no alias was set"
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    try:
        version = _version(client, model, file, run_id, tags)
        client.set_registered_model_alias(model, ALIAS, version)
    except MlflowException as error:
        _log.warning("MLflow did not take the alias %s of %s: %s", ALIAS, model, error)
        return f"MLflow ({uri}) refused, so no alias was set: {error.message}"
    return f"models:/{model}@{ALIAS} is version {version} in {uri}"


def _version(client: Any, model: str, file: Path, run_id: str, tags: dict[str, str]) -> str:
    """Return the version of these weights, a new one if need be."""
    if not client.search_registered_models(f"name = '{model}'", max_results=1):
        client.create_registered_model(model, description="Regressor in use; alias champion.")
    wanted = tags[_VERSION_TAG]
    for known in client.search_model_versions(f"name = '{model}'"):
        if known.tags.get(_VERSION_TAG) == wanted:
            return str(known.version)
    made = client.create_model_version(
        model, file.absolute().as_uri(), run_id=run_id or None, tags=tags
    )
    return str(made.version)
