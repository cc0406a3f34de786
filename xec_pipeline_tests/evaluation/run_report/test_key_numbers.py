import json

import pytest

from xec_pipeline.errors import CorruptFileError
from xec_pipeline.evaluation.run_report.key_numbers import key_numbers
from xec_pipeline.evaluation.run_report.record import Training
from xec_pipeline_tests.evaluation.run_report.run_folder import estimates

LIMIT = {"quantity": "energy", "method": "model", "estimator": "68 % half width", "w_low_cm": None}
EFFICIENCY = {"limit": 1.25, "efficiency": 0.72, "efficiency_error": 0.011}


def write_tables(folder, **limit):
    table = {"selection": "52.83 MeV", "rows": [estimates("model", 1.73)]}
    (folder / "resolution_table_r.json").write_text(json.dumps(table))
    (folder / "efficiency_table_r.json").write_text(json.dumps({"rows": [{**LIMIT, **limit}]}))


def recovered(method, value, low=100.0, n=40):
    row = {"reference": "mean", "low_photons": low, "high_photons": 3 * low, "method": method}
    return row | {"relative_rms_percent": value, "error_percent": 0.25, "n": n}


def tiles_of(folder, rows):
    path = folder / "inpainter_analysis" / "recovery_table_r.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"rows": rows}))
    return key_numbers(folder, "r", "inpainter", Training()).numbers


def numbers_of(folder):
    return key_numbers(folder, "r", "regressor", Training())


def test_resolution_stands_beside_its_limit(tmp_path):
    write_tables(tmp_path, **EFFICIENCY)
    (number,) = numbers_of(tmp_path).numbers
    assert (number.label, number.text, number.unit) == ("energy", "1.730 ± 0.027", "%")
    assert number.beside == ("limit 1.25", "efficiency 0.720 ± 0.011")


@pytest.mark.parametrize("limit", [1.25, None])
def test_efficiency_of_too_few_events_leaves_the_resolution_there(tmp_path, limit):
    write_tables(tmp_path, limit=limit, efficiency=None, efficiency_error=None)
    (number,) = numbers_of(tmp_path).numbers
    assert number.text == "1.730 ± 0.027"
    assert number.beside == (f"limit {limit or 'n/a'}", "efficiency n/a")


def test_a_damaged_table_of_efficiencies_is_named_itself(tmp_path):
    for damage in ({**EFFICIENCY, "limit": "wide"}, {"efficiency": None}):
        write_tables(tmp_path, **damage)
        with pytest.raises(CorruptFileError, match=r"efficiency_table_r\.json: not a table of eff"):
            numbers_of(tmp_path)


def test_recovery_stands_beside_the_best_conventional_method_of_its_bin(tmp_path):
    first = [recovered("model", 9.72), recovered("localfit", 13.88), recovered("knn", 11.25)]
    second = [
        recovered("model", 5.0, low=300),
        recovered("true mean", 1.0, low=300),
        recovered("localfit", 6.0, low=300, n=30),
        recovered("knn", 7.0, low=300),
        recovered("sa", None, low=300),
    ]
    one, two = tiles_of(tmp_path, first + second)
    assert one.text == "9.72 ± 0.25"
    assert one.beside == ("best conventional: k nearest 11.25 ± 0.25", "N = 40")
    assert two.beside == ("best conventional: local fit 6.00 ± 0.25 (N = 30)", "N = 40")


def test_recovery_without_another_method_stands_alone(tmp_path):
    (number,) = tiles_of(tmp_path, [recovered("model", 9.72), recovered("avg", None)])
    assert number.beside == ("N = 40",)
