"""What a person does in the UI, click by click: see the four stories in README.md."""

import re

from playwright.sync_api import Page, expect

from xec_pipeline_tests.ui.project import TINY

_SECONDS = 180


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


def event(page: Page, kind: str):
    """Return the rows of the log with events of a kind."""
    return page.get_by_text(kind, exact=True)


def entry(page: Page, name: str):
    """Return the value of a metadata entry on the page of a partition."""
    rows = page.get_by_role("row").filter(has=page.get_by_role("cell", name=name, exact=True))
    return rows.get_by_role("cell").nth(1)


def test_events_become_shards_and_a_network_is_trained(page, dev, shot, encoder_run):
    page.goto("/asset-groups")
    expect(page.get_by_role("button", name="regressor")).to_be_visible()
    shot("1-graph")

    materialize(page, "data/shards", "toy.train")
    expect(page.get_by_text("RUN_SUCCESS")).to_be_visible()
    shot("1-shards-made")
    page.goto("/assets/data/shards?view=partitions&partition=toy.train")
    expect(entry(page, "events")).to_have_text("32")
    expect(entry(page, "size_bytes")).to_have_text(re.compile(r"^\d+$"))
    shot("1-shards")

    dev.wait_for_run(encoder_run)
    materialize(page, "regressor/weights", TINY)
    expect(event(page, "ASSET_OBSERVATION").first).to_be_visible()
    shot("1-training")
    expect(page.get_by_text("RUN_SUCCESS")).to_be_visible()
    shot("1-trained")
    page.goto(f"/assets/regressor/weights?view=partitions&partition={TINY}")
    expect(entry(page, "checkpoint")).to_contain_text("artifacts/tiny/checkpoint_best.pth")
    expect(entry(page, "mlflow_run")).to_contain_text("mlflow ui --backend-store-uri sqlite:")
    for number in ("best_val_loss", "energy_res_68pct", "events_per_s", "wall_s", "size_bytes"):
        expect(entry(page, number)).to_have_text(re.compile(r"^\d+(\.\d+)?$"))
    shot("1-weights")
    epochs = observed(dev, "regressor/weights")
    assert [float(epoch["epoch"]) for epoch in epochs] == [1, 2, 3]
    # Each epoch was told while the training went on, not at its end.
    assert all(epoch["timestamp"] < made_at(dev, "regressor/weights") for epoch in epochs)


def test_figures_follow_new_tables_and_changed_drawing_code_and_nothing_else(
    page, dev, shot, project, drawn
):
    page.goto(f"/assets/regressor/resolution_pdf?view=partitions&partition={TINY}")
    expect(entry(page, "pdf_energy")).to_contain_text(f"resolution_energy_{TINY}.pdf")
    shot("2-figures")
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
    page.goto(f"/runs/{run_id}")
    expect(page.get_by_text("RUN_SUCCESS")).to_be_visible()
    shot("2-drawn-again")
    assert dev.stale("regressor/resolution_pdf", TINY) == "FRESH"

    page.goto("/automation")
    page.get_by_role("link", name="figures_follow").click()
    expect(page.get_by_text("1 run requested").first).to_be_visible()
    shot("2-sensor")
    assert len(dev.made_by_runs()) == len(before) + 1, "what is up to date is not made again"


def test_regressor_leads_to_the_encoder_that_it_began_with(page, shot, trained):
    page.goto("/assets/regressor/weights?view=lineage")
    graph = page.locator("svg")
    for asset in ("encoder", "weights", "predictions_csv"):
        expect(graph.get_by_text(asset, exact=True).first).to_be_visible()
    shot("4-lineage")

    page.goto(f"/assets/regressor/weights?view=partitions&partition={TINY}")
    expect(entry(page, "upstream_mae")).to_have_text(TINY)
    version = entry(page, "upstream_mae_data_version").inner_text()
    entry(page, "upstream_mae_page").get_by_role("link").first.scroll_into_view_if_needed()
    shot("4-weights")
    entry(page, "upstream_mae_page").get_by_role("link").first.click()

    expect(page).to_have_url(re.compile(f"/assets/mae/encoder.*partition={TINY}"))
    page.get_by_role("button", name="Show tags").click()
    expect(page.get_by_text(version).first).to_be_visible()
    shot("4-encoder")


_EVENTS = """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
  assetMaterializations(limit: 1) { timestamp }
  assetObservations { timestamp metadataEntries { label
    ... on IntMetadataEntry { intValue } ... on FloatMetadataEntry { floatValue } } }
} } }"""


def observed(dev, asset: str) -> list[dict[str, float]]:
    """Return time and integer metadata of the observations of an asset, oldest first."""
    node = dev.ask(_EVENTS, key={"path": asset.split("/")})["assetNodeOrError"]
    found = []
    for observation in node["assetObservations"]:
        numbers = {
            entry["label"]: entry["intValue"]
            for entry in observation["metadataEntries"]
            if "intValue" in entry
        }
        found.append({"timestamp": float(observation["timestamp"]), **numbers})
    return found[::-1]


def made_at(dev, asset: str) -> float:
    """Return when an asset was made last, in the unit of observations."""
    node = dev.ask(_EVENTS, key={"path": asset.split("/")})["assetNodeOrError"]
    return float(node["assetMaterializations"][0]["timestamp"])
