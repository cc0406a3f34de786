"""Whole events in memory: photon, shower, light, response, branches."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xec_pipeline.config.simulation import SimulationConfig
from xec_pipeline.detector.sensors import N_SENSORS
from xec_pipeline.simulation.branches import (
    Branches,
    reconstruction_branches,
    sensor_branches,
    sensor_values,
    truth_branches,
)
from xec_pipeline.simulation.instrument import Instrument, build_instrument
from xec_pipeline.simulation.light import LightModel, one_thread
from xec_pipeline.simulation.response import Pulses, draw_charge, draw_time, overlay
from xec_pipeline.simulation.shower import draw_latents, light_points
from xec_pipeline.simulation.truth import (
    Photons,
    draw_photons,
    inverse_spectrum,
    uniform_spectrum,
)
from xec_pipeline.units import MEV_PER_GEV

Reconstruct = Callable[[Branches], Branches]

BATCH = 64
"""Events computed together; arrays of this size stay in the processor's cache."""
BLOCK = 512
"""Events per block of branches; a multiple of the batch."""


class Simulator:
    """The toy detector of one configuration.

    Parameters
    ----------
    config
        What to simulate; the numbers of events and files in it are not used here.
    reconstruct
        Makes the branches of the reconstruction from the others. Without it they hold 1e10, if
        there are any.
    """

    def __init__(self, config: SimulationConfig, reconstruct: Reconstruct | None = None) -> None:
        self.config = config
        self._reconstruct = reconstruct
        self.instrument: Instrument = build_instrument(config)
        self._light = LightModel(config.light, self.instrument.geometry, self.instrument.efficiency)

    def blocks(
        self, seed: np.random.SeedSequence, n: int, *, run: int = 1, first_event: int = 0
    ) -> Iterator[Branches]:
        """Yield `n` events as branches, in blocks of at most `BLOCK` events.

        Parameters
        ----------
        seed
            Decides the events, together with the configuration.
        n
            Number of events.
        run, first_event
            Values of `run` and the first `event`.
        """
        rng = np.random.Generator(np.random.SFC64(seed))
        for start in range(0, n, BLOCK):
            with one_thread():
                block = self._block(rng, min(BLOCK, n - start))
            numbers = np.arange(len(block["npho"]), dtype=np.int32) + np.int32(first_event + start)
            yield {"run": np.full(len(numbers), run, np.int32), "event": numbers, **block}

    def _block(self, rng: np.random.Generator, n: int) -> Branches:
        low, high = self.config.energy_mev
        photons = draw_photons(self.config.beam, rng, n, uniform_spectrum(low, high))
        batches = [self._batch(rng, photons[start : start + BATCH]) for start in range(0, n, BATCH)]
        return {name: np.concatenate([batch[name] for batch in batches]) for name in batches[0]}

    def _batch(self, rng: np.random.Generator, photons: Photons) -> Branches:
        latents = draw_latents(rng, len(photons))
        pulses = self._pulses(photons, latents)
        extra: Branches = {}
        if self.config.pileup.probability > 0:
            pulses, extra = self._add_pileup(rng, pulses, latents)
        if self.config.truth_light:
            mean_npho = pulses.photoelectrons / self.instrument.efficiency
            extra |= {"npho_mean": mean_npho, "latent": latents.astype(np.float32)}
        branches = truth_branches(photons) | self._respond(rng, pulses) | extra
        if self._reconstruct is not None:
            branches |= self._reconstruct(branches)
        elif self.config.branches == "full":
            branches |= reconstruction_branches(len(photons), N_SENSORS)
        return branches

    def _pulses(self, photons: Photons, latents: NDArray[np.float64]) -> Pulses:
        light = self._light.mean_light(light_points(self.config.shower, photons, latents))
        jitter_ns = self.config.response.clock_jitter_ns * latents[:, 1]
        start_ns = (photons.conversion_ns + jitter_ns).astype(np.float32)
        time_ns = light.delay_ns
        time_ns += start_ns[:, None]
        return Pulses(photoelectrons=light.photoelectrons, time_ns=time_ns)

    def _add_pileup(
        self, rng: np.random.Generator, first: Pulses, latents: NDArray[np.float64]
    ) -> tuple[Pulses, Branches]:
        pileup = self.config.pileup
        rows = np.flatnonzero(rng.random(len(latents)) < pileup.probability)
        spectrum = inverse_spectrum(pileup.min_energy_mev, pileup.max_energy_mev)
        beam = self.config.beam.model_copy(update={"time_window_ns": pileup.window_ns})
        photons = draw_photons(beam, rng, rows.size, spectrum)
        own = draw_latents(rng, rows.size)
        own[:, 1] = latents[rows, 1]  # one clock for the whole event
        energy = np.zeros(len(latents), dtype=np.float32)
        energy[rows] = photons.energy_mev / MEV_PER_GEV
        merged = _overlay_rows(self.config, first, self._pulses(photons, own), rows)
        return merged, {"energyPileup": energy}

    def _respond(self, rng: np.random.Generator, pulses: Pulses) -> Branches:
        charge = draw_charge(pulses.photoelectrons, self.instrument, rng)
        time_ns = draw_time(pulses, charge, self.config.response, rng)
        values = sensor_values(
            self.config,
            charge,
            time_ns,
            efficiency=self.instrument.efficiency,
            is_dead=self.instrument.is_dead,
        )
        return sensor_branches(self.config, values)


def simulate_events(
    config: SimulationConfig, seed_sequence: np.random.SeedSequence, n: int, *, run: int = 1
) -> dict[str, NDArray[Any]]:
    """Return `n` events in memory, under the branch names of the MC files.

    Parameters
    ----------
    config
        What to simulate; see `config.simulation.simulation_config`.
    seed_sequence
        Decides the events.
    n
        Number of events, at least 1; 38 kB of memory each (`min`) or 115 kB (`full`).
    run
        Run number to write.
    """
    blocks = list(Simulator(config).blocks(seed_sequence, n, run=run))
    return {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]}


def _overlay_rows(
    config: SimulationConfig, first: Pulses, second: Pulses, rows: NDArray[np.intp]
) -> Pulses:
    """Overlay the second photons on those events that have one."""
    total, time_ns = first.photoelectrons.copy(), first.time_ns.copy()
    share = np.ones_like(total)
    hit = Pulses(photoelectrons=total[rows], time_ns=time_ns[rows])
    both = overlay(config.pileup, hit, second)
    total[rows], time_ns[rows], share[rows] = both.photoelectrons, both.time_ns, both.timed_share
    return Pulses(photoelectrons=total, time_ns=time_ns, timed_share=share)
