import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg

from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.display.event import event_page
from xec_pipeline.evaluation.display.page import draw_display_page
from xec_pipeline.evaluation.display.worst import score_events, worst
from xec_pipeline.evaluation.display.worst_pages import worst_page, write_worst_events
from xec_pipeline.evaluation.metadata import PredictionMeta, write_meta
from xec_pipeline.evaluation.tables import TASK_QUANTITIES, write_prediction_csvs
from xec_pipeline.workers.displays import DisplayOptions
from xec_pipeline_tests.evaluation.display.test_draw import an_event
from xec_pipeline_tests.evaluation.synthetic import prediction_table

FEW_VALUES = st.sampled_from([0.0, 1.0, 1.5, 2.0, math.inf, math.nan])


def tables_of(table, tasks=tuple(TASK_QUANTITIES)):
    return dict.fromkeys(tasks, table)


@settings(deadline=None, max_examples=300)
@given(st.lists(FEW_VALUES | st.floats(0, 10), max_size=40), st.integers(0, 8))
def test_heap_agrees_with_a_full_sort(scores, n_worst):
    ranked = sorted(
        range(len(scores)),
        key=lambda i: (-(math.inf if math.isnan(scores[i]) else scores[i]), i),
    )
    assert worst(iter(scores), n_worst) == ranked[:n_worst]


def test_of_equal_scores_the_earlier_is_worse():
    assert worst([1.0] * 10, 3) == [0, 1, 2]
    assert worst([1.0, 2.0, 1.0, 2.0], 3) == [1, 3, 0]


def test_score_of_a_gaussian_sample_is_about_one_and_has_no_unit():
    scored = score_events(tables_of(prediction_table(2000, energy_mev=52.83)))
    assert np.sqrt((scored.score**2).mean()) == pytest.approx(1.0, abs=0.05)
    assert scored.widths["timing"] == pytest.approx(0.06, rel=0.1)
    blown = prediction_table(2000, energy_mev=52.83)
    for name in ("true_u", "pred_u"):
        blown[name] *= 1e3
    np.testing.assert_allclose(score_events(tables_of(blown)).score, scored.score)


def test_score_is_the_root_mean_square_of_pulls():
    table = prediction_table(500)
    scored = score_events(tables_of(table, ("energy", "uvwFI")))
    pulls = [
        (table[f"pred_{q}"] - table[f"true_{q}"]) / scored.widths[q]
        for q in ("energy", "u", "v", "w")
    ]
    np.testing.assert_allclose(scored.score, np.sqrt(np.mean(np.square(pulls), axis=0)))
    assert list(scored.table["event"]) == list(table["event"])


def test_angles_are_compared_across_the_seam():
    table = prediction_table(100)
    table.loc[3, ["true_phi", "pred_phi"]] = [179.9, -179.9]
    scored = score_events(tables_of(table, ("angle",)))
    assert scored.score[3] < 4


def test_predictions_that_are_not_finite_come_first():
    table = prediction_table(100)
    table.loc[50, "pred_energy"] = np.nan
    table.loc[20, "pred_u"] = np.inf
    table["pred_timing"] += 100 * (table["event"] == 7)
    scored = score_events(tables_of(table))
    assert worst(scored.score, 3) == [20, 50, 7]


def test_a_task_without_truth_for_an_event_is_left_out_of_its_score():
    table = prediction_table(100)
    energy = table[["run", "event", "true_energy", "pred_energy"]].drop(index=4)
    position = table.drop(columns=["true_energy", "pred_energy"])
    scored = score_events({"energy": energy, "uvwFI": position})
    assert len(scored.score) == 100
    alone = score_events({"uvwFI": position})
    assert scored.score[4] == pytest.approx(alone.score[4])
    assert np.isfinite(scored.score).all()


def test_quantities_without_a_width_are_named_and_do_not_count():
    table = prediction_table(50)
    table["pred_energy"] = table["true_energy"]
    scored = score_events(tables_of(table, ("energy", "timing")))
    assert scored.unscaled == ("energy",)
    alone = score_events(tables_of(table, ("timing",)))
    np.testing.assert_allclose(scored.score, alone.score)
    table.loc[3, "pred_energy"] = np.nan
    assert worst(score_events(tables_of(table, ("energy", "timing"))).score, 1) == [3]


@pytest.mark.parametrize("n_events", [0, 1, 2])
def test_few_events_have_finite_scores(n_events):
    scored = score_events(tables_of(prediction_table(n_events)))
    assert len(scored.score) == n_events
    assert np.isfinite(scored.score).all()
    assert worst(scored.score, 5) == worst(scored.score, n_events)


def test_tables_without_keys_and_repeated_events(caplog):
    table = prediction_table(10)
    with pytest.raises(DataError, match="no column run, event"):
        score_events({"energy": table[["true_energy", "pred_energy"]]})
    with pytest.raises(DataError, match="no prediction table"):
        score_events({})
    twice = pd.concat([table, table.iloc[:2]])
    assert len(score_events({"energy": twice}).score) == 10
    assert "2 rows repeat" in caplog.text


def shard_predictions(shards, folder, **changes):
    """Write predictions of the events of shards: perfect but for one event."""
    columns = {name: shards.columns[name] for name in ("run", "event")}
    table = pd.DataFrame(columns)
    rng = np.random.default_rng(0)
    truth = shards.columns["uvwTruth"]
    for i, name in enumerate(("u", "v", "w")):
        table[f"true_{name}"] = truth[:, i]
        table[f"pred_{name}"] = truth[:, i] + 0.1 * rng.standard_normal(len(table))
    table["true_energy"] = shards.columns["energyTruth"] * 1e3
    table["pred_v"] += 5 * (table.index == 30)
    write_prediction_csvs(table, folder, "r", tasks=["uvwFI"])
    meta = {"sample": "s", "data_version": shards.data_version, "is_toy": False} | changes
    write_meta(PredictionMeta(run_name="r", **meta), folder)
    return table


