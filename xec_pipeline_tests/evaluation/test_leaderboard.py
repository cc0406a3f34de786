import dataclasses
import json
import math
from pathlib import Path

import pytest

from xec_pipeline.errors import CorruptFileError
from xec_pipeline.evaluation.leaderboard import ESTIMATOR, Entry, ranked, read_entry

UNITS = {"energy": "%", "u": "mm", "v": "mm", "w": "mm", "time": "ps"}


def entry(
    folder: Path,
    name: str,
    factor: float,
    *,
    data: str | None = "d1",
    selection: str = "52.83 MeV",
    **changed: float,
) -> Entry:
    rows = [
        {
            "quantity": quantity,
            "unit": unit,
            "estimator": estimator,
            "method": method,
            "value": changed.get(quantity, factor * (1 if method == "model" else 9)),
            "error": 0.02,
            "n": 4000 - (quantity == "time"),
        }
        for quantity, unit in UNITS.items()
        for estimator in (ESTIMATOR, "median bias")
        for method in ("model", "conventional")
    ]
    about = {
        "sample": "toy/test",
        "data_version": data,
        "selection": selection,
        "is_toy": True,
        "model_digest": f"w{name}",
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps({**about, "rows": rows}))
    return read_entry(path, Entry(run=name, encoder="xec_v2"), used_weights="wa")


def test_best_is_first_and_scores_are_ratios(tmp_path):
    board = ranked([entry(tmp_path, "b", 1.2), entry(tmp_path, "a", 1.0)], ["c"])
    assert [found.run for found in board.entries] == ["a", "b"]
    assert board.scores == pytest.approx((1.0, 1.2))
    assert [found.in_use for found in board.entries] == [True, False]
    first, second = board.records()
    assert first["in use"] == "yes"
    assert second["time [ps]"] == "1.200 ± 0.020"
    assert second["theta [deg]"] == "-"
    assert second["N"] == "3999-4000"
    assert second["sample"] == "toy/test (toy detector)"
    assert "Without a table of resolutions: c." in board.text()
    assert "| a | yes |" in board.markdown()
    assert {row["quantity"] for row in board.numbers()} == set(UNITS)


def test_other_test_events_are_ranked_by_themselves(tmp_path):
    board = ranked([entry(tmp_path, "old", 2.0), entry(tmp_path, "new", 1.0, data="d2")], [])
    assert board.scores == pytest.approx((1.0, 1.0))


def test_another_choice_of_the_same_events_is_ranked_by_itself(tmp_path):
    spectrum = entry(tmp_path, "wide", 2.0, selection="true energy 50 to 55 MeV")
    board = ranked([spectrum, entry(tmp_path, "signal", 1.0)], [])
    assert board.scores == pytest.approx((1.0, 1.0))
    found = {record["run"]: record["selection"] for record in board.records()}
    assert found == {"wide": "true energy 50 to 55 MeV", "signal": "52.83 MeV"}
    assert "at the signal energy" not in board.text()
    assert {row["selection"] for row in board.numbers()} == set(found.values())


def test_runs_of_events_that_are_not_known_have_no_score(tmp_path):
    unknown = [entry(tmp_path, name, factor, data=None) for name, factor in (("x", 1), ("y", 2))]
    board = ranked([*unknown, entry(tmp_path, "known", 3.0)], [])
    assert [found.run for found in board.entries] == ["known", "x", "y"]
    assert [record["score"] for record in board.records()] == ["1.000", "n/a", "n/a"]


def test_a_run_that_lacks_a_quantity_has_no_score(tmp_path):
    whole, part = entry(tmp_path, "a", 1.0), entry(tmp_path, "b", 0.5)
    kept = {name: value for name, value in part.resolutions.items() if name != "time"}
    board = ranked([dataclasses.replace(part, resolutions=kept), whole], [])
    assert [found.run for found in board.entries] == ["a", "b"]
    assert math.isnan(board.scores[1])
    assert board.records()[1]["score"] == "n/a"


def test_an_empty_board_and_a_damaged_table_are_no_crash_without_words(tmp_path):
    assert "Without a table of resolutions: a." in ranked([], ["a"]).text()
    (tmp_path / "x.json").write_text('{"rows": 3}')
    with pytest.raises(CorruptFileError, match=r"x\.json: not a table of resolutions"):
        read_entry(tmp_path / "x.json", Entry(run="x"))
