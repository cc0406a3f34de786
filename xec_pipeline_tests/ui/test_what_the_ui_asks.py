"""What the UI asks for, asked directly: descriptions, staleness, sensors, schedules."""

import pytest

from xec_pipeline_tests.ui.dagster_dev import LOCATION
from xec_pipeline_tests.ui.project import TINY

_NODES = """{ assetNodes {
  assetKey { path } description groupName kinds isMaterializable jobNames opVersion
  owners { ... on TeamAssetOwner { team } ... on UserAssetOwner { email } }
  metadataEntries { label ... on CodeReferencesMetadataEntry {
    codeReferences { ... on LocalFileCodeReference { filePath lineNumber } } } }
} }"""
_DRY_RUN = """mutation ($sensor: SensorSelector!) {
  sensorDryRun(selectorData: $sensor) {
    ... on DryRunInstigationTick {
      evaluationResult { error { message } runRequests { runKey } }
    }
    ... on PythonError { message }
  }
}"""


@pytest.fixture(scope="module")
def nodes(dev):
    """What the UI knows about each asset, by its key."""
    found = dev.ask(_NODES)["assetNodes"]
    return {"/".join(node["assetKey"]["path"]): node for node in found}


def test_ui_tells_what_each_asset_is_and_whose(nodes):
    assert {"data/shards", "mae/encoder", "regressor/weights", "raw/root_files"} <= set(nodes)
    for name, node in nodes.items():
        assert node["description"], name
        assert node["groupName"], name
        assert node["kinds"], name
        assert [owner["team"] for owner in node["owners"]] == ["xec"], name


def test_ui_leads_to_the_code_of_each_asset(nodes, project):
    for name, node in nodes.items():
        links = [
            link for entry in node["metadataEntries"] for link in entry.get("codeReferences", ())
        ]
        assert links, name
        assert links[0]["filePath"].startswith(str(project.folder)), name
    weights = nodes["regressor/weights"]["metadataEntries"]
    (link,) = (entry["codeReferences"][0] for entry in weights if "codeReferences" in entry)
    lines = (project.folder / "xec_pipeline/defs/assets/regressor.py").read_text().splitlines()
    code = "\n".join(lines[link["lineNumber"] - 1 :])
    assert code.startswith("@dg.asset(\n    key=keys.WEIGHTS,")


def test_everything_that_is_made_has_a_code_version_and_a_job(nodes):
    for name, node in nodes.items():
        if node["isMaterializable"]:
            assert node["opVersion"], name
            assert [job for job in node["jobNames"] if not job.startswith("__")], name


def test_ui_knows_what_is_missing_of_a_run(dev, trained):
    assert dev.stale("regressor/weights", TINY) == "FRESH"
    assert dev.stale("regressor/onnx", TINY) == "MISSING"


@pytest.mark.parametrize("sensor", ["run_registry", "datasets"])
def test_sensors_can_be_tried_in_the_ui(dev, sensor):
    answer = dev.ask(_DRY_RUN, sensor={**LOCATION, "sensorName": sensor})["sensorDryRun"]
    assert answer["evaluationResult"]["error"] is None
    assert answer["evaluationResult"]["runRequests"] in (None, []), "it reports, and starts nothing"
