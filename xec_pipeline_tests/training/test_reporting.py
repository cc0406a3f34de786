import logging

import pytest

from xec_pipeline.training import reporting
from xec_pipeline.training.reporting import Pace, TerminalReporter


class Screen:
    """A standard error stream that says whether it is a terminal."""

    def __init__(self, *, is_terminal: bool) -> None:
        self.text = ""
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        pass


def drive(reporter: TerminalReporter) -> None:
    for step in (1, 2, 3):
        reporter.progress(1, step, 3, loss=0.5, events_per_s=1234)
    reporter.epoch(1, 4, {"train/loss": 0.5, "val/loss": 0.25, "other": 1.0})


def test_a_terminal_shows_a_bar_with_loss_and_speed(monkeypatch: pytest.MonkeyPatch):
    screen = Screen(is_terminal=True)
    monkeypatch.setattr("sys.stderr", screen)
    drive(TerminalReporter(4))
    assert "epoch 1/4" in screen.text
    assert "loss 0.5, 1234 events/s" in screen.text


def test_a_log_gets_few_lines(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture):
    monkeypatch.setattr("sys.stderr", Screen(is_terminal=False))
    heard = []
    with caplog.at_level(logging.INFO):
        drive(TerminalReporter(4, lambda epoch, metrics: heard.append((epoch, metrics["other"]))))
    assert [record.getMessage() for record in caplog.records] == [
        "epoch 1/4  train/loss 0.5  val/loss 0.25"
    ]
    assert heard == [(1, 1.0)]


def test_a_long_epoch_is_heard_of_now_and_then(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr("sys.stderr", Screen(is_terminal=False))
    monkeypatch.setattr(reporting, "_SECONDS_BETWEEN_LINES", 0.0)
    with caplog.at_level(logging.INFO):
        TerminalReporter(4).progress(2, 5, 9, loss=0.5, events_per_s=12)
    assert caplog.records[0].getMessage() == "epoch 2/4  step 5/9  loss 0.5  12 events/s"


def test_what_is_left_of_an_epoch_follows_from_its_own_steps(monkeypatch: pytest.MonkeyPatch):
    now = 50.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    pace = Pace()
    assert pace.seconds_left(1, 4, 100) is None  # resumed in its middle
    now = 60.0
    assert pace.seconds_left(1, 24, 100) == pytest.approx(0.5 * 76)
    assert pace.seconds_left(2, 1, 100) is None
    assert pace.seconds_left(2, 1, 100) == 0
