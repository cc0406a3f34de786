"""What a person does in the UI, click by click, and what the UI asks for: see README.md.

One file, because test files may run in processes of their own and all of this shares one `dg dev`.
"""

import os
import re
import time
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, Page, Response, expect

from xec_pipeline_tests.ui.dagster_dev import LOCATION
from xec_pipeline_tests.ui.project import ENDLESS, TINY

_SECONDS = 300
# The page of a run that goes on takes a third of a processor; whoever only waits, waits here.
_IDLE = "about:blank"
_NUMBER = re.compile(r"^\d+(\.\d+)?$")

_RANKS = ("xec_pipeline.workers.train", "--config")
_WORKERS = "xec_pipeline.workers"
_NODES = """{ assetNodes {
  assetKey { path } description groupName kinds isMaterializable jobNames opVersion
  automationCondition { label }
  owners { ... on TeamAssetOwner { team } ... on UserAssetOwner { email } }
  metadataEntries { label ... on CodeReferencesMetadataEntry {
    codeReferences { ... on LocalFileCodeReference { filePath lineNumber } } } }
} }"""
_DRY_RUN = """mutation ($sensor: SensorSelector!) {
  sensorDryRun(selectorData: $sensor, cursor: null) {
    ... on DryRunInstigationTick {
      evaluationResult { error { message } runRequests { runKey } }
    }
    ... on PythonError { message }
  }
}"""


def materialize(page: Page, asset: str, partition: str) -> None:
    """Start a run from the page of an asset and go to the page of that run."""
    page.goto(f"/assets/{asset}")
    page.get_by_role("button", name="Materialize…").click()
    dialog = page.get_by_role("dialog").filter(has_text="Launch runs to materialize")
    dialog.get_by_text("Select a partition or create one").click()
    page.get_by_role("menuitem", name=partition).click()
    page.keyboard.press("Escape")
    dialog.get_by_role("button", name="Launch 1 run").click()
    page.get_by_role("link", name="View", exact=True).click()
    expect(page).to_have_url(re.compile("/runs/"))


def event(page: Page, kind: str) -> Locator:
    """Return the rows of the log with events of a kind."""
    return page.get_by_text(kind, exact=True)


def fact(page: Page, name: str) -> Locator:
    """Return the value beside a name: metadata of a partition, properties of a schedule."""
    row = page.get_by_role("row").filter(has=page.get_by_role("cell", name=name, exact=True))
    return row.get_by_role("cell").nth(1)


def test_events_become_shards_and_a_network_is_trained(page, dev, shot, request, record_property):
    record_property("dg dev ready [s]", dev.seconds_to_start)
    page.goto("/asset-groups")
    expect(page.get_by_role("button", name="regressor")).to_be_visible()
    shot("1-graph")

    materialize(page, "data/shards", "toy.train")
    shot("1-shards-being-made")
    run_id = page.url.rpartition("/")[2]
    page.goto(_IDLE)
    dev.wait_for_run(run_id)
    page.goto("/assets/data/shards?view=partitions&partition=toy.train")
    expect(fact(page, "events")).to_have_text("32")
    for number in ("events_per_s", "wall_s", "size_bytes"):
        expect(fact(page, number)).to_have_text(_NUMBER)
    shot("1-shards")

    dev.wait_for_run(request.getfixturevalue("encoder_run"))
    materialize(page, "regressor/weights", TINY)
    expect(event(page, "ASSET_OBSERVATION").first).to_be_visible()
    shot("1-training")
    expect(page.get_by_text("RUN_SUCCESS")).to_be_visible()
    shot("1-trained")
    page.goto(f"/assets/regressor/weights?view=partitions&partition={TINY}")
    expect(fact(page, "checkpoint")).to_contain_text("artifacts/tiny/checkpoint_best.pth")
    expect(fact(page, "mlflow_run")).to_contain_text("mlflow ui --backend-store-uri sqlite:")
    for number in ("best_val_loss", "energy_res_68pct", "events_per_s", "wall_s", "size_bytes"):
        expect(fact(page, number)).to_have_text(_NUMBER)
    shot("1-weights", height=1500)
    page.goto("/assets/regressor/weights")
    page.get_by_role("button", name="Plots").click()
    page.get_by_role("button", name="Events").click()
    page.get_by_text("val/loss").first.scroll_into_view_if_needed()
    shot("1-curves", height=1500)
    epochs = dev.observations("regressor/weights")
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3]
    # Each epoch was told while the training went on, not at its end.
    assert all(epoch["timestamp"] < dev.made_at("regressor/weights") for epoch in epochs)


