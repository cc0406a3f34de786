import pytest

from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.side_by_side import SideBySide, compare_runs
from xec_pipeline.evaluation.tables import TASK_QUANTITIES, contract_columns, write_prediction_csvs
from xec_pipeline_tests.evaluation.synthetic import prediction_table


@pytest.fixture
def folders(tmp_path):
    """Two runs of the same events: `wide` has residuals a quarter wider than `base` has."""
    base = prediction_table(800)
    wide = base.copy()
    for names in TASK_QUANTITIES.values():
        for name in names:
            residual = base[f"pred_{name}"] - base[f"true_{name}"]
            wide[f"pred_{name}"] = base[f"true_{name}"] + 1.25 * residual
    for name, table in (("base", base), ("wide", wide)):
        write_prediction_csvs(table, tmp_path / name, name)
    return tmp_path


def compare(folder, first: str, second: str) -> SideBySide:
    return compare_runs((folder / first, first), (folder / second, second), (first, second))


def test_a_run_does_not_differ_from_itself(folders):
    table = compare(folders, "base", "base")
    assert all(line.error == 0 for line in table.differences)
    assert "better in 0 and worse in 0" in table.text()


def test_a_common_width_cancels_because_the_events_are_the_same(folders):
    table = compare(folders, "base", "wide")
    assert {line.label for line in table.differences} >= {"energy [%]", "u [mm]", "time [ps]"}
    for line in table.differences:
        apart = line.second.value - line.first.value
        assert apart == pytest.approx(0.25 * line.first.value, rel=1e-3)
        assert line.error < 0.5 * (line.first.error + line.second.error)
        assert line.in_sigma < -3
    n = len(table.differences)
    assert f"base is better in {n} and worse in 0 of {n} lines" in table.text()
    assert f"base is better in 0 and worse in {n}" not in table.text()
    assert "wide is better in 0" in compare(folders, "wide", "base").text()


def test_other_events_cannot_be_compared(folders):
    write_prediction_csvs(prediction_table(300), folders / "few", "few")
    with pytest.raises(DataError, match="are of different events"):
        compare(folders, "base", "few")
    # Another set of toy events has the same numbers of runs and events.
    write_prediction_csvs(prediction_table(800, seed=2), folders / "other", "other")
    with pytest.raises(DataError, match="are of different events"):
        compare(folders, "base", "other")


def test_tables_without_numbers_of_events_are_compared_by_their_truth(folders):
    table = prediction_table(800, energy_mev=52.83)
    for name in ("one", "two"):
        (folders / name).mkdir()
        path = folders / name / f"predictions_angle_{name}.csv"
        table[list(contract_columns("angle"))].to_csv(path, index=False)
    assert all(line.error == 0 for line in compare(folders, "one", "two").differences)
