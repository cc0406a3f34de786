"""`xec simulate`: make toy events in the format of the MC files."""

import argparse
import sys
from pathlib import Path
from typing import Any, Final

from xec_pipeline.errors import ConfigError

_DESCRIPTION = """\
Make events of a toy detector: same branches, units and file layout as the MC files, so that every
later step can be tried without them. A photon from the target converts in the xenon, three points
along its way emit scintillation light, and each of the 4760 sensors draws a charge and a time.
There is no light transport, waveform or saturation: good for testing the chain and for comparing
models, not for training on real data."""

_EXAMPLES = """\
examples
  training events, 15 to 60 MeV, in 4 files, two processes:
    xec simulate --out data/toy/train --events 20000 --files 4 --energy 15:60 --jobs 2
  test events at the signal energy; another seed, or another --first_run, gives other events:
    xec simulate --out data/toy/test --events 2000 --energy 52.83 --seed 2
  1 % dead sensors, two dead boards, a second photon in every tenth event, all branches:
    xec simulate --out data/toy/hard --dead 0.01 --dead_boards 2 --pileup 0.1 --branches full
  test events with reconstructed energy, position and time, to be compared with a network's:
    xec simulate --out data/toy/test_reco --events 2000 --energy 52.83 --seed 2 --reconstruct
  events to judge recovered sensors by their true mean instead of the noisy count:
    xec simulate --out data/toy/test_mean --events 2000 --energy 52.83 --seed 2 --truth_light

The seed and the run number of a file decide its events, never the number of processes. Run it again
after an interruption: complete files are kept. Each file says how it was made, in its tree
`provenance` and in a JSON file beside it. About 18 kB per event (min), 49 kB (full); 1500 to 2500
events/s per process."""

_PRESET_HELP = (
    "meg2: resolutions like the real detector; sharp: light yield steady to 0.4 %% and clock to "
    "10 ps, shows headroom in energy and time; point: all light from one point, for tests [meg2]"
)

# flag, configuration field, metavar, help; the field's own check judges the value.
_OPTIONS: Final = (
    ("events", "events", "N", "events in all files together [1000]"),
    ("files", "files", "N", "ROOT files they are spread over [1]"),
    (
        "energy",
        "energy_mev",
        "E|LOW:HIGH",
        "photon energy in MeV: uniform 15:60, or fixed 52.83 [15:60]",
    ),
    ("geometry", "geometry", "ideal|aligned", "sensors as drawn, or as surveyed [ideal]"),
    ("dead", "dead_fraction", "FRACTION", "share of randomly chosen dead sensors [0]"),
    ("dead_boards", "dead_boards", "N", "dead boards of 22 neighbouring inner sensors, of 186 [0]"),
    ("dead_file", "dead_file", "FILE", "dead sensors, one number per line, # for comments"),
    ("pileup", "pileup", "P", "probability of a second photon, 5 to 50 MeV, within 100 ns [0]"),
    (
        "branches",
        "branches",
        "min|full",
        "min: npho, relative_time, truth; full: all of the MC files [min]",
    ),
    (
        "codec",
        "codec",
        "NAME:LEVEL",
        "zstd:1 to 22, lz4:1 to 12, zlib:1 to 9, lzma:1 to 9, or none [zstd:1]",
    ),
    (
        "rounding",
        "rounding",
        "on|off",
        "light to 10 mantissa bits, times to 10 ps: smaller files [on]",
    ),
    ("seed", "seed", "N", "seed of the events [1]"),
    (
        "detector_seed",
        "detector_seed",
        "N",
        "seed of efficiencies and dead sensors; keep it for all data sets",
    ),
    ("first_run", "first_run", "N", "run number of the first file [1]"),
)


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command and its flags; words may be joined by underscores or hyphens."""
    parser = subparsers.add_parser(
        "simulate",
        help="make toy events in the format of the MC files",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="folder for MCGamma_<run>.root"
    )
    parser.add_argument("--preset", default="meg2", metavar="meg2|sharp|point", help=_PRESET_HELP)
    for flag, field, metavar, text in _OPTIONS:
        parser.add_argument(
            *_spellings(flag), dest=field, metavar=metavar, help=text.replace("%", "%%")
        )
    parser.add_argument(
        *_spellings("truth_light"),
        action="store_true",
        help="also write npho_mean, the true mean photons of every sensor, dead ones and a second "
        "photon included, and latent, the random numbers of each shower; 19 kB more per event",
    )
    parser.add_argument(
        *_spellings("reconstruct"),
        action="store_true",
        help="also write and fill the branches of the conventional reconstruction: uvwRecoFI, "
        "xyzRecoFI, light centres, energyReco, timeReco, solid_angle; its constants come with the "
        "package and fit the preset meg2. Without it, they are 1e10 in full files",
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="processes [1]")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace files that were made with other options"
    )


def run(args: argparse.Namespace) -> int:
    """Write the data set that the parsed flags describe; return 0."""
    # torch and uproot take seconds to load, and `xec --help` needs neither.
    from xec_pipeline.config.simulation import simulation_config
    from xec_pipeline.reconstruction.toy_files import ToyReconstruction
    from xec_pipeline.simulation.dataset import simulate_dataset

    config = simulation_config(args.preset, options_from(args))
    paths = simulate_dataset(
        config,
        args.out,
        jobs=args.jobs,
        overwrite=args.overwrite,
        reconstruction=ToyReconstruction(config.geometry) if args.reconstruct else None,
    )
    sys.stdout.write(f"{config.events} toy events in {len(paths)} files in {args.out}\n")
    return 0


def options_from(args: argparse.Namespace) -> dict[str, Any]:
    """Return the given flags as options of `simulation_config`.

    Raises
    ------
    ConfigError
        If `--energy` is neither a number nor LOW:HIGH.
    """
    given = {field: getattr(args, field) for _, field, _, _ in _OPTIONS}
    options = {field: value for field, value in given.items() if value is not None}
    if "energy_mev" in options:
        options["energy_mev"] = _energies(options["energy_mev"])
    if "pileup" in options:
        options["pileup"] = {"probability": options["pileup"]}
    return options | {"truth_light": args.truth_light}


def _energies(text: str) -> tuple[float, float]:
    low, colon, high = text.partition(":")
    try:
        return float(low), float(high if colon else low)
    except ValueError:
        raise ConfigError(
            f"--energy {text}: expected one energy such as 52.83 or a range such as 15:60, in MeV"
        ) from None


def _spellings(name: str) -> list[str]:
    return sorted({f"--{name}", f"--{name.replace('_', '-')}"}, reverse=True)
