import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Error, Page, ViewportSize, expect, sync_playwright

from xec_pipeline_tests.ui.dagster_dev import DagsterDev
from xec_pipeline_tests.ui.project import PACKAGE, TINY, TOYS, Project

FOLDER = Path(__file__).parent
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
SCREENSHOTS = PACKAGE.parent / ".test-output" / "screenshots"
_VIEW: ViewportSize = {"width": 1500, "height": 950}
# A step takes seconds on an idle machine; tests also run on busy ones.
_PATIENCE_MS = 300_000
_TEST_SECONDS = 1200


def screenshots() -> Path:
    folder = Path(os.environ.get("XEC_SCREENSHOTS", SCREENSHOTS))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker(pytest.mark.ui)
            item.add_marker(pytest.mark.timeout(_TEST_SECONDS))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    fixtures = getattr(item, "funcargs", {})
    if report.failed and "dev" in fixtures:
        report.sections.append(("dg dev", fixtures["dev"].log_tail()))
    if report.failed and call.when == "call" and "page" in fixtures:
        path = screenshots() / f"failed-{item.name}.png"
        with contextlib.suppress(Error):  # the page may be what failed
            fixtures["page"].screenshot(path=path)
        report.sections.append(("screenshot", f"{fixtures['page'].url}\n{path}"))
    return report


@pytest.fixture(scope="package")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project with toy events and runs that train within seconds; nothing is made yet."""
    return Project(tmp_path_factory.mktemp("project"))


@pytest.fixture(scope="package")
def dev(project: Project) -> Iterator[DagsterDev]:
    """A running `dg dev` of it."""
    server = DagsterDev(project.folder)
    try:
        server.wait_until_ready()
        server.wait_for(
            lambda: len(server.observations("raw/root_files")) == len(TOYS),
            240,
            "the sensor has not seen the toy events",
        )
        yield server
    finally:
        survivors = server.stop()
    assert survivors == []


@pytest.fixture(scope="package")
def shards(dev: DagsterDev) -> None:
    """The shards of all toy events; what is there already stays as it is."""
    names = [path.replace("/", ".") for path in TOYS]
    missing = [name for name in names if dev.stale("data/shards", name) == "MISSING"]
    for run_id in [dev.launch("build_shards", name) for name in missing]:
        dev.wait_for_run(run_id)


@pytest.fixture(scope="package")
def encoder_run(dev: DagsterDev, shards: None) -> str:
    """The Dagster run that pre-trains the encoder of the tiny MAE; it has perhaps not ended yet."""
    return dev.launch("pretrain_mae", TINY)


@pytest.fixture(scope="package")
def trained(dev: DagsterDev, encoder_run: str) -> None:
    """The tiny regressor with its tables; what is there already stays as it is."""
    dev.wait_for_run(encoder_run)
    wanted = ("regressor/weights", "regressor/predictions_csv", "regressor/baselines_csv")
    missing = [asset for asset in wanted if dev.stale(asset, TINY) == "MISSING"]
    if missing:
        dev.wait_for_run(dev.launch("train_regressor", TINY, *missing))


@pytest.fixture(scope="package")
def drawn(dev: DagsterDev, trained: None) -> None:
    """Figures, table and leaderboard, which nobody asks for."""
    followers = {"regressor/resolution_pdf": TINY, "regressor/resolution_table": TINY}
    dev.wait_for(
        lambda: (
            all(dev.stale(asset, part) == "FRESH" for asset, part in followers.items())
            and dev.stale("leaderboard") == "FRESH"
        ),
        400,
        "figures, table and leaderboard did not follow",
    )


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium of the system, without a window."""
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine; .ci/run installs it, so there this test runs")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def page(browser: Browser, dev: DagsterDev) -> Iterator[Page]:
    """A fresh page; addresses count from the UI's root."""
    expect.set_options(timeout=_PATIENCE_MS)
    # Without animations: they would take a third of a processor while a test waits.
    context = browser.new_context(base_url=dev.url, viewport=_VIEW, reduced_motion="reduce")
    context.set_default_timeout(_PATIENCE_MS)
    yield context.new_page()
    context.close()


@pytest.fixture
def shot(page: Page) -> Callable[..., None]:
    """Keep a picture of the page under a name; a tall one shows all of a long table."""

    def keep(name: str, *, height: int = _VIEW["height"], of: Page = page) -> None:
        of.set_viewport_size({"width": _VIEW["width"], "height": height})
        of.screenshot(path=screenshots() / f"{name}.png")
        of.set_viewport_size(_VIEW)

    return keep
