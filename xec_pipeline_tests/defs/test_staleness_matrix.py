"""Every change of the matrix that `make staleness` prints concerns what it should."""

import pytest

from xec_pipeline_tests.defs.chain_copy import Copy
from xec_pipeline_tests.defs.staleness_matrix import CHANGES, Change, table, verdicts

TESTED = [change for change in CHANGES if change.is_tested]


@pytest.fixture(scope="module")
def found(finished_chain: Copy, tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    return verdicts(finished_chain, tmp_path_factory.mktemp("matrix"), TESTED)


@pytest.mark.slow
@pytest.mark.parametrize("change", TESTED, ids=lambda change: change.name)
def test_a_change_concerns_what_depends_on_it_and_nothing_else(found, change: Change):
    assert found[change.name] == change.stale


@pytest.mark.slow
def test_the_table_has_a_line_for_each_change(found):
    lines = table(found)
    assert len(lines) == len(TESTED) + 4
    (unchanged,) = [line for line in lines if line.startswith("nothing ")]
    assert set(unchanged.removeprefix("nothing").split()) == {"."}
