import dataclasses

import numpy as np
import pytest

from xec_pipeline.config.simulation import ResponseConfig, simulation_config
from xec_pipeline.detector.sensors import N_SENSORS, N_SIPM
from xec_pipeline.errors import ConfigError
from xec_pipeline.simulation.instrument import build_instrument
from xec_pipeline.simulation.light import LightModel
from xec_pipeline.simulation.limits.charge_information import (
    BRIGHT_PE,
    ChargeInformation,
    exact_information,
    normal_information,
)
from xec_pipeline.simulation.limits.event_limit import LIMITS, EventLimits, posterior_covariance
from xec_pipeline.simulation.limits.parameters import (
    FIRST_LATENT,
    N_PARAMETERS,
    PARAMETERS,
    emission,
    event_parameters,
    photons_of,
    prior_information,
)
from xec_pipeline.simulation.shower import draw_latents, light_points
from xec_pipeline.simulation.truth import draw_photons, uniform_spectrum

SIPM, PMT = (0.45**2, 1.0), (0.60**2, 0.5**2)


def draw(config, n, seed=3):
    """Photons and parameters of n events."""
    rng = np.random.default_rng(seed)
    photons = draw_photons(config.beam, rng, n, uniform_spectrum(15, 60))
    latents = draw_latents(rng, n)
    return photons, event_parameters(photons, latents, config.beam)


@pytest.fixture(scope="module", params=["ideal", "aligned"])
def limits(request):
    config = simulation_config("meg2", {"geometry": request.param, "dead_fraction": 0.02})
    return config, EventLimits(config)


@pytest.mark.parametrize(
    ("noise", "efficiency"),
    [
        (SIPM, [0.022, 0.138, 0.356, 0.477, 0.654, 0.768, 0.809, 0.820]),
        (PMT, [0.231, 0.424, 0.578, 0.634, 0.694, 0.723, 0.731, 0.733]),
    ],
)
def test_information_of_a_charge_against_counting(noise, efficiency):
    mean = np.array([0.01, 0.1, 0.5, 1, 3, 10, 30, 60])
    np.testing.assert_allclose(exact_information(mean, *noise) * mean, efficiency, atol=6e-4)


def test_tables_of_information_are_exact_and_join_the_normal_charge():
    information = ChargeInformation(ResponseConfig())
    mean = np.geomspace(2e-3, 0.999 * BRIGHT_PE, 300)
    for kind, noise in ((slice(0, 300), SIPM), (slice(N_SIPM, N_SIPM + 300), PMT)):
        means = np.full(N_SENSORS, 100.0)
        means[kind] = mean
        np.testing.assert_allclose(
            information(means)[kind], exact_information(mean, *noise), rtol=2e-4
        )
        edge = np.array([BRIGHT_PE])
        np.testing.assert_allclose(
            exact_information(edge, *noise), normal_information(edge, *noise), rtol=0.012
        )


def test_a_charge_without_pedestal_noise_is_refused():
    with pytest.raises(ConfigError, match=r"pedestal_pmt of at least 0\.05"):
        ChargeInformation(ResponseConfig(pedestal_pmt=0.0))


def test_parameters_hold_the_whole_event():
    config = simulation_config()
    photons, parameters = draw(config, 20)
    expected = np.column_stack([photons.direction[:, 2], photons.emission_ns])
    found = emission(config.beam, parameters)
    np.testing.assert_allclose(np.cos(np.deg2rad(found[:, 0])), expected[:, 0], atol=1e-12)
    np.testing.assert_allclose(found[:, 2], expected[:, 1], atol=1e-12)


def test_mean_light_is_that_of_the_simulation(limits):
    config, model = limits
    _, parameters = draw(config, 8)
    instrument = build_instrument(config)
    light = LightModel(config.light, instrument.geometry, instrument.efficiency)
    simulated = light_of(light, config, parameters).photoelectrons
    for event, expected in zip(parameters, simulated, strict=True):
        mean, _, _ = model.mean_and_slopes(event)
        assert (np.abs(mean - expected) / np.sqrt(mean)).max() < 5e-3


def test_slopes_are_those_of_the_simulated_light_and_times(limits):
    config, model = limits
    _, parameters = draw(config, 1)
    event, step = parameters[0], 0.02
    _, mean_slopes, time_slopes = model.mean_and_slopes(event)
    instrument = build_instrument(config)
    light = LightModel(config.light, instrument.geometry, instrument.efficiency)
    for k, name in enumerate(PARAMETERS):
        moved = np.repeat(event[None], 2, axis=0)
        moved[:, k] += (step, -step)
        found = light_of(light, config, moved)
        # The simulation is float32, so its differences know the large slopes only.
        size = max(np.abs(mean_slopes[k]).max(), 20.0)
        by_light = (found.photoelectrons[0] - found.photoelectrons[1]) / (2 * step)
        assert np.abs(by_light - mean_slopes[k]).max() < 0.02 * size, name
        by_time = (found.delay_ns[0] - found.delay_ns[1]) / (2 * step)
        by_time += {"time": 1.0, "clock": 0.045}.get(name, 0.0)
        lit = found.photoelectrons[0] > 20
        assert np.abs(by_time - time_slopes[k])[lit].max() < 4e-3, name


def light_of(light, config, parameters):
    photons = photons_of(config.beam, parameters)
    return light.mean_light(light_points(config.shower, photons, parameters[:, FIRST_LATENT:]))


def test_information_is_symmetric_and_never_negative(limits):
    config, model = limits
    _, parameters = draw(config, 3)
    for event in parameters:
        information = model.information(event)
        np.testing.assert_array_equal(information, information.T)
        scale = 1 / np.sqrt(np.diag(information))
        assert np.linalg.eigvalsh(information * np.outer(scale, scale)).min() > -1e-9


def test_without_sensors_only_the_beam_spot_is_known():
    config = simulation_config("meg2", {"energy_mev": (52.83, 52.83)})
    none = dataclasses.replace(build_instrument(config), is_dead=np.ones(N_SENSORS, dtype=bool))
    _, parameters = draw(config, 1)
    model = EventLimits(config, none)
    information = model.information(parameters[0])
    assert not information.any()
    widths = np.sqrt(np.diag(posterior_covariance(information, prior_information(config.beam))))
    assert np.isinf(widths[:5]).all()
    np.testing.assert_allclose(widths[5:], [4.3, 1.2, *[1.0] * 11])
    assert np.isinf(model.limits(parameters)).all()


def test_a_dead_sensor_takes_its_information_with_it(limits):
    config, _ = limits
    _, parameters = draw(config, 2)
    instrument = build_instrument(config)
    more = instrument.is_dead | (np.arange(N_SENSORS) % 10 == 0)
    with_more = EventLimits(config, dataclasses.replace(instrument, is_dead=more))
    all_alive = np.zeros(N_SENSORS, dtype=bool)
    complete = EventLimits(config, dataclasses.replace(instrument, is_dead=all_alive))
    worse, better = with_more.limits(parameters), complete.limits(parameters)
    assert (worse > better).all()
    assert (worse < 1.3 * better).all()
    lost = complete.information(parameters[0]) - with_more.information(parameters[0])
    assert (np.diag(lost) > 0).all()


def test_no_event_gives_no_limit(limits):
    _, model = limits
    assert model.limits(np.empty((0, N_PARAMETERS))).shape == (0, len(LIMITS))


def test_pileup_is_refused():
    config = simulation_config("meg2", {"pileup": {"probability": 0.1}})
    with pytest.raises(ConfigError, match=r"second photon.*probability is 0\.1"):
        EventLimits(config)
