"""What Dagster calls stale after which change: `make staleness`.

Prints a table with a line for each change and a column for each asset that is made. The verdicts
are Dagster's own, on the real graph; only the workers are fake.
"""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from xec_pipeline.evaluation.text import aligned_lines
from xec_pipeline_tests.defs.chain_copy import (
    ALL,
    COMPARED,
    DATASETS,
    INPAINTED,
    INPAINTER,
    REPORTS,
    RUNS,
    Copy,
    finished_copy,
    inpainter,
    regressor,
)

PROBE = Path(__file__).parent / "staleness_probe.py"
COLUMNS = {
    "data/shards": "shards",
    "mae/encoder": "encoder",
    "regressor/weights": "weights",
    "regressor/predictions_csv": "csv",
    "regressor/baselines_csv": "baselines",
    "regressor/resolution_pdf": "pdf",
    "regressor/resolution_table": "table",
    "regressor/event_displays": "displays",
    "regressor/efficiency": "efficiency",
    "regressor/onnx": "onnx",
    "inpainter/weights": "inpainter",
    "inpainter/predictions_root": "recovered",
    "inpainter/analysis": "analysis",
    "inpainter/dead_study": "dead study",
    "inpainter/export": "export",
    "mae/report": "report (mae)",
    "regressor/report": "report",
    "inpainter/report": "report (inp.)",
}
SHORT = {"demo-scratch": "scratch", **{name: name.removeprefix("toy.") for name in DATASETS}}

ENCODER = {"mae/encoder[demo]"}
DEMO = ("demo",)
TRAINED = ENCODER | regressor("weights") | inpainter("weights")
PREDICTED = (
    TRAINED
    | regressor("predictions_csv")
    | regressor("event_displays", "onnx", runs=DEMO)
    | inpainter(*INPAINTED)
)


@dataclasses.dataclass(frozen=True)
class Change:
    """Something that happens to a finished folder, and what is then stale."""

    name: str
    edit: Callable[[Copy], object]
    stale: frozenset[str]
    code: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Lines that are appended to modules."""
    make: tuple[tuple[str, str], ...] = ()
    """What is made again after the edit, before the question."""
    versions: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Content of what the workers then make, by worker."""
    is_tested: bool = True
    """False for what is in the printed table only, as each change costs seconds."""


def leave(_copy: Copy) -> None:
    """Change nothing."""


def option(file: str, line: str) -> Callable[[Copy], None]:
    return lambda copy: copy.append(f"runs/{file}.yaml", f"{line}\n")


def data(name: str) -> str:
    return f"toy/{name}/MCGamma_000001.root"


def other_test_events(copy: Copy) -> None:
    text = RUNS.replace("test_path: toy/test", "test_path: toy/val")
    copy.write("runs/regressor/demo.yaml", f"{text}mae: demo\n")


def edit_of_code(
    name: str, module: str, *stale: Iterable[str], line: str = "ADDED = 1", **more: Any
) -> Change:
    return change(f"code: {name}", leave, *stale, code={module: line}, **more)


def change(name: str, edit: Callable[[Copy], object], *stale: Iterable[str], **more: Any) -> Change:
    return Change(name, edit, frozenset().union(*stale), **more)


