"""What a report holds, ready to be written as a page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from xec_pipeline.evaluation.pictures import Picture
from xec_pipeline.evaluation.run_report.key_numbers import KeyNumbers
from xec_pipeline.evaluation.run_report.record import Training


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One figure; without pictures, `note` says why."""

    name: str
    """File below the run's folder."""
    pictures: tuple[Picture, ...] = ()
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class FigurePart:
    """Figures under one heading; without any, `note` says what would make them."""

    title: str
    figures: tuple[Drawn, ...] = ()
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class TablePart:
    """Tables under one heading, as Markdown; without any, `note` says what would make them."""

    title: str
    texts: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Cells:
    """A table of text.

    Attributes
    ----------
    header
        Names of the columns, with units.
    rows
        As many cells each.
    n_left
        Columns aligned to the left.
    note
        Stands in place of the rows if there are none.
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    n_left: int = 1
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Made:
    """An upstream asset as Dagster knows it."""

    asset: str
    partition: str
    dagster_run_id: str
    data_version: str
    time: str


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """All that the report of a run shows.

    Attributes
    ----------
    run_name, kind, label
        Which run; the label says the kind in words.
    run_dir
        Its folder.
    is_toy
        Whether its events are of the toy detector; None if that is not known.
    training
        How it was trained.
    key
        Numbers at the head.
    tables, figures
        By part.
    curves
        Learning curves as SVG; empty if no epoch is known.
    metrics, lineage, environment, parity, files
        Tables of text.
    config
        The whole configuration as YAML; empty if not known.
    made
        Upstream assets; empty if the report was not made by Dagster.
    notes
        What is wrong with the run's files.
    """

    run_name: str
    kind: str
    label: str
    run_dir: Path
    is_toy: bool | None
    training: Training
    key: KeyNumbers
    tables: Sequence[TablePart]
    figures: Sequence[FigurePart]
    curves: str
    metrics: Cells
    lineage: Cells
    environment: Cells
    parity: Cells
    files: Cells
    config: str
    made: Sequence[Made] = ()
    notes: Sequence[str] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
