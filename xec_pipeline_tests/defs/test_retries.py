import pytest

from xec_pipeline.defs.retries import training_retries
from xec_pipeline.errors import ConfigError


def test_attempts_come_from_the_environment(monkeypatch):
    monkeypatch.delenv("XEC_RETRIES", raising=False)
    assert training_retries().max_retries == 0
    monkeypatch.setenv("XEC_RETRIES", "3")
    assert training_retries().max_retries == 3


@pytest.mark.parametrize("text", ["two", "-1", "1.5", "", "²"])
def test_a_typing_error_names_the_variable(monkeypatch, text):
    monkeypatch.setenv("XEC_RETRIES", text)
    with pytest.raises(ConfigError, match=rf"XEC_RETRIES is '{text}': expected a number from 0"):
        training_retries()