def test_tables_of_an_earlier_sample_play_no_part(tiny_shards, tmp_path, monkeypatch):
    table = shard_predictions(tiny_shards, tmp_path)
    noise = np.random.default_rng(1).standard_normal(len(table))
    earlier = table.assign(pred_energy=table["true_energy"] + noise + 1e3 * (table.index == 3))
    write_prediction_csvs(earlier, tmp_path, "r", tasks=["energy"])
    meta = PredictionMeta(run_name="r", data_version=tiny_shards.data_version)
    write_meta(meta, tmp_path, earlier={"energy": PredictionMeta(run_name="r", sample="old")})
    monkeypatch.setattr(
        "xec_pipeline.evaluation.display.worst_pages.write_display",
        lambda _pages, path, _title: path.parent.mkdir(parents=True, exist_ok=True),
    )
    (path,) = write_worst_events(tmp_path, "r", tiny_shards, n_worst=1, time_from_photons=100)
    event = json.loads(path.with_suffix(".json").read_text())["event"]
    assert event["event"] == table["event"][30]


def test_displays_have_the_names_and_titles_of_the_contract(tiny_shards, tmp_path):
    table = shard_predictions(tiny_shards, tmp_path)
    stale = tmp_path / "worst_events" / "worst_05_r.pdf"
    other = tmp_path / "worst_events" / "worst_01_rr.pdf"
    stale.parent.mkdir()
    stale.touch()
    other.touch()
    paths = write_worst_events(tmp_path, "r", tiny_shards, n_worst=2, time_from_photons=100)
    assert [path.name for path in paths] == ["worst_01_r.pdf", "worst_02_r.pdf"]
    assert not stale.exists()
    assert other.exists()
    first = json.loads(paths[0].with_suffix(".json").read_text())
    assert (first["rank"], first["n_events"]) == (1, 48)
    assert first["event"]["run"] == table["run"][30]
    assert first["event"]["event"] == table["event"][30]
    assert first["score"] > json.loads(paths[1].with_suffix(".json").read_text())["score"]


def test_title_says_score_energy_and_position(tiny_shards, tmp_path, monkeypatch):
    pages = []
    shard_predictions(tiny_shards, tmp_path, is_toy=True)
    where = "xec_pipeline.evaluation.display.worst_pages"
    monkeypatch.setattr(f"{where}.write_display", lambda shown, *_: pages.extend(shown))
    write_worst_events(tmp_path, "r", tiny_shards, n_worst=1, time_from_photons=100)
    (page,) = pages
    title, truth, *lines = page.head
    row = int(np.flatnonzero(tiny_shards.columns["event"] == 6)[1])
    u, v, w = tiny_shards.columns["uvwTruth"][row]
    energy = 1e3 * tiny_shards.columns["energyTruth"][row]
    assert title.startswith("Worst #1  |  Run 1002  Event 6  |  Score: ")
    assert title.endswith("1000)")
    assert truth == f"E_true = {energy:.2f} MeV  |  FI = ({u:.2f}, {v:.2f}, {w:.2f}) cm"
    assert lines[0].startswith("Position: pred (")
    assert [net.title for (net,) in page.rows] == ["Photons", "Time"]
    assert [mark.label for mark in page.rows[0][0].marks] == ["true first interaction", "predicted"]
    assert "half widths: u " in page.foot


def test_five_events_are_drawn_if_nothing_else_is_asked_for(tiny_shards, tmp_path, monkeypatch):
    shard_predictions(tiny_shards, tmp_path)
    where = "xec_pipeline.evaluation.display.worst_pages"
    monkeypatch.setattr(f"{where}.write_display", lambda *_: None)
    paths = write_worst_events(tmp_path, "r", tiny_shards, time_from_photons=100)
    assert [path.name for path in paths] == [f"worst_0{rank}_r.pdf" for rank in range(1, 6)]
    assert DisplayOptions().n_worst == len(paths)


def test_the_widest_head_stays_on_the_page():
    table = prediction_table(10)
    table["run"], table["event"] = 430_000, 12_345_678 + np.arange(10)
    position = [f"{side}_{name}" for side in ("true", "pred") for name in ("u", "v", "w")]
    table[position] = -123.45
    table.loc[3, "pred_energy"] = np.inf
    event = an_event(run=430_000, event=12_345_681, uvw_cm=(-123.45, -123.45, -123.45))
    scored = score_events(tables_of(table))
    scored.score[3] = 12_345.678
    page = worst_page(event, scored, 3, 5, PredictionMeta(run_name="r"), time_from_photons=100)
    for one in (page, event_page(event)):
        figure = draw_display_page(one)
        FigureCanvasAgg(figure)
        ends = {text.get_text(): text.get_window_extent().x1 for text in figure.texts}
        assert set(one.head) <= set(ends)
        assert max(ends.values()) < figure.bbox.x1


def test_predictions_of_other_events_are_refused(tiny_shards, tmp_path):
    shard_predictions(tiny_shards, tmp_path, data_version="0" * 32)
    with pytest.raises(DataError, match="made from data version 000000000000"):
        write_worst_events(tmp_path, "r", tiny_shards, time_from_photons=100)
