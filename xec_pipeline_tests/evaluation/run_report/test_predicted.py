import dataclasses
import json

import pytest

from xec_pipeline.errors import CorruptFileError
from xec_pipeline.evaluation.run_report.facts import lineage_cells
from xec_pipeline.evaluation.run_report.parts import label_of
from xec_pipeline.evaluation.run_report.predicted import predicted_events
from xec_pipeline.evaluation.run_report.record import Training

ORIGIN = {"sample": "data/toy/test", "data_version": "ef40752388105cf2", "is_toy": True}


def write_table(folder, text):
    path = folder / "inpainter_analysis" / "recovery_table_r.json"
    path.parent.mkdir()
    path.write_text(text)


def lineage_of(predicted, folder):
    training = Training(config={"data": {"test_path": "data/toy/test"}})
    rows = lineage_cells(folder, training, predicted).rows
    start = [row[0] for row in rows].index("validation events") + 2
    return [row for row in rows[start:] if row[0] not in {"encoder", "resumed from"}][:4]


def test_the_recovery_table_tells_the_events_of_an_inpainter(tmp_path):
    more = {"n_events": 1500, "dead_pattern": "random 3 %"}
    write_table(tmp_path, json.dumps(ORIGIN | more))
    found = predicted_events(tmp_path, "r", "inpainter")
    assert dataclasses.asdict(found) == {**ORIGIN, **more}
    assert lineage_of(found, tmp_path) == [
        ("test events", "path", "data/toy/test"),
        ("", "data version", "ef40752388105cf2"),
        ("", "predicted events", "1,500"),
        ("", "dead sensors", "random 3 %"),
    ]


def test_what_the_table_does_not_tell_is_not_invented(tmp_path):
    write_table(tmp_path, json.dumps({"sample": "data/toy/val", "data_version": ""}))
    found = predicted_events(tmp_path, "r", "inpainter")
    assert lineage_of(found, tmp_path)[:2] == [
        ("predicted events", "path", "data/toy/val"),
        ("", "data version", "not recorded"),
    ]
    nothing = predicted_events(tmp_path / "elsewhere", "r", "inpainter")
    assert lineage_of(nothing, tmp_path)[:2] == [
        ("test events", "path", "data/toy/test"),
        ("", "data version", "not recorded: not predicted"),
    ]


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_damaged_table_is_named(tmp_path, text):
    write_table(tmp_path, text)
    with pytest.raises(CorruptFileError, match=r"recovery_table_r\.json: not a table of recovered"):
        predicted_events(tmp_path, "r", "inpainter")


@pytest.mark.parametrize(
    ("channels", "words"),
    [
        (["npho"], "inpainter: light of dead sensors"),
        (["npho", "time"], "inpainter: light and time of dead sensors"),
        (None, "inpainter: dead sensors"),
    ],
)
def test_an_inpainter_is_said_to_predict_what_it_does(channels, words):
    assert label_of("inpainter", channels) == f"{words} from the others"
