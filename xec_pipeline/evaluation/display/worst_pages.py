"""The five worst events of a run: photons and times of each, with truth and prediction."""

import glob
import math
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from xec_pipeline.config.file_names import worst_event_file
from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline.errors import DataError
from xec_pipeline.evaluation.display.event import DisplayEvent, event_nets, vector_text
from xec_pipeline.evaluation.display.page import DisplayPage, write_display
from xec_pipeline.evaluation.display.regressed import crosses, task_lines, true_values
from xec_pipeline.evaluation.display.sources import ShardSource, Wanted, read_event
from xec_pipeline.evaluation.display.worst import SCORE_TEXT, Scored, score_events, worst
from xec_pipeline.evaluation.metadata import PredictionMeta, earlier_tables, read_meta, write_json
from xec_pipeline.evaluation.tables import KEYS, read_prediction_csvs

N_WORST: Final = 5
_SCALE: Final = 1000.0
"""The contract's titles show the loss times 1000."""


def worst_event_path(run_dir: Path | str, run_name: str, rank: int) -> Path:
    """Return where the display of the event with a rank, from 1, is written."""
    return Path(run_dir) / f"{worst_event_file(rank, run_name)}.pdf"


def write_worst_events(
    run_dir: Path | str,
    run_name: str,
    shards: ShardSet,
    *,
    n_worst: int = N_WORST,
    time_from_photons: float,
) -> list[Path]:
    """Draw the worst events of the predictions in a folder, a JSON with the numbers beside each.

    Displays of an earlier drawing are removed.

    Parameters
    ----------
    run_dir, run_name
        Where the CSVs stand, and the name in theirs.
    shards
        The sample that was predicted.
    n_worst
        How many events.
    time_from_photons
        Times of dimmer sensors were not used.

    Returns
    -------
    list of Path
        The PDFs, the worst event first; fewer if there are fewer events.

    Raises
    ------
    DataError
        If predictions are missing, or were made from another sample than `shards`.
    """
    tables, meta = read_prediction_csvs(run_dir, run_name), read_meta(run_dir, run_name)
    # Equal numbers of runs and events in tables of another sample are other events.
    for task in earlier_tables(run_dir, run_name):
        tables.pop(task, None)
    _require_same_sample(meta, shards, Path(run_dir))
    scored = score_events(tables)
    source = ShardSource(shards)
    rows = worst(scored.score, n_worst)
    _remove_earlier(Path(run_dir), run_name)
    paths = []
    for rank, row in enumerate(rows, 1):
        keys = scored.table.iloc[row]
        event = read_event(source, Wanted(run=int(keys["run"]), event=int(keys["event"])))
        page = worst_page(event, scored, row, rank, meta, time_from_photons=time_from_photons)
        path = worst_event_path(run_dir, run_name, rank)
        write_display([page], path, f"worst event {rank}, run {run_name}")
        write_json(path.with_suffix(".json"), _numbers(scored, row, rank, meta))
        paths.append(path)
    return paths


def worst_page(
    event: DisplayEvent,
    scored: Scored,
    row: int,
    rank: int,
    meta: PredictionMeta,
    *,
    time_from_photons: float,
) -> DisplayPage:
    """Return the page of one event: photons above, times below."""
    values = {str(name): value for name, value in scored.table.iloc[row].items()}
    shown = replace(event, **true_values(values))
    nets = event_nets(shown, crosses(values), time_from_photons)
    title = f"Worst #{rank}  |  {event.name()}  |  Score: {_score_text(scored.score[row])}"
    return DisplayPage(
        head=(title, *_truth_lines(shown), *task_lines(values)),
        rows=((nets["npho"],), (nets["time"],)),
        foot=_foot(scored, meta),
        is_toy=event.is_toy,
    )


def _truth_lines(event: DisplayEvent) -> list[str]:
    """Return the true energy and first interaction as one line, or none if they are not known."""
    parts = []
    if math.isfinite(event.energy_mev):
        parts.append(f"E_true = {event.energy_mev:.2f} MeV")
    if np.isfinite(event.uvw_cm).all():
        parts.append(f"FI = {vector_text(event.uvw_cm)} cm")
    return ["  |  ".join(parts)] if parts else []


def _remove_earlier(run_dir: Path, run_name: str) -> None:
    """Remove displays that may be of a lower rank than are drawn now."""
    for path in run_dir.glob(f"{worst_event_file('[0-9][0-9]', glob.escape(run_name))}.*"):
        path.unlink()


def _require_same_sample(meta: PredictionMeta, shards: ShardSet, run_dir: Path) -> None:
    if meta.data_version is not None and meta.data_version != shards.data_version:
        raise DataError(
            f"{run_dir}: predictions of {meta.sample} were made from data version "
            f"{meta.data_version[:12]}, {shards.path} has {shards.data_version[:12]}; "
            "predict again with xec validate"
        )


def _score_text(score: float) -> str:
    return (
        f"{_SCALE * score:.0f} (\N{MULTIPLICATION SIGN}1000)"
        if math.isfinite(score)
        else "not finite"
    )


def _foot(scored: Scored, meta: PredictionMeta) -> str:
    units = {"energy": "MeV", "timing": "ns", "theta": "deg", "phi": "deg"}
    widths = [
        f"{name} {width:.3g} {units.get(name, 'cm')}" for name, width in scored.widths.items()
    ]
    how = f"{SCORE_TEXT} over what was predicted; half widths: {', '.join(widths) or 'none'}"
    if scored.unscaled:
        how += f"; without a width, not counted: {', '.join(scored.unscaled)}"
    origin = [
        f"run {meta.run_name}",
        f"worst of {len(scored.score)} events",
        f"sample {meta.sample or 'not stated'}",
        f"commit {(meta.git_revision or 'not stated')[:12]}",
    ]
    return "   ·   ".join(origin) + f"\n{how}"


def _numbers(scored: Scored, row: int, rank: int, meta: PredictionMeta) -> dict[str, Any]:
    values = {
        str(name): value
        for name, value in scored.table.iloc[row].items()
        if not str(name).startswith("residual_")
    }
    values |= {key: int(values[key]) for key in KEYS}
    return {
        "run_name": meta.run_name,
        "sample": meta.sample,
        "data_version": meta.data_version,
        "model_digest": meta.model_digest,
        "rank": rank,
        "n_events": len(scored.score),
        "score": float(scored.score[row]),
        "score_definition": SCORE_TEXT,
        "half_widths": dict(scored.widths),
        "event": values,
    }
