import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from xec_pipeline.__main__ import main
from xec_pipeline.errors import CorruptFileError, DataError
from xec_pipeline.evaluation.pictures import page_pictures
from xec_pipeline.evaluation.previews import MOST_BYTES, preview, previews
from xec_pipeline.evaluation.run_report.collect import collect
from xec_pipeline.evaluation.run_report.content import Made
from xec_pipeline.evaluation.run_report.facts import parity_cells, unit_of
from xec_pipeline.evaluation.run_report.page import as_html, markdown, write_report
from xec_pipeline.versioning import content_hash
from xec_pipeline.workers import report as worker
from xec_pipeline.workers.pipes import Report
from xec_pipeline_tests.evaluation.run_report.run_folder import draw, make_run_folder

VOID = {"meta", "link", "img", "br", "hr"}
MADE = Made(
    asset="regressor/weights",
    partition="tiny",
    dagster_run_id="c4ed77e2-55b3",
    data_version="a76ebaa881ce1338",
    time="2026-11-28 20:41:35 UTC",
)


class Page(HTMLParser):
    """Reads a page, complains about tags that do not match, and keeps what tests look at."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.images: list[dict[str, str | None]] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids.add(values.get("id") or "")
        self.links += [values[name] for name in ("href", "src") if values.get(name)]
        if tag == "img":
            self.images.append(values)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text += f" {data.strip()}"


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return make_run_folder(tmp_path_factory.mktemp("reports") / "tiny")


@pytest.fixture(scope="module")
def page(folder) -> Page:
    return Page(as_html(collect(folder, "tiny", "regressor")))


def test_numbers_figures_and_origin_are_in_the_page(page):
    for told in (
        *("1.730 ± 0.027", "conventional 1.762 ± 0.027", "N = 4000", "52.83 MeV", "toy detector"),
        *("1,409,575", "32,000", "e1b304f0f03e", "a76ebaa881ce1338", "d8ba3e2e3262"),
        *("my_mae", "3ae19f8f5872ba18", "aaaa1111", "data/toy/val", "lr: 0.001"),
        *("0-1 cm", "1.234 ± 0.056", "Versus depth"),
    ):
        assert told in page.text
    # Learning curves; two pages, an event, and a figure of a kind that the report does not know.
    assert len(page.images) == 1 + 2 + 1 + 1
    assert "something_new.pdf" in page.text
    assert "epoch 2 (best)" in page.text
    assert "MeV" in page.text


def test_the_page_needs_nothing_else(folder, page):
    inside = [link for link in page.links if not link.startswith(("data:", "#"))]
    assert sorted(set(inside)) == [
        "resolution_energy_tiny.pdf",
        "something_new.pdf",
        "worst_events/worst_01_tiny.pdf",
    ]
    assert all((folder / link).is_file() for link in inside)
    html = as_html(collect(folder, "tiny", "regressor"))
    assert not re.search(r"<script|@import|url\(", html)
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.ids


def test_markup_in_tables_is_shown_not_obeyed(page):
    assert "<b>bias</b>" in page.text
    assert "<script>" not in markdown("a <script> b")


def test_what_is_missing_is_said_at_its_place(page):
    assert "efficiency_table_tiny.md" in page.text
    assert "only of toy events is the limit known" in page.text
    assert "export_parity_tiny.json is not there" in page.text


def test_files_of_other_kinds_are_left_out(folder, page):
    assert "mae_checkpoint_best.pth" not in page.text
    assert content_hash(folder / "checkpoint_best.pth") in page.text
    of_mae = Page(as_html(collect(folder, "tiny", "mae")))
    assert "mae_checkpoint_best.pth" in of_mae.text
    assert "resolution_energy_tiny.pdf" not in of_mae.text
    assert "0.1" in of_mae.text


def test_equal_files_give_equal_pages_wherever_they_are(folder, tmp_path, monkeypatch):
    again = tmp_path / "again" / "tiny"
    shutil.copytree(folder, again)
    pages = []
    for parent in (folder.parent, again.parent):
        monkeypatch.chdir(parent)
        pages.append(as_html(collect(Path("tiny"), "tiny", "regressor")))
    assert pages[0] == pages[1]


def test_the_version_is_that_of_the_content_not_of_dagsters_runs(folder, tmp_path):
    path = tmp_path / "report.html"
    by_hand = write_report(collect(folder, "tiny", "regressor"), path)
    by_dagster = write_report(collect(folder, "tiny", "regressor", [MADE]), path)
    assert by_hand == by_dagster
    assert "c4ed77e2-55b3" in path.read_text()
    other = tmp_path / "tiny"
    shutil.copytree(folder, other)
    (other / "checkpoint_best.pth").write_bytes(b"better weights")
    assert write_report(collect(other, "tiny", "regressor"), path) != by_hand


def test_damaged_files_become_notes(folder, tmp_path):
    run_dir = tmp_path / "tiny"
    shutil.copytree(folder, run_dir)
    (run_dir / "resolution_energy_tiny.pdf").write_bytes(b"not a PDF")
    (run_dir / "resolution_table_tiny.json").write_text("{")
    (run_dir / "training_record.json").write_text('{"epochs": 1}')
    (run_dir / "export_parity_tiny.json").write_text("[]")
    text = Page(as_html(collect(run_dir, "tiny", "regressor"))).text
    for name in ("resolution_table_tiny.json: not JSON", "export_parity_tiny.json: not the parity"):
        assert name in text
    assert "resolution_energy_tiny.pdf: not a PDF that can be read" in text
    assert "training_record.json: not the record of a training" in text
    assert "The configuration is not known" in text


def test_parity_of_the_export_is_shown(folder, tmp_path):
    run_dir = tmp_path / "tiny"
    shutil.copytree(folder, run_dir)
    output = {
        "output": "energy",
        "unit": "MeV",
        "largest_absolute": 1.5e-5,
        "of_allowed": 0.0033,
    }
    content = {
        "n_events": 64,
        "batches": [1, 2],
        "tolerance": "3e-4 of the target's spread",
        "files": [{"file": "model.onnx", "outputs": [output]}],
    }
    (run_dir / "export_parity_tiny.json").write_text(json.dumps(content))
    text = Page(as_html(collect(run_dir, "tiny", "regressor"))).text
    assert "of what is allowed" in text
    assert "1.5e-05 0.0033" in " ".join(text.split())
    assert "64 events, in batches of 1, 2; allowed is 3e-4 of the target's spread" in text


def test_parity_of_an_earlier_export_is_not_taken_for_one_of_what_is_allowed(tmp_path):
    output = {"output": "o", "unit": "MeV", "largest_absolute": 1.5e-5, "largest_relative": 0.11}
    files = [{"file": "model.onnx", "outputs": [output]}]
    content = {"n_events": 64, "batches": [1], "tolerance": "x", "files": files}
    (tmp_path / "export_parity_tiny.json").write_text(json.dumps(content))
    cells = parity_cells(tmp_path, "tiny", "regressor")
    assert cells.header[-1] == "of what is allowed"
    assert cells.rows == (("model.onnx", "o", "MeV", "1.5e-05", "not recorded"),)


def test_a_folder_without_a_run_is_an_error_that_names_it(folder, tmp_path):
    with pytest.raises(DataError, match=r"tinny: no such folder of a run \(did you mean 'tiny'"):
        collect(folder.parent / "tinny", "tinny", "regressor")
    with pytest.raises(
        DataError, match=f"{tmp_path}: nothing of a run of kind mae .* files of: no run"
    ):
        collect(tmp_path, "x", "mae")
    with pytest.raises(DataError, match=r"nothing of a run of kind inpainter .* regressor, mae"):
        collect(folder, "tiny", "inpainter")


def test_command_writes_a_report_for_each_kind(folder, tmp_path, capsys):
    assert main(["report", str(folder), "--output_dir", str(tmp_path)]) == 0
    names = [Path(line).name for line in capsys.readouterr().out.splitlines()]
    assert names == ["report_tiny.html", "mae_report_tiny.html"]
    assert all((tmp_path / name).is_file() for name in names)
    assert main(["report", str(tmp_path / "nowhere")]) == 2
    assert "no such folder of a run" in capsys.readouterr().err


def test_worker_tells_path_version_and_numbers(folder, tmp_path, monkeypatch, capsys):
    told: list[tuple[dict[str, object], str]] = []
    monkeypatch.setattr(Report, "result", lambda _, *result: told.append(result))
    arguments = [str(folder), "--output_dir", str(tmp_path)]
    assert worker.main([*arguments, "--kind", "regressor"]) == 0
    ((metadata, version),) = told
    assert metadata["report"] == tmp_path / "report_tiny.html"
    assert metadata["figures"] == 3
    assert "Physical limit" in str(metadata["missing"])
    assert "1.730 ± 0.027" in str(metadata["key_numbers"])
    assert len(version) == 32
    assert worker.main(arguments) == 2
    assert "holds regressor and mae; give --kind" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("metric", "unit"),
    [
        ("energy_res_68pct", "MeV"),
        ("uvw_u_bias", "cm"),
        ("theta_skew", ""),
        ("val/mae_npho", "normalized"),
        ("system/throughput_events_per_sec", "events/s"),
        ("system/epoch_duration_sec", "s"),
        ("val/loss", ""),
        ("val_resolution_deg", "deg"),
        ("system/gpu_sm_pct", "%"),
    ],
)
def test_metrics_have_units(metric, unit):
    assert unit_of(metric) == unit


def test_previews_are_small_and_bad_figures_are_left_out(tmp_path):
    draw(tmp_path / "good.pdf", 2)
    (tmp_path / "bad.pdf").write_bytes(b"%PDF-")
    found = previews({name: tmp_path / f"{name}.pdf" for name in ("good", "bad")})
    assert set(found) == {"preview_good"}
    text = found["preview_good"]["raw_value"]
    assert text.startswith("![good.pdf, page 1 of 2](data:image/png;base64,")
    assert text == preview(tmp_path / "good.pdf")
    assert len(text) < MOST_BYTES
    with pytest.raises(CorruptFileError, match=r"bad\.pdf: not a PDF"):
        preview(tmp_path / "bad.pdf")


def test_pictures_have_the_size_of_the_page(tmp_path):
    draw(tmp_path / "a.pdf", 2)
    first, second = page_pictures(tmp_path / "a.pdf", dpi=100)
    assert (first.width, first.height) == (400, 200)
    assert first.css_width == 384
    assert first.png != second.png
    assert page_pictures(tmp_path / "a.pdf", dpi=100, most_pages=1) == [first]
