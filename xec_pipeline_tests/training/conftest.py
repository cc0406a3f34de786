import pytest

from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline_tests.training.tiny import Fitted, fit, tiny_run


@pytest.fixture(scope="session")
def trained(tiny_shards: ShardSet, tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    """Return a tiny run trained for three epochs without a break; do not write into its folder."""
    return fit(tiny_run(tmp_path_factory.mktemp("trained")), tiny_shards)
