"""The published sensor tables, read once."""

import pytest

from xec_pipeline_tests.detector.published_tables import SensorTables, read_tables


@pytest.fixture(scope="session")
def tables() -> SensorTables:
    return read_tables()
