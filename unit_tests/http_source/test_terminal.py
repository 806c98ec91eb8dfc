"""The display at a terminal: what messages become, where no process is needed to see it."""

import io
import json
import os
import sys

import pytest

from http_source.terminal import TerminalOutput


@pytest.fixture
def show(capsys):
    """Write messages, and return the text on stderr."""
    reads, writes = os.pipe()

    def show(*messages):
        output = TerminalOutput(writes, lambda: 1)
        for message in messages:
            output.write(f"{message if isinstance(message, str) else json.dumps(message)}\n")
        output.flush()
        output.conclude()
        return capsys.readouterr().err

    yield show
    os.close(reads)
    os.close(writes)


def status(name, what):
    said = {"stream_descriptor": {"name": name}, "status": what}
    return {"type": "TRACE", "trace": {"type": "STREAM_STATUS", "stream_status": said}}


def log(level, message):
    return {"type": "LOG", "log": {"level": level, "message": message}}


def test_what_a_vendor_sends_does_not_steer_the_terminal(show):
    error = {
        "type": "TRACE",
        "trace": {"error": {"message": "A\x1b[2Jb\r\x07c\x9b2Jd [red]e[/red]"}},
    }
    shown = show(status("a\x1b]0;b", "STARTED"), error, status("a\x1b]0;b", "INCOMPLETE"))
    assert "A [2Jb  c 2Jd [red]e[/red]" in shown
    assert not {"\x1b", "\r", "\x07", "\x9b"} & set(shown)


def test_warnings_are_shown_and_other_logs_are_not(show):
    shown = show(log("INFO", "quiet"), log("WARN", "the archive is closed"), log("DEBUG", "quiet"))
    assert "the archive is closed" in shown
    assert "quiet" not in shown


@pytest.mark.parametrize("line", ["no JSON", "7", "[]", "{}", '{"type": "RECORD"}', ""])
def test_lines_that_are_no_messages_are_not_its_business(show, line):
    assert show(line) == ""


def test_rows_of_a_stream_that_did_not_start_are_in_the_sums(show):
    record = {"type": "RECORD", "record": {"stream": "b", "data": {}}}
    shown = show(record, status("a", "STARTED"), status("a", "COMPLETE"))
    assert shown.splitlines()[-1].startswith("1 stream, 1 rows, ")


def test_a_terminal_that_is_gone_does_not_end_the_sync(monkeypatch, show):
    class Gone(io.StringIO):
        def write(self, _text):
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(sys, "stderr", Gone())
    assert show(log("WARN", "unseen"), status("a", "STARTED"), log("WARN", "unseen")) == ""
