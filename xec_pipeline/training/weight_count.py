"""How many weights a network has."""

from collections.abc import Mapping

from torch import Tensor

from xec_pipeline.models.cross_attention import TABLES


def n_weights(state: Mapping[str, Tensor]) -> int:
    """Return the number of weights that are trained or frozen.

    Parameters
    ----------
    state
        State dictionary; the constant tables in that of an inpainter do not count.
    """
    first = TABLES[0]
    heads = [name.removesuffix(first) for name in state if name.endswith(f".{first}")]
    tables = {f"{head}{table}" for head in heads for table in TABLES}
    return sum(weight.numel() for name, weight in state.items() if name not in tables)
