"""The origin of prediction tables of which only some were written anew."""

import dataclasses
from collections.abc import Collection
from pathlib import Path

from xec_pipeline.evaluation.metadata import PredictionMeta, read_meta, write_meta
from xec_pipeline.evaluation.tables import predicted_tasks


def write_origin(
    meta: PredictionMeta, run_dir: Path | str, suffix: str = "", *, tasks: Collection[str]
) -> Path:
    """Write the origin of the tables of some tasks; the others in the folder keep theirs.

    Parameters
    ----------
    meta
        The origin.
    run_dir, suffix
        Where the tables stand, and the end of their names; see `tables.prediction_path`.
    tasks
        Tasks whose tables were written now.

    Returns
    -------
    Path
        The file, see `metadata.meta_path`.
    """
    earlier, without_truth = {}, dict(meta.n_without_truth)
    for task in predicted_tasks(run_dir, meta.run_name, suffix):
        if task in tasks:
            continue
        known = read_meta(run_dir, meta.run_name, suffix, task=task)
        if not known.is_like(meta):
            earlier[task] = known
        elif task in known.n_without_truth:
            without_truth[task] = known.n_without_truth[task]
    complete = dataclasses.replace(meta, n_without_truth=without_truth)
    return write_meta(complete, run_dir, suffix, earlier=earlier)
