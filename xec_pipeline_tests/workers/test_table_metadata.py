from typing import Any

import pandas as pd
import pytest

from xec_pipeline.evaluation.tables import write_prediction_csvs
from xec_pipeline.workers.pipes import Report
from xec_pipeline.workers.table_metadata import describe_column, describe_tables
from xec_pipeline_tests.evaluation.synthetic import prediction_table


@pytest.fixture
def paths(tmp_path):
    return list(write_prediction_csvs(prediction_table(40), tmp_path, "tiny").values())


def test_rows_of_all_tables_are_counted_and_columns_told_once(paths):
    told = describe_tables(paths)
    assert told["dagster/row_count"] == sum(len(pd.read_csv(path)) for path in paths)
    schema = told["dagster/column_schema"]
    assert schema["type"] == "table_schema"
    columns = {column["name"]: column for column in schema["raw_value"]["columns"]}
    assert set(columns) == {name for path in paths for name in pd.read_csv(path).columns}
    assert len(columns) == len(schema["raw_value"]["columns"])
    assert columns["event"]["type"] == "int"


@pytest.mark.parametrize(
    ("column", "text"),
    [
        ("true_energy", "truth, GeV"),
        ("pred_timing", "prediction, s"),
        ("pred_sigma_u", "uncertainty that the network gives, cm"),
        ("pred_phi", "prediction, deg"),
        ("run", "run number"),
    ],
)
def test_columns_are_described_with_their_units(column, text):
    assert describe_column(column) == text


def test_first_rows_are_those_of_the_file(paths):
    told = describe_tables(paths)
    assert told["first_rows_of"] == paths[0].name
    shown = pd.DataFrame(told["first_rows"]["raw_value"]["records"])
    columns = [column["name"] for column in told["first_rows"]["raw_value"]["schema"]]
    assert columns == ["true_theta", "true_phi", "pred_theta", "pred_phi", "run", "event"]
    expected = pd.read_csv(paths[0])[columns].head(5)
    pd.testing.assert_frame_equal(shown, expected, rtol=1e-4)
    assert shown["event"].tolist() == expected["event"].tolist()


def test_no_table_no_word():
    assert describe_tables([]) == {}


class Pipes:
    """Keeps what is reported to Dagster."""

    def report_asset_materialization(self, **told):
        self.metadata = told["metadata"]


def test_it_passes_through_pipes_unchanged(paths):
    pipes: Any = Pipes()
    told = describe_tables(paths)
    Report(0, pipes=pipes).result({**told, "csv": paths[0]}, "v1")
    assert pipes.metadata["dagster/column_schema"] == told["dagster/column_schema"]
    assert pipes.metadata["first_rows"] == told["first_rows"]
    assert pipes.metadata["size_bytes"] == paths[0].stat().st_size
