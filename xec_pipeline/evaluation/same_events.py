"""Whether two prediction tables are of the same events: by their numbers and by their truth."""

import numpy as np

from xec_pipeline.data.targets import TARGETS
from xec_pipeline.evaluation.tables import KEYS, PredictionTable


def same_events(first: PredictionTable, second: PredictionTable) -> bool:
    """Tell whether two tables have the same events in the same order.

    Numbers of runs and events alone do not tell: each set of toy events begins with the same ones.
    Columns of the truth, and keys, are compared as far as both tables have them.
    """
    truth = [name for name in first if str(name).startswith("true_") and name in second]
    columns = [*(key for key in KEYS if key in first and key in second), *truth]
    if len(first) != len(second):
        return False
    one, other = (
        table[columns].to_numpy(dtype=np.float64, na_value=np.nan) for table in (first, second)
    )
    return np.array_equal(one, other, equal_nan=True)


def is_of_events(table: PredictionTable, reference: PredictionTable, task: str) -> bool:
    """Tell whether all events that two tables share have the same truth, and whether there are any.

    Events are matched by run and event, or by row where a table has no such numbers.

    Parameters
    ----------
    table, reference
        Tables of `task`, of which one may have events that the other lacks.
    task
        Its truth is compared.
    """
    keys, truth = list(KEYS), list(TARGETS[task].csv_true)
    if not (set(keys) <= set(table) and set(keys) <= set(reference)):
        return same_events(table[truth], reference[truth])
    shared = table[[*keys, *truth]].merge(reference[[*keys, *truth]], on=keys)
    # Whoever has no events contradicts nobody.
    if not len(shared):
        return not len(table) or not len(reference)
    one = shared[[f"{name}_x" for name in truth]].to_numpy(dtype=np.float64)
    other = shared[[f"{name}_y" for name in truth]].to_numpy(dtype=np.float64)
    return bool(np.isclose(one, other, equal_nan=True).all())
