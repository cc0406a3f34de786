"""Draw the worst events of a regressor run, and what the faces of the detector count for.

python -m xec_pipeline.workers.displays --config demo [--checkpoint FILE] [--events 1000]

Needs the prediction tables of the run. Displays of validation events go to its folder
`worst_events`, those of test events to `test/worst_events`. With `checkpoint.save_artifacts: false`
nothing is drawn.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch

from xec_pipeline.config.file_names import checkpoint_file
from xec_pipeline.config.loader import load_regressor_run
from xec_pipeline.config.run import RegressorRun
from xec_pipeline.data.requirements import possible_tasks
from xec_pipeline.data.shard_set import ShardSet
from xec_pipeline.errors import XecError
from xec_pipeline.evaluation.display.worst_pages import N_WORST, write_worst_events
from xec_pipeline.evaluation.face_importance import N_EVENTS, permute_faces, token_weights
from xec_pipeline.evaluation.metadata import PredictionMeta
from xec_pipeline.evaluation.networks import CheckpointPredictor
from xec_pipeline.evaluation.plots.face_importance import face_weights_path, write_face_weights
from xec_pipeline.evaluation.plots.style import Caption
from xec_pipeline.evaluation.predict import only_tasks
from xec_pipeline.evaluation.previews import previews
from xec_pipeline.evaluation.tables import predicted_tasks
from xec_pipeline.training.checkpoint import InferenceModel, load_regressor_for_inference
from xec_pipeline.training.distributed import start_from_env
from xec_pipeline.training.stages.regressor_events import RegressorEvents, select_events
from xec_pipeline.workers.evaluate import Sample, samples_of
from xec_pipeline.workers.outputs import files_version
from xec_pipeline.workers.pipes import Report, open_report
from xec_pipeline.workers.sample_shards import shards_of

BEST: Final = checkpoint_file("regressor", "best")


@dataclass(frozen=True, kw_only=True)
class DisplayOptions:
    """What is drawn.

    Attributes
    ----------
    n_worst
        Displays of each sample.
    n_events
        Events of the permutation test.
    seed
        Of the permutation test.
    """

    n_worst: int = N_WORST
    n_events: int = N_EVENTS
    seed: int = 0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the worker; return its exit status."""
    args = build_parser().parse_args(argv)
    try:
        with open_report() as report:
            run_worker(args, report)
    except XecError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 0


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of this worker's options."""
    parser = argparse.ArgumentParser(prog="xec_pipeline.workers.displays", description=__doc__)
    parser.add_argument("--config", required=True, help="preset name or YAML file of a run")
    parser.add_argument("--checkpoint", type=Path, help=f"default: the run's {BEST}")
    parser.add_argument(
        "--n_worst", "--n-worst", type=int, default=N_WORST, help=f"displays [{N_WORST}]"
    )
    parser.add_argument(
        "--events", type=int, default=N_EVENTS, help=f"of the permutation test [{N_EVENTS}]"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the permutation test [0]")
    return parser


def run_worker(args: argparse.Namespace, report: Report) -> None:
    """Draw the figures of a run and report them."""
    run = load_regressor_run(args.config)
    if not run.checkpoint.save_artifacts:
        report.log(f"{run.name}: checkpoint.save_artifacts is false, nothing is drawn")
        report.result({"drawn": "nothing"}, files_version([], run.run_dir))
        return
    options = DisplayOptions(n_worst=args.n_worst, n_events=args.events, seed=args.seed)
    dist = start_from_env()
    try:
        drawn = draw_displays(run, args.checkpoint, options, dist.device, report)
    finally:
        dist.stop()
    files = [file for path in drawn.values() for file in (path, path.with_suffix(".json"))]
    report.result({**drawn, **previews(_first_of(drawn))}, files_version(files, run.run_dir))


def draw_displays(
    run: RegressorRun,
    checkpoint: Path | None,
    options: DisplayOptions,
    device: torch.device,
    report: Report,
) -> dict[str, Path]:
    """Draw worst events of the samples and face weights of the validation sample.

    Parameters
    ----------
    run
        Says where samples, predictions and figures are.
    checkpoint
        Regressor; None for the run's best.
    options
        What is drawn.
    device
        Where the network computes.
    report
        Told what is going on.

    Returns
    -------
    dict
        PDFs by what they show.

    Raises
    ------
    XecError
        If checkpoint, samples or predictions are missing or do not fit to each other.
    """
    model = load_regressor_for_inference(checkpoint or run.run_dir / BEST)
    samples = [sample for sample in samples_of(run) if _is_predicted(sample, run)]
    drawn: dict[str, Path] = {}
    for sample in samples:
        shards = shards_of(report, run.data, sample.path)
        pdfs = _draw_worst(run, model, sample, shards, options.n_worst)
        prefix = "" if sample.name == "val" else f"{sample.name}_"
        drawn |= {f"{prefix}worst_{rank:02d}": path for rank, path in enumerate(pdfs, 1)}
        report.log(f"{sample.name}: {len(pdfs)} worst events in {sample.out_dir}")
    drawn["face_weights"] = _draw_face_weights(run, model, options, device, report)
    report.log(f"face weights in {drawn['face_weights']}")
    return drawn


def _first_of(drawn: Mapping[str, Path]) -> dict[str, Path]:
    """Return the figures to show inside Dagster: what faces count for, two events of a sample."""
    shown = {"face_weights": drawn["face_weights"]}
    return shown | {name: path for name, path in drawn.items() if name.endswith(("_01", "_02"))}


def _is_predicted(sample: Sample, run: RegressorRun) -> bool:
    """Return whether to draw a sample: the validation sample must, the test sample may be there."""
    return sample.name == "val" or bool(predicted_tasks(sample.out_dir, run.name))


def _draw_worst(
    run: RegressorRun, model: InferenceModel, sample: Sample, shards: ShardSet, n_worst: int
) -> list[Path]:
    return write_worst_events(
        sample.out_dir,
        run.name,
        shards,
        n_worst=n_worst,
        time_from_photons=model.run.normalization.npho_threshold,
    )


def _draw_face_weights(
    run: RegressorRun,
    model: InferenceModel,
    options: DisplayOptions,
    device: torch.device,
    report: Report,
) -> Path:
    # A run without validation events has test events only.
    sample = samples_of(run)[0]
    events = _events(run, model, shards_of(report, run.data, sample.path))
    permutation = permute_faces(
        CheckpointPredictor(model, device),
        events,
        n_events=options.n_events,
        seed=options.seed,
        device=device,
        on_progress=lambda n: report.progress(permutation_test_events=n),
    )
    meta = PredictionMeta(
        run_name=run.name,
        sample=sample.path,
        is_toy=events.shards.toy,
        data_version=events.shards.data_version,
        model_digest=model.sha,
        weights="ema" if model.checkpoint.ema_state_dict else "raw",
        git_revision=model.checkpoint.git_revision,
    )
    caption = Caption(run_name=run.name, n_events=permutation.n_events, meta=meta)
    path = face_weights_path(run.run_dir, run.name)
    return write_face_weights(token_weights(model.regressor), permutation, caption, path)


def _events(run: RegressorRun, model: InferenceModel, shards: ShardSet) -> RegressorEvents:
    """Return the events of a sample with the truth of those trained tasks that it has."""
    trained = model.run.model_copy(update={"data": run.data})
    possible = possible_tasks(shards, timing_reference=trained.tasks.timing.reference)
    tasks = tuple(task for task in trained.tasks.active if task in possible)
    return select_events(shards, only_tasks(trained, tasks))


if __name__ == "__main__":
    sys.exit(main())
