"""The report of a run in a real browser: what a person sees who opens the file."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from xec_pipeline.workers.report import write_run_report
from xec_pipeline_tests.evaluation.run_report.run_folder import make_run_folder

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.ui,
    pytest.mark.skipif(
        CHROMIUM is None, reason="no chromium here; it runs where .ci/run installs it"
    ),
]


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    run_dir = make_run_folder(tmp_path_factory.mktemp("shown") / "tiny")
    return write_run_report(run_dir, None, "regressor")[1]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


def save_screenshot(page: Any, folder: Path, name: str) -> None:
    wanted = os.environ.get("XEC_SCREENSHOTS")
    for place in (folder, Path(wanted)) if wanted else (folder,):
        path = place / name
        page.screenshot(path=str(path), full_page=True)
        assert path.stat().st_size > 10_000


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_report_is_shown_whole_and_asks_for_nothing(browser, report, tmp_path, scheme):
    page = browser.new_page(viewport={"width": 1400, "height": 900}, color_scheme=scheme)
    complaints: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report.as_uri())
    page.wait_for_load_state("load")
    widths = page.eval_on_selector_all("img", "all => all.map(img => img.naturalWidth)")
    assert len(widths) == 5
    assert min(widths) > 0
    assert page.locator(".tile .label").all_inner_texts() == ["energy"]
    assert page.locator(".tile .number").all_inner_texts() == ["1.730 ± 0.027 %"]
    cells = page.locator("#table-resolution tbody").first.locator("td").all_inner_texts()
    assert cells[:3] == ["energy [%]", "68 % half width", "1.730 ± 0.027"]
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 26)"}[scheme]
    # Nothing but tables of their own boxes is wider than the window.
    assert page.evaluate("document.documentElement.scrollWidth") <= 1400
    assert complaints == []
    assert {url.partition(":")[0] for url in asked} <= {"file", "data"}
    save_screenshot(page, tmp_path, f"report_{scheme}.png")
    page.close()


def test_contents_lead_to_their_sections_and_folded_tables_open(browser, report):
    page = browser.new_page(viewport={"width": 1400, "height": 900})
    page.goto(report.as_uri())
    page.locator("nav >> text=Lineage").click()
    assert page.url.endswith("#lineage")
    page.wait_for_function("document.querySelector('#lineage').getBoundingClientRect().top < 900")
    depth = page.locator("#table-resolution details")
    assert not depth.locator("table").is_visible()
    depth.locator("summary").click()
    assert depth.locator("table").is_visible()
    page.close()


def test_printed_report_has_all_pages_and_no_contents(browser, report, tmp_path):
    page = browser.new_page()
    page.goto(report.as_uri())
    path = tmp_path / "report.pdf"
    page.pdf(path=str(path), format="A4")
    assert path.read_bytes().startswith(b"%PDF-")
    page.emulate_media(media="print")
    assert not page.locator("nav").is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    page.close()