def test_figures_follow_new_tables_and_changed_drawing_code_and_nothing_else(
    page, dev, shot, project, drawn, record_property
):
    page.goto(f"/assets/regressor/predictions_csv?view=partitions&partition={TINY}")
    expect(fact(page, "dagster/row_count")).to_have_text("128")  # 32 events, four tables
    expect(fact(page, "first_rows").get_by_text("true_theta")).to_be_visible()
    shot("2-tables", height=2000)
    page.goto(f"/assets/regressor/resolution_pdf?view=partitions&partition={TINY}")
    expect(fact(page, "pdf_energy")).to_contain_text(f"resolution_energy_{TINY}.pdf")
    shot("2-figures", height=1500)
    fact(page, "preview_pdf_energy").get_by_text("Show Markdown").click()
    picture = page.get_by_role("dialog").locator("img")
    expect(picture).to_be_visible()
    assert picture.evaluate("image => image.naturalWidth") > 300
    shot("2-figure-inline")
    before = dev.made_by_runs()
    version = dev.code_version("regressor/resolution_pdf")

    project.append("xec_pipeline/evaluation/plots/energy.py", "\n# a comment\nADDED = 1\n")
    page.goto("/asset-groups")
    page.get_by_role("button", name="Reload definitions").click()
    dev.wait_for(
        lambda: dev.code_version("regressor/resolution_pdf") != version,
        _SECONDS,
        "the code was not loaded again",
    )
    dev.wait_for(lambda: len(dev.made_by_runs()) > len(before), _SECONDS, "nothing was drawn")
    started = [made for run, made in dev.made_by_runs().items() if run not in before]
    assert started == [["regressor/resolution_pdf"]]
    (run_id,) = dev.made_by_runs().keys() - before.keys()
    page.goto(_IDLE)
    dev.wait_for_run(run_id)
    page.goto(f"/runs/{run_id}")
    expect(page.get_by_text("RUN_SUCCESS")).to_be_visible()
    expect(page.get_by_text("Launched by figures_follow")).to_be_visible()
    shot("2-drawn-again")
    record_property("figures drawn again, from the request on [s]", dev.seconds_of_run(run_id))
    assert dev.stale("regressor/resolution_pdf", TINY) == "FRESH"

    page.goto("/automation")
    page.get_by_role("link", name="figures_follow").click()
    # What is up to date is not made again, however often the sensor looks.
    expect(page.get_by_text("0 materializations requested").nth(2)).to_be_visible()
    shot("2-sensor")
    assert len(dev.made_by_runs()) == len(before) + 1


def test_schedule_asks_for_what_is_not_up_to_date(page, dev, shot, trained):
    page.goto("/automation")
    page.get_by_role("link", name="retrain_tiny").click()
    expect(fact(page, "Schedule")).to_contain_text("At 03:00 AM GMT+1, only on Monday")
    expect(fact(page, "Running").get_by_role("checkbox")).not_to_be_checked()
    fact(page, "Running").get_by_role("img").click()
    expect(fact(page, "Next tick")).to_contain_text("3:00:00 AM GMT+1")
    shot("3-schedule")

    page.get_by_role("button", name="Preview tick result").click()
    with page.expect_response(is_answer_to("scheduleDryRun")) as answer:
        page.get_by_role("dialog").get_by_role("button", name="Continue").click()
    expect(page.get_by_role("dialog")).to_contain_text("1 run requests")
    expect(page.get_by_role("dialog").get_by_role("link", name="retrain_regressor")).to_be_visible()
    shot("3-tick")
    (asked,) = answer.value.json()["data"]["scheduleDryRun"]["evaluationResult"]["runRequests"]
    tags = {tag["key"]: tag["value"] for tag in asked["tags"]}
    assert tags["dagster/partition"] == TINY
    # The weights are those of these events and this configuration; their ONNX model is missing.
    made = {"/".join(key["path"]) for key in asked["assetSelection"]}
    assert {"regressor/onnx", "production/selection"} <= made
    assert "regressor/weights" not in made


