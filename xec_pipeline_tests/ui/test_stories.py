"""What a person does in the UI, click by click: see the four stories in README.md."""

import re

from playwright.sync_api import Page, expect

from xec_pipeline_tests.ui.project import TINY

_SECONDS = 180
_NUMBER = re.compile(r"^\d+(\.\d+)?$")


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


def test_events_become_shards_and_a_network_is_trained(page, dev, shot, request):
    page.goto("/asset-groups")
    expect(page.get_by_role("button", name="regressor")).to_be_visible()
    shot("1-graph")

    materialize(page, "data/shards", "toy.train")
    expect(page.get_by_text("RUN_SUCCESS")).to_be_visible()
    shot("1-shards-made")
    page.goto("/assets/data/shards?view=partitions&partition=toy.train")
    expect(entry(page, "events")).to_have_text("32")
    for number in ("events_per_s", "wall_s", "size_bytes"):
        expect(entry(page, number)).to_have_text(_NUMBER)
    shot("1-shards")

    dev.wait_for_run(request.getfixturevalue("encoder_run"))
    materialize(page, "regressor/weights", TINY)
    expect(event(page, "ASSET_OBSERVATION").first).to_be_visible()
    shot("1-training")
    expect(page.get_by_text("RUN_SUCCESS")).to_be_visible()
    shot("1-trained")
    page.goto(f"/assets/regressor/weights?view=partitions&partition={TINY}")
    expect(entry(page, "checkpoint")).to_contain_text("artifacts/tiny/checkpoint_best.pth")
    expect(entry(page, "mlflow_run")).to_contain_text("mlflow ui --backend-store-uri sqlite:")
    for number in ("best_val_loss", "energy_res_68pct", "events_per_s", "wall_s", "size_bytes"):
        expect(entry(page, number)).to_have_text(_NUMBER)
    shot("1-weights", height=1500)
    epochs = dev.observations("regressor/weights")
    assert [epoch["epoch"] for epoch in epochs] == [1, 2, 3]
    # Each epoch was told while the training went on, not at its end.
    assert all(epoch["timestamp"] < dev.made_at("regressor/weights") for epoch in epochs)


def test_figures_follow_new_tables_and_changed_drawing_code_and_nothing_else(
    page, dev, shot, project, drawn, measured
):
    page.goto(f"/assets/regressor/resolution_pdf?view=partitions&partition={TINY}")
    expect(entry(page, "pdf_energy")).to_contain_text(f"resolution_energy_{TINY}.pdf")
    shot("2-figures", height=1500)
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
    expect(page.get_by_text("Launched by figures_follow")).to_be_visible()
    shot("2-drawn-again")
    measured["figures drawn again, with start of the run"] = dev.seconds_of_run(run_id)
    assert dev.stale("regressor/resolution_pdf", TINY) == "FRESH"

    page.goto("/automation")
    page.get_by_role("link", name="figures_follow").click()
    # What is up to date is not made again, however often the sensor looks.
    expect(page.get_by_text("0 materializations requested").nth(2)).to_be_visible()
    shot("2-sensor")
    assert len(dev.made_by_runs()) == len(before) + 1


def test_schedule_asks_for_what_is_not_up_to_date(page, dev, shot, trained):
    dev.wait_for_run(dev.launch("build_shards", "toy.val"))
    page.goto("/automation")
    row = page.get_by_role("row").filter(has_text="retrain_tiny")
    shot("3-automation")
    page.get_by_role("link", name="retrain_tiny").click()
    expect(page.get_by_text("At 03:00 AM, only on Monday")).to_be_visible()
    shot("3-schedule")
    print(page.locator("body").aria_snapshot(), row.count())


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
    shot("4-weights", height=1500)
    entry(page, "upstream_mae_page").get_by_role("link").first.click()

    expect(page).to_have_url(re.compile(f"/assets/mae/encoder.*partition={TINY}"))
    page.get_by_role("button", name="Show tags").click()
    expect(page.get_by_text(version).first).to_be_visible()
    shot("4-encoder")
