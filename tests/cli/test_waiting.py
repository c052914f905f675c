"""What a terminal shows while something takes its time, and that nothing of it is left."""

from __future__ import annotations

import io
import sys
import threading

import pytest

from charter.cli import waiting
from charter.cli.waiting import working
from charter.processes import wait_until


class Terminal(io.StringIO):
    """Standard error as a person has it."""

    def isatty(self) -> bool:
        return True


def test_a_long_step_says_that_it_goes_on_and_leaves_no_trace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(waiting, "_SILENT_SECONDS", 0.01)
    with working("check", "running the tests"):
        assert wait_until(lambda: "check: running the tests, 0 s" in terminal.getvalue(), 10)
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_a_short_step_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with working("check", "running the tests"):
        pass
    assert terminal.getvalue() == ""


def test_nothing_is_said_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(waiting, "_SILENT_SECONDS", 0.001)
    before = threading.active_count()
    with working("check", "running the tests"):
        assert threading.active_count() == before  # nobody is there who could say something
    assert capsys.readouterr().err == ""