def is_answer_to(operation: str) -> Callable[[Response], bool]:
    """Return whether a response is the answer to a GraphQL operation."""
    return lambda response: operation in (response.request.post_data or "")


def test_regressor_leads_to_the_encoder_that_it_began_with(page, shot, trained):
    page.goto("/assets/regressor/weights?view=lineage")
    graph = page.locator("svg")
    for asset in ("encoder", "weights", "predictions_csv"):
        expect(graph.get_by_text(asset, exact=True).first).to_be_visible()
    shot("4-lineage")

    page.goto(f"/assets/regressor/weights?view=partitions&partition={TINY}")
    expect(fact(page, "upstream_mae")).to_have_text(TINY)
    version = fact(page, "upstream_mae_data_version").inner_text()
    link = fact(page, "upstream_mae_page").get_by_role("link").first
    link.scroll_into_view_if_needed()
    shot("4-weights", height=1500)
    with page.expect_popup() as opened:
        link.click()
    encoder = opened.value

    expect(encoder).to_have_url(re.compile(f"/assets/mae/encoder.*partition={TINY}"))
    encoder.get_by_role("button", name="Show tags").click()
    expect(fact(encoder, "data_version")).to_have_text(version)
    shot("4-encoder", of=encoder)


def test_cancelled_training_leaves_no_process(page, dev, shot, encoder_run, record_property):
    dev.wait_for_run(encoder_run)
    two_ranks = {"ddp": {"nproc_per_node": "2"}}
    run_id = dev.launch("train_regressor", ENDLESS, "regressor/weights", resources=two_ranks)
    page.goto(f"/runs/{run_id}")
    expect(page.get_by_text("ASSET_OBSERVATION", exact=True).first).to_be_visible()
    # torchrun and two ranks
    assert len(dev.processes(*_RANKS)) >= 3
    record_property("processes of a training", len(dev.processes(_WORKERS)))
    shot("5-endless-training")

    page.get_by_role("button", name="Terminate").click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("Terminate")).click()
    asked = time.monotonic()
    dev.wait_for(lambda: not dev.processes(_WORKERS), 60, "processes of the training live")
    seconds = time.monotonic() - asked
    record_property("all processes of a cancelled training gone [s]", seconds)
    record_property("processes after it was cancelled", len(dev.processes(_WORKERS)))
    assert seconds < 10 * slowness()
    dev.wait_for(lambda: dev.status(run_id) == "CANCELED", 60, "the run is not cancelled")
    expect(page.get_by_text("RUN_CANCELED", exact=True)).to_be_visible()
    shot("5-cancelled")


def slowness() -> float:
    """Return by how much the machine is slower than an idle one."""
    return max(1.0, os.getloadavg()[0] / len(os.sched_getaffinity(0)))


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


def test_everything_that_is_made_has_a_code_version_and_a_way_to_be_started(nodes):
    for name, node in nodes.items():
        if node["isMaterializable"]:
            assert node["opVersion"], name
            jobs = [job for job in node["jobNames"] if not job.startswith("__")]
            assert jobs or node["automationCondition"], name


def test_ui_knows_what_is_missing_of_a_run(dev, drawn):
    assert dev.stale("regressor/resolution_table", TINY) == "FRESH"
    assert dev.stale("regressor/onnx", TINY) == "MISSING"


@pytest.mark.parametrize("sensor", ["run_registry", "datasets"])
def test_sensors_can_be_tried_in_the_ui(dev, sensor):
    answer = dev.ask(_DRY_RUN, sensor={**LOCATION, "sensorName": sensor})["sensorDryRun"]
    assert answer["evaluationResult"]["error"] is None
    assert answer["evaluationResult"]["runRequests"] in (None, []), "it reports, and starts nothing"
