"""Constants of the conventional reconstruction of toy files: made once, kept with the package.

They come from events of the preset meg2 with every sensor alive, of 15 to 60 MeV and a fixed seed,
so that all toy files are reconstructed alike, whatever they hold. After a change of the estimators
or of the simulation they are made anew, in half a minute:

    python -m xec_pipeline.reconstruction.toy_constants
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from xec_pipeline.atomic import replacing
from xec_pipeline.config.simulation import simulation_config
from xec_pipeline.reconstruction.conventional import Conventional, Values
from xec_pipeline.reconstruction.observables import Observables, Observer
from xec_pipeline.simulation.branches import Branches
from xec_pipeline.simulation.events import Simulator
from xec_pipeline.simulation.provenance import DETECTOR, MODEL_VERSION
from xec_pipeline.units import MEV_PER_GEV, NS_PER_S, SPEED_OF_LIGHT_CM_PER_NS

PATH: Final = Path(__file__).with_name("toy_constants.json")
PRESET: Final = "meg2"
EVENTS: Final = 8_000
SEED: Final = 20_250_501
"""Of no data set: these events are only for the calibration."""


def load_constants() -> tuple[Conventional, dict[str, Any]]:
    """Return the calibrated estimators, and what to write down of them.

    Returns
    -------
    conventional, origin
        `origin` says from which events the constants come and has their digest.
    """
    text = PATH.read_text()
    content = json.loads(text)
    origin = content["origin"] | {"sha256": hashlib.sha256(text.encode()).hexdigest()}
    return Conventional.from_record(content["conventional"]), origin


def make_constants(n_events: int = EVENTS) -> dict[str, Any]:
    """Simulate events, calibrate with them, and return the content of the file."""
    simulator = Simulator(simulation_config(PRESET))
    observer = Observer(simulator.instrument.geometry)
    seen, truth = zip(*_observed(simulator, observer, n_events), strict=True)
    joined = {name: np.concatenate([part[name] for part in truth]) for name in truth[0]}
    conventional = Conventional.fit(Observables.join(seen), joined, "interaction")
    low, high = simulator.config.energy_mev
    origin = {
        "detector": DETECTOR,
        "model_version": MODEL_VERSION,
        "preset": PRESET,
        "energy_mev": [low, high],
        "events": n_events,
        "seed": SEED,
    }
    return {"origin": origin, "conventional": conventional.record()}


def main() -> None:
    """Write the constants."""
    with replacing(PATH) as partial:
        partial.write_text(json.dumps(make_constants(), indent=1) + "\n")


def observe_branches(observer: Observer, branches: Branches) -> Observables:
    """Return the observables of toy events under the names of the MC files."""
    relative_ns = branches["relative_time"] * np.float32(NS_PER_S)
    return observer.observe(branches["npho"], relative_ns)


def _observed(
    simulator: Simulator, observer: Observer, n_events: int
) -> Iterator[tuple[Observables, Mapping[str, Values]]]:
    for block in simulator.blocks(np.random.SeedSequence(SEED), n_events):
        yield observe_branches(observer, block), _truth(block)


def _truth(branches: Branches) -> dict[str, Values]:
    way_cm = np.linalg.norm(branches["xyzTruth"] - branches["xyzVTX"], axis=1)
    first_ns = branches["time_min_used"].astype(np.float64) * NS_PER_S
    time_ns = branches["timeTruth"] + way_cm / SPEED_OF_LIGHT_CM_PER_NS - first_ns
    return {
        "energy": branches["energyTruth"][:, None].astype(np.float64) * MEV_PER_GEV,
        "timing": time_ns[:, None],
        "uvwFI": branches["uvwTruth"].astype(np.float64),
    }


if __name__ == "__main__":
    main()
