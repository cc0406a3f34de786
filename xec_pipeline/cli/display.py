"""`xec display`: one event on the unfolded detector, as measured or as a network predicted it."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from xec_pipeline.errors import ConfigError

if TYPE_CHECKING:
    from xec_pipeline.evaluation.display.comparison import Comparison
    from xec_pipeline.evaluation.display.page import DisplayPage
    from xec_pipeline.evaluation.display.sources import Wanted

_EPILOG = """\
examples
  the first event of a folder of ROOT files:
    xec display data/toy/val --entry 0
  the same with what a regressor says of it:
    xec display data/toy/val --entry 0 --predictions artifacts/demo
  an event by its numbers, photons only, into a file of your choice:
    xec display /data/run430000.root --run 430000 --event 1234 --channel npho --output e1234.pdf
  what a masked autoencoder made of an event, with energy and position from the sample:
    xec display artifacts/mae-demo/mae_predictions_epoch_10.root --entry 3 --original data/toy/val
  what an inpainter recovered, residuals relative to the true photons:
    xec display artifacts/fill/inpainter_mc_fill.root --entry 3 --relative"""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = subparsers.add_parser(
        "display",
        help="draw one event on the unfolded detector",
        description="Draw photons and times of one event on the six faces of the detector, from "
        "ROOT files or shards. For predictions of a masked autoencoder or an inpainter: truth, "
        "what the network saw, prediction, residual and mask.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "source", help="ROOT file, folder or pattern, shard folder, or file of predictions"
    )
    parser.add_argument("--entry", type=int, help="number of the event in the sample, from 0")
    parser.add_argument("--run", type=int, help="run number, together with --event")
    parser.add_argument("--event", type=int, help="event number in the run")
    parser.add_argument(
        "--channel",
        choices=("npho", "time", "both"),
        help="photons, times or both (default: all that there is)",
    )
    parser.add_argument(
        "--original",
        help="ROOT files or shards that predictions were made from (default: as the file says)",
    )
    parser.add_argument(
        "--predictions",
        type=Path,
        help="folder with predictions_*.csv of a regressor, to mark what it says of the event",
    )
    parser.add_argument(
        "--relative",
        action="store_true",
        help="residuals of photons divided by the truth, of sensors with 100 photons or more",
    )
    parser.add_argument(
        "--output", type=Path, help="PDF (default: display_run_<run>_event_<event>.pdf)"
    )


def run(args: argparse.Namespace) -> int:
    """Draw the event and say where; return the exit status."""
    from xec_pipeline.evaluation.display.page import write_display
    from xec_pipeline.evaluation.display.sources import Wanted

    if (args.entry is None) == (args.run is None or args.event is None):
        raise ConfigError("say which event: either --entry N, or --run R and --event E")
    wanted = Wanted(entry=args.entry, run=args.run, event=args.event)
    kind = _kind(args.source)
    if kind == "data":
        pages, name = _data_pages(args, wanted)
    else:
        pages, name = _compared_pages(args, kind, wanted)
    path = args.output or Path(f"display_{name}.pdf")
    write_display(pages, path.with_suffix(path.suffix or ".pdf"), f"event display, {name}")
    sys.stdout.write(f"{path.with_suffix(path.suffix or '.pdf')}\n")
    return 0


def _kind(source: str) -> str:
    from xec_pipeline.evaluation.display.predicted import file_kind

    path = Path(source)
    return file_kind(path) if path.is_file() else "data"


def _data_pages(args: argparse.Namespace, wanted: "Wanted") -> tuple[list["DisplayPage"], str]:
    from xec_pipeline.evaluation.display.event import CHANNELS, event_page
    from xec_pipeline.evaluation.display.regressed import crosses, predicted_row, task_lines
    from xec_pipeline.evaluation.display.sources import open_source, read_event

    for flag in ("original", "relative"):
        if getattr(args, flag):
            raise ConfigError(f"--{flag} is for predictions; {args.source} holds measured events")
    event = read_event(open_source(args.source), wanted)
    chosen = tuple(name for name in CHANNELS if args.channel in {name, "both", None})
    if args.predictions is None:
        return [event_page(event, chosen)], event.file_name()
    row = predicted_row(args.predictions, event)
    page = event_page(event, chosen, marks=crosses(row), further_head=tuple(task_lines(row)))
    return [page], event.file_name()


def _compared_pages(
    args: argparse.Namespace, kind: str, wanted: "Wanted"
) -> tuple[list["DisplayPage"], str]:
    from xec_pipeline.evaluation.display.comparison import comparison_page, number_lines
    from xec_pipeline.evaluation.display.predicted import read_inpainter_event, read_mae_event

    read = read_mae_event if kind == "mae" else read_inpainter_event
    if args.predictions is not None:
        raise ConfigError("--predictions is for measured events, and the source holds predictions")
    comparison: Comparison = read(Path(args.source), wanted, args.original)
    asked = {"both": ("npho", "time"), None: comparison.channels}.get(args.channel, (args.channel,))
    pages = [comparison_page(comparison, name, relative=args.relative) for name in asked]
    for name in asked:
        lines = number_lines(comparison, name, relative=args.relative)
        sys.stdout.writelines(f"{line}\n" for line in lines)
    return pages, comparison.event.file_name()
