import shutil
from pathlib import Path

import pytest

from xec_pipeline.code_versions import PACKAGE_DIR
from xec_pipeline.defs import code

ALL = {name: found for name, found in vars(code).items() if isinstance(found, code.Code)}
TRAININGS = {"WEIGHTS", "ENCODER", "INPAINTER"}


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("code") / "xec_pipeline"
    shutil.copytree(PACKAGE_DIR, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


@pytest.mark.parametrize(
    ("module", "decides"),
    [
        ("evaluation/plots/energy", {"FIGURES"}),
        ("evaluation/plots/style", {"FIGURES", "ANALYSIS", "DISPLAYS", "EFFICIENCY", "REPORT"}),
        ("evaluation/run_report/page", {"REPORT"}),
        ("evaluation/previews", set()),
        ("training/record", set()),
        ("training/losses", TRAININGS),
        ("training/optim", TRAININGS),
        ("training/stages/mae", {"ENCODER"}),
        ("training/stages/inpainter", {"INPAINTER"}),
        ("training/stages/regressor", {"WEIGHTS"}),
        # The analysis reads its table with it, the efficiency its limits.
        ("data/root_io", {"SHARDS", "ANALYSIS", "EFFICIENCY", "RECOVERED"}),
        (
            "models/encoder",
            {
                *TRAININGS,
                "PREDICTIONS",
                "DISPLAYS",
                "ONNX",
                "RECOVERED",
                "DEAD_STUDY",
                "INPAINTER_EXPORT",
            },
        ),
        ("training/tracking", set()),
        ("workers/pipes", set()),
        ("simulation/light", {"EFFICIENCY"}),
        ("cli/train", set()),
    ],
)
def test_code_decides_what_uses_it_and_nothing_else(package, module, decides):
    before = {name: found.version(package) for name, found in ALL.items()}
    path = package / f"{module}.py"
    path.write_text(path.read_text() + "\nADDED = 1\n")
    after = {name: found.version(package) for name, found in ALL.items()}
    assert {name for name in ALL if before[name] != after[name]} == decides


def test_templates_decide_the_report(package):
    before = {name: found.version(package) for name, found in ALL.items()}
    style = package / "evaluation" / "run_report" / "templates" / "report.css"
    style.write_text(style.read_text() + "p { color: red; }\n")
    after = {name: found.version(package) for name, found in ALL.items()}
    assert {name for name in ALL if before[name] != after[name]} == {"REPORT"}
