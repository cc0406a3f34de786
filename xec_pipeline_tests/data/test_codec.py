"""What 16 bits cost."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xec_pipeline.data.codec import decode_npho, decode_time_ns, encode


def f32(values):
    return np.array(values, dtype=np.float32)


def row(value):
    return np.full((1, 1), value, np.float32)


@settings(max_examples=200, deadline=None)
@given(st.floats(-4e9, 4e9, width=32))
def test_photons_keep_their_sign_and_size(npho):
    decoded = decode_npho(encode(row(npho), row(0.0))[:, 0]).item()
    assert abs(decoded - npho) <= 2**-9.9 * abs(npho) + 1e-7


@settings(max_examples=200, deadline=None)
@given(st.floats(-16, 16))
def test_prompt_times_are_kept_to_four_picoseconds(time_ns):
    time_s = np.float32(1e-9 * time_ns)
    decoded = decode_time_ns(encode(row(1.0), row(time_s))[:, 1]).item()
    assert abs(decoded - 1e9 * float(time_s)) <= 0.0040


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e10, -1e10, 5e9, 3e38])
def test_what_cannot_be_kept_is_nan(value):
    assert np.isnan(encode(row(value), row(value))).all()


def test_error_is_below_the_counting_noise():
    # 12 % efficiency: a count of n photons fluctuates by sqrt(n / 0.12).
    npho = np.geomspace(1, 6e5, 2000, dtype=np.float32)[None]
    error = np.abs(decode_npho(encode(npho, npho * 0)[:, 0]) - npho)
    assert (error < 0.3 * np.sqrt(npho / 0.12)).all()


def test_bfloat16_of_the_network_input_would_lose_the_prompt_times():
    # 5.1 ns and 5.3 ns, in units of 114 ns, are the same number in bfloat16 (8 bits of mantissa):
    # inputs stay in float32, and shards keep ns.
    scaled = f32([5.1, 5.3]) / 114 + 0.46
    as_bfloat16 = scaled.astype(np.float32).view(np.uint32) >> 16
    assert as_bfloat16[0] == as_bfloat16[1]
    step_ps = 1000 * 114 * np.spacing(np.float16(0.49)).item()
    assert step_ps == pytest.approx(27.8, abs=0.1)
    kept = encode(row(1.0), f32([[5.0e-9]]))[0, 1]
    assert 1000 * np.spacing(kept).item() < 4
