"""How far a command has come."""

from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import pytest

from airflow_magnus.cli_progress import shown_progress
from airflow_magnus.stores import progress as stores_progress
from airflow_magnus.stores.progress import Lines


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_has_a_bar_that_is_gone_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with shown_progress("verify", stream) as progress, ThreadPoolExecutor(4) as pool:
        progress.begin(100, 1_000_000)
        list(pool.map(lambda _: progress.end(10_000), range(100)))
    text = stream.getvalue()
    assert "100/100 files" in text
    assert "1.0/1.0 MB" in text
    assert text.endswith(("\x1b[2K", "\x1b[1A\x1b[2K")), "the line of the bar is cleared"


def test_a_log_has_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores_progress, "EVERY", 0.0)
    stream = io.StringIO()
    with shown_progress("gc", stream) as progress:
        progress.begin(3, 3_000)
        progress.end(1_000)
        progress.end(2_000, 2)
    assert stream.getvalue() == "gc: 1 of 3 files, 1.0 kB of 3.0 kB\ngc: 3 of 3 files, 3.0 kB of 3.0 kB\n"


def test_what_takes_no_time_says_nothing() -> None:
    told: list[str] = []
    lines = Lines("gc", told.append)
    lines.begin(1, 1)
    lines.end(1)
    assert told == []


def test_the_result_goes_to_standard_output_beside_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    with shown_progress("verify", Terminal()):
        print("result")
    assert capsys.readouterr().out == "result\n"
