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