CHANGES = (
    change("nothing", leave),
    change(
        "ROOT file: other content (test)",
        lambda copy: copy.append(data("test"), "more"),
        {"data/shards[toy.test]"},
        inpainter("predictions_root"),  # the true mean light is in the ROOT files alone
    ),
    change(
        "ROOT file: other content (train)",
        lambda copy: copy.append(data("train"), "more"),
        {"data/shards[toy.train]"},
        is_tested=False,
    ),
    change("ROOT file: touched", lambda copy: (copy.folder / data("test")).touch()),
    change("YAML: a comment", option("regressor/demo", "# a comment")),
    change(
        "YAML: training option (regressor)",
        option("regressor/demo", "training: {epochs: 77}"),
        regressor("weights", runs=DEMO),
    ),
    change(
        "YAML: training option (mae)",
        option("mae/demo", "training: {epochs: 77}"),
        ENCODER,
        is_tested=False,
    ),
    change(
        "YAML: other test events",
        other_test_events,
        regressor(*COMPARED, "event_displays", "efficiency", runs=DEMO),
    ),
    change(
        "YAML: evaluation option",
        lambda copy: copy.write(
            "runs/inpainter/demo.yaml", INPAINTER.replace("demo}", "demo, max_events: 77}")
        ),
        inpainter("predictions_root", "dead_study"),
    ),
    change(
        "YAML: export option (regressor)",
        option("regressor/demo", "export: {onnx: other.onnx}"),
        regressor("onnx", runs=DEMO),
    ),
    change(
        "YAML: export option (inpainter)",
        option("inpainter/demo", "export: {onnx: other.onnx}"),
        inpainter("export"),
        is_tested=False,
    ),
    change(
        "YAML: option without effect on content",
        option("regressor/demo", "mlflow: {experiment: other}"),
        is_tested=False,
    ),
    edit_of_code("a comment", "models/encoder", line="# a comment", is_tested=False),
    edit_of_code("one figure", "evaluation/plots/energy", regressor("resolution_pdf", runs=DEMO)),
    edit_of_code(
        "style of figures",
        "evaluation/plots/style",
        regressor("resolution_pdf", "event_displays", "efficiency", runs=DEMO),
        inpainter("analysis"),
        REPORTS,
        is_tested=False,
    ),
    edit_of_code(
        "table of resolutions",
        "evaluation/comparison",
        regressor("resolution_table", "efficiency", runs=DEMO),
        inpainter("dead_study"),
        is_tested=False,
    ),
    edit_of_code("model", "models/encoder", PREDICTED),
    edit_of_code("losses", "training/losses", TRAINED, is_tested=False),
    edit_of_code("batches", "data/dataset", PREDICTED - regressor("onnx") - inpainter("export")),
    edit_of_code(
        "ROOT reader",
        "data/root_io",
        {f"data/shards[{name}]" for name in DATASETS},
        regressor("efficiency", runs=DEMO),
        inpainter("predictions_root", "analysis"),
    ),
    edit_of_code(
        "ROOT writer",
        "evaluation/masked_table",
        inpainter("weights", "predictions_root", "analysis"),
    ),
    edit_of_code("tracking", "training/tracking", is_tested=False),
    change("encoder trained again: equal", leave, make=(("mae/encoder", "demo"),)),
    change(
        "encoder trained again: new weights",
        leave,
        {"mae/report[demo]"},
        regressor("weights", runs=DEMO),
        inpainter("weights"),
        make=(("mae/encoder", "demo"),),
        versions={"train_mae": "new"},
    ),
    change(
        "regressor trained again: new weights",
        leave,
        regressor("predictions_csv", "event_displays", "onnx", "report", runs=DEMO),
        inpainter("dead_study"),
        make=(("regressor/weights", "demo"),),
        versions={"train": "new"},
        is_tested=False,
    ),
)


def verdicts(
    finished: Copy, folder: Path, changes: Sequence[Change] = CHANGES
) -> dict[str, set[str]]:
    """Make each change in a copy of a finished folder; return what is stale, by change."""
    copies = {}
    for number, each in enumerate(changes):
        copy = finished.duplicate(folder / f"change{number}", "xec_pipeline")
        each.edit(copy)
        asked = {"code": each.code, "make": each.make, "versions": each.versions}
        copy.write("probe.json", json.dumps(asked))
        copies[str(copy.folder)] = each.name
    command = [sys.executable, "-W", "ignore", str(PROBE), str(finished.folder), *copies]
    env = {name: value for name, value in os.environ.items() if name != "XEC_RUNS"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    answers = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {
        copies[answer["folder"]]: {
            name for name, status in answer["status"].items() if status != "FRESH"
        }
        for answer in answers
    }


def table(found: Mapping[str, set[str]]) -> list[str]:
    """Return the lines of a table: which partitions of each asset are stale after each change."""
    rows = [["change", *COLUMNS.values()]]
    rows += [[name, *(_cell(asset, stale) for asset in COLUMNS)] for name, stale in found.items()]
    return aligned_lines(rows, len(rows[0]))


def _cell(asset: str, stale: set[str]) -> str:
    def of_asset(names: Iterable[str]) -> list[str]:
        found = [name.partition("[")[2].rstrip("]") for name in names if _asset(name) == asset]
        return sorted(found)

    partitions = of_asset(stale)
    if partitions and partitions == of_asset(ALL):
        return "STALE"
    return ", ".join(SHORT.get(part, part) for part in partitions) or "."


def _asset(name: str) -> str:
    return name.partition("[")[0]


def main() -> int:
    """Print the table; return 1 if a verdict is not the expected one."""
    with tempfile.TemporaryDirectory() as folder:
        finished = finished_copy(Path(folder) / "finished")
        found = verdicts(finished, Path(folder))
    lines = table(found)
    wrong = [each.name for each in CHANGES if found[each.name] != each.stale]
    lines.append(". is fresh, STALE all partitions, a name one of several (datasets, runs)")
    lines += [f"not as expected: {name}" for name in wrong]
    sys.stdout.write("\n".join(lines) + "\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
