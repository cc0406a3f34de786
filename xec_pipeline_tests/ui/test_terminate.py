"""Whoever ends a training in the UI ends all of its processes."""

import os
import re
import time

from playwright.sync_api import expect

from xec_pipeline_tests.ui.project import ENDLESS

_RANKS = ("xec_pipeline.workers.train", "--config")
_WORKERS = "xec_pipeline.workers"


def test_cancelled_training_leaves_no_process(page, dev, shot, encoder_run, measured):
    dev.wait_for_run(encoder_run)
    two_ranks = {"ddp": {"nproc_per_node": "2"}}
    run_id = dev.launch("train_regressor", ENDLESS, "regressor/weights", resources=two_ranks)
    page.goto(f"/runs/{run_id}")
    expect(page.get_by_text("ASSET_OBSERVATION", exact=True).first).to_be_visible()
    # torchrun and two ranks
    assert len(dev.processes(*_RANKS)) >= 3
    shot("5-endless-training")

    page.get_by_role("button", name="Terminate").click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("Terminate")).click()
    asked = time.monotonic()
    dev.wait_for(lambda: not dev.processes(_WORKERS), 60, "processes of the training live")
    measured["cancelled training gone"] = time.monotonic() - asked
    assert measured["cancelled training gone"] < 10 * slowness()
    dev.wait_for(lambda: dev.status(run_id) == "CANCELED", 60, "the run is not cancelled")
    expect(page.get_by_text("RUN_CANCELED", exact=True)).to_be_visible()
    shot("5-cancelled")


def slowness() -> float:
    """Return by how much the machine is slower than an idle one."""
    return max(1.0, os.getloadavg()[0] / len(os.sched_getaffinity(0)))
