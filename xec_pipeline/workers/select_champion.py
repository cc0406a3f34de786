"""Choose the model in use: the champion stays, a challenger takes its place, or a person decides.

python -m xec_pipeline.workers.select_champion [--challenger RUN] [--promote RUN --reason TEXT]

Which runs are complete is told by the Dagster step; by hand, use `xec promote`.
"""

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from xec_pipeline.config.production import ProductionConfig
from xec_pipeline.config.registry import production_config, registered_regressor, run_names
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.errors import ConfigError, DataError, did_you_mean
from xec_pipeline.evaluation.champion import (
    CHECKPOINT,
    Candidate,
    champion_dir,
    keep_champion,
    read_champion,
    write_champion,
)
from xec_pipeline.evaluation.compared_tables import sample_dir
from xec_pipeline.evaluation.promotion import (
    Model,
    challenge,
    read_model,
    records,
    rule_text,
)
from xec_pipeline.evaluation.tables import predicted_tasks
from xec_pipeline.training.model_registry import register_champion
from xec_pipeline.workers.entry import run_worker
from xec_pipeline.workers.pipes import Report

_NEEDED: Final = (
    "a candidate needs weights, predictions and ONNX files made from them, and all of them, and "
    "the shards, must have passed their blocking checks"
)
_TO_DO: Final = "materialize regressor/predictions_csv and regressor/onnx of a run"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Step:
    """One decision: who challenged whom, what came of it, and the table if there is one."""

    champion: Candidate
    challenger: str
    is_promoted: bool
    reason: str
    table: str = ""
    numbers: tuple[Mapping[str, Any], ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Field:
    """Who may take part.

    Attributes
    ----------
    candidates
        Complete runs.
    rejected
        Runs whose files belong together but must not be used, and why.
    no_first
        Complete runs that may challenge a champion but not be the first one, and why.
    """

    candidates: Sequence[Candidate]
    rejected: Mapping[str, str] = dataclasses.field(default_factory=dict)
    no_first: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def named(self, name: str) -> Candidate:
        """Return the candidate of that name; ConfigError says why there is none."""
        if name in self.rejected:
            raise ConfigError(f"run '{name}' must not be used: {self.rejected[name]}")
        known = {candidate.run: candidate for candidate in self.candidates}
        if name not in known:
            raise ConfigError(
                f"run '{name}' is not complete{did_you_mean(name, known)}: {_NEEDED}; complete: "
                f"{', '.join(known) or 'none'}"
            )
        return known[name]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the worker; return 0, or 2 after an error that the user can mend."""
    parser = argparse.ArgumentParser(
        prog="python -m xec_pipeline.workers.select_champion", description=__doc__
    )
    parser.add_argument("--challenger", help="run that challenges [all complete runs, by name]")
    parser.add_argument("--promote", help="run that becomes champion without a comparison")
    parser.add_argument("--reason", default="", help="why; needed with --promote")
    return run_worker(parser.parse_args(argv), work)


def work(args: argparse.Namespace, report: Report) -> int:
    """Select, keep, register and report; return 0."""
    rule = production_config()
    told = report.extras
    field = Field(
        candidates=[Candidate(**told) for told in told.get("candidates", [])],
        rejected=told.get("rejected", {}),
        no_first=told.get("no_first", {}),
    )
    steps = select(args, field, rule)
    for step in steps:
        report.log(f"{step.challenger}: {step.reason}")
    last = steps[-1]
    champion = last.champion
    registered = register(champion, rule)
    decisions = [dataclasses.asdict(step) | {"champion": step.champion.label} for step in steps]
    path = write_champion(
        Path(rule.folder), champion, rule=rule_text(rule), mlflow=registered, decisions=decisions
    )
    report.result(described(steps, rule, registered) | {"selection": path}, champion.label)
    return 0


def select(args: argparse.Namespace, field: Field, rule: ProductionConfig) -> list[Step]:
    """Return the decisions in order; the champion of the last one is to be used.

    Raises
    ------
    ConfigError
        If a run was named that may not take part, or a person gave no reason.
    DataError
        If there is nothing to choose from, or a named challenger cannot be compared.
    """
    champion = read_champion(Path(rule.folder))
    if args.promote:
        if not args.reason.strip():
            raise ConfigError(f"--promote {args.promote}: say why with --reason TEXT")
        return [_crown(field.named(args.promote), rule, f"by hand: {args.reason.strip()}")]
    challengers = [field.named(args.challenger)] if args.challenger else list(field.candidates)
    if champion is None:
        champion, *challengers = _first(challengers, field)
        steps = [_crown(champion, rule, "the first complete run")]
    else:
        challengers = challengers or [champion]
        steps = []
    for challenger in challengers:
        steps.append(_step(champion, challenger, rule, is_named=bool(args.challenger)))
        champion = steps[-1].champion
    return steps


def _first(challengers: Sequence[Candidate], field: Field) -> list[Candidate]:
    """Return the challengers, one that may be the first champion in front."""
    if not challengers:
        rejected = [f"{name}: {why}" for name, why in field.rejected.items()]
        raise DataError("; ".join([f"no run is complete: {_NEEDED}; {_TO_DO}", *rejected]))
    ordered = sorted(challengers, key=lambda candidate: candidate.run in field.no_first)
    if ordered[0].run in field.no_first:
        told = "; ".join(f"{one.run}: {field.no_first[one.run]}" for one in ordered)
        raise DataError(f"no run can be the first model in use: {told}")
    return ordered


def register(champion: Candidate, rule: ProductionConfig) -> str:
    """Set MLflow's alias; return what was done, in words."""
    tags = {
        "run_name": champion.run,
        "weights_version": champion.weights_version,
        "dagster_run_id": champion.dagster_run,
    }
    file = champion_dir(Path(rule.folder), champion) / CHECKPOINT
    run = _registered(champion.run)
    if run is None:
        return f"run {champion.run} is no longer registered, so its MLflow store is not known"
    return register_champion(
        run.mlflow, rule.registered_model, file, run_id=champion.mlflow_run, tags=tags
    )


def described(steps: Sequence[Step], rule: ProductionConfig, registered: str) -> dict[str, Any]:
    """Return what is said of the selection."""
    champion = steps[-1].champion
    tables = [f"### {step.challenger}: {step.reason}\n\n{step.table}" for step in steps]
    return {
        "champion": champion.run,
        "champion_weights_version": champion.weights_version,
        "champion_dagster_run": champion.dagster_run,
        "challengers": ", ".join(step.challenger for step in steps),
        "decision": "promoted" if any(step.is_promoted for step in steps) else "kept",
        "reason": "; ".join(f"{step.challenger}: {step.reason}" for step in steps),
        "rule": rule_text(rule),
        "comparison": {"raw_value": "\n".join(tables), "type": "md"},
        "mlflow_alias": registered,
    }


def _step(
    champion: Candidate, challenger: Candidate, rule: ProductionConfig, *, is_named: bool
) -> Step:
    """Let one run challenge the champion; unless it was named, it may prove to be no match."""
    if challenger.label == champion.label:
        reason = "is the champion itself"
        return Step(champion=champion, challenger=challenger.run, is_promoted=False, reason=reason)
    names = f"{champion.run} (in use)", f"{challenger.run} (challenger)"
    in_use = _of_champion(champion, names[0], rule)
    try:
        verdict = challenge(in_use, _present(challenger, names[1]), rule)
        if verdict.is_promoted:
            keep_champion(Path(rule.folder), challenger, registered_regressor(challenger.run))
    except DataError as error:
        if is_named:
            raise
        reason = f"not compared: {error}"
        return Step(champion=champion, challenger=challenger.run, is_promoted=False, reason=reason)
    return Step(
        champion=challenger if verdict.is_promoted else champion,
        challenger=challenger.run,
        is_promoted=verdict.is_promoted,
        reason=verdict.reason,
        table=verdict.markdown(*names),
        numbers=tuple(records(verdict)),
    )


def _crown(candidate: Candidate, rule: ProductionConfig, reason: str) -> Step:
    """Make a run champion without a comparison."""
    _present(candidate)
    keep_champion(Path(rule.folder), candidate, registered_regressor(candidate.run))
    return Step(champion=candidate, challenger=candidate.run, is_promoted=True, reason=reason)


def _of_champion(champion: Candidate, name: str, rule: ProductionConfig) -> Model:
    """Return the champion's predictions: of its run while they are its own, else those kept."""
    run = _registered(champion.run)
    folder = sample_dir(run.run_dir, run.name) if run else None
    if folder is not None and predicted_tasks(folder, champion.run):
        present = read_model(folder, champion.run, name)
        if present.meta.model_digest == champion.weights_version:
            return present
    return read_model(champion_dir(Path(rule.folder), champion), champion.run, name)


def _registered(name: str) -> RegressorRun | None:
    """Return a registered run; None if its file was removed since."""
    return registered_regressor(name) if name in run_names("regressor") else None


def _present(candidate: Candidate, name: str = "") -> Model:
    """Return a run's present predictions; they must be of the weights that Dagster knows."""
    run = registered_regressor(candidate.run)
    model = read_model(sample_dir(run.run_dir, run.name), run.name, name or run.name)
    if model.meta.model_digest != candidate.weights_version:
        raise DataError(
            f"{model.folder}: predictions of weights {model.meta.model_digest}, expected "
            f"{candidate.weights_version}; materialize regressor/predictions_csv of {run.name}"
        )
    return model


if __name__ == "__main__":
    sys.exit(main())
