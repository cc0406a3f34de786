from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest

from xec_pipeline.config.registry import registered_regressor
from xec_pipeline.defs import keys
from xec_pipeline.defs.assets import figures, inpainter, regressor
from xec_pipeline.defs.resources.mlflow_tracking import MlflowTracking
from xec_pipeline.defs.resources.torch_ddp import TorchDDP

MADE = dg.MaterializeResult[None](
    metadata={"file": dg.MetadataValue.path("/here/made.bin"), "events": 3}
)


@pytest.mark.parametrize(
    ("asset", "weights"),
    [
        (figures.resolution_pdf, keys.WEIGHTS),
        (figures.event_displays, keys.WEIGHTS),
        (regressor.predictions_csv, keys.WEIGHTS),
        (regressor.onnx, keys.WEIGHTS),
        (inpainter.predictions_root, keys.INPAINTER),
        (inpainter.analysis, keys.INPAINTER),
        (inpainter.dead_study, keys.INPAINTER),
        (inpainter.inpainter_export, keys.INPAINTER),
    ],
    ids=lambda value: value.key.path[-1] if isinstance(value, dg.AssetsDefinition) else "",
)
def test_files_made_from_weights_are_told_to_the_run_that_trained_them(asset, weights, monkeypatch):
    told = []

    def refer(_self, _context, run, weights, made):
        told.append((run.name, weights, made))
        return made

    monkeypatch.setattr(TorchDDP, "run", lambda *_, **__: MADE)
    monkeypatch.setattr(MlflowTracking, "refer", refer)
    with dg.build_asset_context(partition_key="demo") as context:
        made = asset(context, ddp=TorchDDP(), mlflow=MlflowTracking())
    assert told == [("demo", weights, MADE)]
    assert made is MADE


@pytest.mark.parametrize("mlflow_run", ["m1", None])
def test_a_reference_names_the_asset_and_its_files(monkeypatch, mlflow_run):
    told, run = [], registered_regressor("demo")
    where = "xec_pipeline.defs.resources.mlflow_tracking"
    monkeypatch.setattr(f"{where}.refer_to", lambda *words: told.append(words))
    with dg.DagsterInstance.ephemeral() as instance:
        metadata = {"mlflow_run_id": mlflow_run} if mlflow_run else {}
        instance.report_runless_asset_event(
            dg.AssetMaterialization(keys.WEIGHTS, partition="demo", metadata=metadata)
        )
        step: Any = SimpleNamespace(instance=instance, partition_key="demo", asset_key=keys.ONNX)
        assert MlflowTracking().refer(step, run, keys.WEIGHTS, MADE) is MADE
        nothing = dg.MaterializeResult[None](metadata={"events": 3})
        MlflowTracking().refer(step, run, keys.WEIGHTS, nothing)
    expected = (run.mlflow, mlflow_run, "onnx", [Path("/here/made.bin")])
    assert told == ([expected] if mlflow_run else [])
