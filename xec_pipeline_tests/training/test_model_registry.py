from pathlib import Path

import pytest

from xec_pipeline.config.output import MlflowConfig
from xec_pipeline.training.model_registry import register_champion

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


def register(config: MlflowConfig, folder: Path, version: str, run_id: str = "") -> str:
    file = folder / version / "checkpoint_best.pth"
    file.parent.mkdir(exist_ok=True)
    file.write_text(version)
    tags = {"weights_version": version, "run_name": "demo"}
    return register_champion(config, "xec_regressor", file, run_id=run_id, tags=tags)


@pytest.mark.slow
def test_alias_moves_and_equal_weights_get_no_second_version(tmp_path, monkeypatch):
    from mlflow import MlflowClient

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    config = MlflowConfig(tracking_uri=f"sqlite:///{tmp_path}/mlruns.db")
    assert "xec_regressor@champion is version 1" in register(config, tmp_path, "v1")
    client = MlflowClient(tracking_uri=config.tracking_uri, registry_uri=config.tracking_uri)
    run = client.create_run(client.create_experiment("x"))
    assert "version 2" in register(config, tmp_path, "v2", run.info.run_id)
    assert "version 1" in register(config, tmp_path, "v1")
    assert client.get_model_version_by_alias("xec_regressor", "champion").version == 1
    second = client.get_model_version("xec_regressor", "2")
    assert second.run_id == run.info.run_id
    assert second.source == (tmp_path / "v2" / "checkpoint_best.pth").as_uri()
    assert second.tags["weights_version"] == "v2"


def test_no_store_is_said(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "none")
    assert "no MLflow store is configured" in register(MlflowConfig(), tmp_path, "v1")


@pytest.mark.slow
def test_a_store_that_refuses_is_said_and_hinders_nothing(tmp_path, monkeypatch, caplog):
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

    def refuse(*_arguments, **_options):
        raise MlflowException("sources outside the server are not allowed")

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(MlflowClient, "create_model_version", refuse)
    config = MlflowConfig(tracking_uri=f"sqlite:///{tmp_path}/mlruns.db")
    said = register(config, tmp_path, "v1")
    assert "refused, so no alias was set: sources outside" in said
    assert "did not take the alias champion" in caplog.text
