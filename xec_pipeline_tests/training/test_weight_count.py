import pytest

from xec_pipeline.training.weight_count import n_weights
from xec_pipeline_tests.models.inpainters import KINDS, tiny_inpainter


@pytest.mark.parametrize("kind", KINDS)
def test_constant_tables_are_no_weights(kind):
    network = tiny_inpainter(kind)
    expected = sum(weight.numel() for weight in network.parameters())
    assert n_weights(network.state_dict()) == expected
