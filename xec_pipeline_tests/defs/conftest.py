from pathlib import Path

import pytest

from xec_pipeline_tests.defs.chain_copy import Copy, finished_copy

FOLDER = Path(__file__).parent
# Dagster's own code uses what Dagster itself deprecates, or calls beta or a preview.
FROM_DAGSTER_ITSELF = (
    "ignore:.*run_id.*is deprecated:DeprecationWarning",
    "ignore:.*expected_writer_count.*:dagster.PreviewWarning",
    "ignore:.*include_sources.*:dagster.BetaWarning",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if FOLDER in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings(*FROM_DAGSTER_ITSELF))


@pytest.fixture(scope="session")
def finished_chain(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    """A working folder after a first demo with workers that only pretend; do not write into it."""
    return finished_copy(tmp_path_factory.mktemp("chain"))
