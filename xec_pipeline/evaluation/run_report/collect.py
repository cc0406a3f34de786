"""From the folder of a run to what its report shows.

What is missing or damaged becomes a note at its place: a report is most useful when something
went wrong.
"""

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

import yaml

from xec_pipeline.errors import DataError, XecError, did_you_mean
from xec_pipeline.evaluation.metadata import PredictionMeta, read_meta
from xec_pipeline.evaluation.pictures import page_pictures
from xec_pipeline.evaluation.plots.learning import LearningCaption, learning_page, learning_svg
from xec_pipeline.evaluation.run_report import facts
from xec_pipeline.evaluation.run_report.content import (
    Cells,
    Drawn,
    FigurePart,
    Made,
    RunReport,
    TablePart,
)
from xec_pipeline.evaluation.run_report.key_numbers import KeyNumbers, key_numbers
from xec_pipeline.evaluation.run_report.parts import (
    PARTS,
    Part,
    files_of,
    further,
    kinds_in,
    label_of,
    named,
)
from xec_pipeline.evaluation.run_report.predicted import Predicted, predicted_events
from xec_pipeline.evaluation.run_report.record import Training, read_training

DPI: Final = 144
"""Pixels per inch of the figures: sharp on screens of twice the usual resolution."""

T = TypeVar("T")
_log = logging.getLogger(__name__)


def collect(run_dir: Path, run_name: str, kind: str, made: Sequence[Made] = ()) -> RunReport:
    """Gather what the report of a run shows.

    Parameters
    ----------
    run_dir, run_name
        The run's folder and name.
    kind
        regressor, mae or inpainter; a folder may hold one of each.
    made
        Upstream assets as Dagster knows them.

    Raises
    ------
    DataError
        If the folder is not there, or holds nothing of this kind of run.
    """
    _require_something(run_dir, kind)
    notes: list[str] = []
    training = _or_note(lambda: read_training(run_dir, kind), Training(), notes)
    test = _or_note(lambda: predicted_events(run_dir, run_name, kind), Predicted(), notes)
    val = _meta(run_dir, run_name, kind, notes)
    is_toy = _is_toy(training, (test.is_toy, val.is_toy))
    no_numbers = KeyNumbers(title="", numbers=())
    return RunReport(
        run_name=run_name,
        kind=kind,
        label=label_of(kind, training.option("model.predict_channels")),
        run_dir=run_dir,
        is_toy=is_toy,
        training=training,
        key=_or_note(lambda: key_numbers(run_dir, run_name, kind, training), no_numbers, notes),
        tables=_tables(run_dir, run_name, kind),
        figures=_figures(run_dir, run_name, kind),
        curves=_curves(run_name, training, is_toy=is_toy),
        metrics=facts.metric_cells(training),
        lineage=facts.lineage_cells(run_dir, training, test),
        environment=facts.environment_cells(training),
        parity=_or_note(
            lambda: facts.parity_cells(run_dir, run_name, kind),
            Cells(header=(), rows=(), note="cannot be read"),
            notes,
        ),
        files=facts.file_cells(run_dir, kind),
        config=as_yaml(training),
        made=tuple(made),
        notes=tuple(notes),
        facts=facts.headline(training),
    )


def as_yaml(training: Training) -> str:
    """Return the whole configuration as YAML; empty if it is not known."""
    if not training.config:
        return ""
    text: str = yaml.safe_dump(dict(training.config), sort_keys=False, allow_unicode=True)
    return text


def _require_something(run_dir: Path, kind: str) -> None:
    if not run_dir.is_dir():
        parent = run_dir.parent
        near = [path.name for path in parent.iterdir() if path.is_dir()] if parent.is_dir() else []
        raise DataError(f"{run_dir}: no such folder of a run{did_you_mean(run_dir.name, near)}")
    if not files_of(run_dir, kind):
        others = ", ".join(kinds_in(run_dir)) or "no run"
        raise DataError(
            f"{run_dir}: nothing of a run of kind {kind} is there, expected checkpoints, tables or "
            f"figures as its training leaves them; the folder holds files of: {others}"
        )


def _or_note(read: Callable[[], T], otherwise: T, notes: list[str]) -> T:
    """Return what `read` gives, or `otherwise` with a note if a file is damaged."""
    try:
        return read()
    except XecError as error:
        _log.warning("%s", error)
        notes.append(str(error))
        return otherwise


def _meta(folder: Path, run_name: str, kind: str, notes: list[str]) -> PredictionMeta:
    """Return the origin of a regressor's predictions; nothing is known for other kinds."""
    unknown = PredictionMeta(run_name=run_name)
    if kind != "regressor":
        return unknown
    return _or_note(lambda: read_meta(folder, run_name), unknown, notes)


def _is_toy(training: Training, told: Sequence[bool | None]) -> bool | None:
    """Return whether events are of the toy detector, which one sample says for all."""
    detector = training.tags.get("detector")
    known = [is_toy for is_toy in told if is_toy is not None]
    if detector in {"toy", "not toy"}:
        known.append(detector == "toy")
    return any(known) if known else None


def _tables(run_dir: Path, run_name: str, kind: str) -> tuple[TablePart, ...]:
    parts = [_table_part(part, run_dir, run_name) for part in PARTS[kind].tables]
    others = further(run_dir, run_name, kind, ".md")
    if others:
        texts = tuple(path.read_text() for path in others)
        parts.append(TablePart(title="Further tables", texts=texts))
    return tuple(parts)


def _table_part(part: Part, run_dir: Path, run_name: str) -> TablePart:
    texts = tuple(path.read_text() for path in part.find(run_dir, run_name))
    return TablePart(title=part.title, texts=texts, note="" if texts else _absent(part, run_name))


def _figures(run_dir: Path, run_name: str, kind: str) -> tuple[FigurePart, ...]:
    parts = []
    for part in PARTS[kind].figures:
        drawn = _drawn(part.find(run_dir, run_name), run_dir)
        note = "" if drawn else _absent(part, run_name)
        parts.append(FigurePart(title=part.title, figures=drawn, note=note))
    others = _drawn(further(run_dir, run_name, kind, ".pdf"), run_dir)
    if others:
        parts.append(FigurePart(title="Further figures", figures=others))
    return tuple(parts)


def _drawn(paths: Sequence[Path], run_dir: Path) -> tuple[Drawn, ...]:
    found = []
    for path, name in zip(paths, named(paths, run_dir), strict=True):
        try:
            found.append(Drawn(name=name, pictures=tuple(page_pictures(path, dpi=DPI))))
        except XecError as error:
            _log.warning("%s", error)
            found.append(Drawn(name=name, note=str(error)))
    return tuple(found)


def _absent(part: Part, run_name: str) -> str:
    names = part.names(run_name)
    shown = ", ".join(names[:2]) + (", ..." if len(names) > 2 else "")
    return f"Not there: {shown}. Made by: {part.made_by}."


def _curves(run_name: str, training: Training, *, is_toy: bool | None) -> str:
    page = learning_page(training.epochs, training.best_epoch)
    if page is None:
        return ""
    meta = PredictionMeta(
        run_name=run_name,
        sample=training.option("data.val_path"),
        is_toy=is_toy,
        git_revision=training.tags.get("git_revision"),
    )
    n_events = int(training.facts.get("n_train_events") or 0)
    return learning_svg(page, LearningCaption(run_name=run_name, n_events=n_events, meta=meta))
