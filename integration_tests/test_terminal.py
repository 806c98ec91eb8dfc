"""What a person at a terminal sees on stderr, and that stdout has messages only."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path

import pytest

from fake_vendor import Courier, FakeVendor, Kustomer

ROOT = Path(__file__).resolve().parent.parent
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[a-zA-Z]")
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"
# Says at the end whether the display was loaded.
TELLS_IMPORTS = (
    "import atexit, sys\n"
    "loaded = lambda: {'rich', 'http_source.terminal'} & set(sys.modules)\n"
    "atexit.register(lambda: sys.stderr.write(f'loaded: {loaded() or None}'))\n"
    "from main_kustomer import main\n"
    "main()\n"
)


class Terminal:
    """A pseudo-terminal, and what was written to it."""

    def __init__(self):
        self._ours, self.descriptor = pty.openpty()
        fcntl.ioctl(self.descriptor, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self._changed = threading.Condition()
        self._written = b""
        self._is_closed = False
        threading.Thread(target=self._take, daemon=True).start()

    def _take(self):
        while True:
            try:
                piece = os.read(self._ours, 65_536)
            except OSError:  # Linux: no process has it open any more
                piece = b""
            with self._changed:
                self._written += piece
                self._is_closed = not piece
                self._changed.notify_all()
            if not piece:
                os.close(self._ours)
                return

    def until(self, words):
        """Wait until the words were written."""
        with self._changed:
            assert self._changed.wait_for(lambda: words in self.text, 60), self.text

    def whole(self):
        """Everything that was written, once no process has the terminal open."""
        with self._changed:
            assert self._changed.wait_for(lambda: self._is_closed, 60), self.text
        return self.text

    @property
    def text(self):
        return self._written.decode(errors="replace")


@pytest.fixture
def start(tmp_path):
    """Start a command of the Kustomer source at a terminal."""
    processes = []

    def start(vendor, *streams, stdout=subprocess.PIPE):
        config, catalog = tmp_path / "config.json", tmp_path / "catalog.json"
        key = {"api_token": vendor.kustomer.token, "start_date": "2020-01-01"}
        config.write_text(json.dumps(key | {"api_url": vendor.url}))
        modes = {"sync_mode": "full_refresh", "destination_sync_mode": "append"}
        chosen = [
            {
                "stream": {
                    "name": name,
                    "json_schema": {},
                    "supported_sync_modes": ["full_refresh"],
                },
                **modes,
            }
            for name in streams
        ]
        catalog.write_text(json.dumps({"streams": chosen}))
        terminal = Terminal()
        command = [sys.executable, ROOT / "main_kustomer.py", "read"]
        command += ["--config", config, "--catalog", catalog]
        process = subprocess.Popen(
            command,
            stdout=terminal.descriptor if stdout == "terminal" else stdout,
            stderr=terminal.descriptor,
            env=os.environ | {"TERM": "xterm-256color", "LANG": "C.UTF-8"},
        )
        os.close(terminal.descriptor)
        processes.append(process)
        return process, terminal

    yield start
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture
def vendor():
    with FakeVendor(Kustomer(rows=700, list_rows=30), Courier(rows=5)) as listening:
        yield listening


def plain(text):
    return ESCAPES.sub("", text)


def rows(stdout):
    messages = [json.loads(line) for line in stdout.decode().splitlines()]
    return [one["record"]["stream"] for one in messages if one["type"] == "RECORD"]


def test_the_terminal_shows_streams_rows_speed_and_estimate_and_stdout_only_messages(start, vendor):
    # Slow enough that the display is drawn between two pages.
    vendor.kustomer.switch(latency_ms=500, page_size_max=50)
    process, terminal = start(vendor, "customers", "tags")
    stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert rows(stdout).count("customers") == 700
    seen = plain(terminal.whole())
    assert "customers (1 of 2)" in seen
    assert "tags (2 of 2)" in seen
    assert re.search(r"\d+ of 700 rows", seen)
    assert re.search(r"customers +700 rows +\d+\.\d s  complete\r\n", seen)
    assert re.search(r"tags +30 rows +\d+\.\d s  complete\r\n", seen)
    assert re.search(r"2 streams, 730 rows, \d+\.\d s\r\n$", seen)
    assert terminal.text.rindex(SHOW_CURSOR) > terminal.text.rindex(HIDE_CURSOR)


def test_nothing_moves_where_messages_scroll_on_the_same_terminal(start, vendor):
    process, terminal = start(vendor, "customers", "tags", stdout="terminal")
    process.wait(60)
    seen = terminal.whole()
    assert HIDE_CURSOR not in seen
    *messages, customers, tags, sums = plain(seen).splitlines()
    assert rows("\n".join(messages).encode()).count("customers") == 700
    assert customers.startswith("customers ")
    assert tags.startswith("tags ")
    assert sums.startswith("2 streams, 730 rows")


def test_a_wait_for_the_limit_is_shown_and_a_signal_leaves_the_terminal_in_order(start, vendor):
    vendor.kustomer.switch(search_limit=2, page_size_max=100)
    process, terminal = start(vendor, "customers")
    terminal.until("waits for the rate limit")
    process.send_signal(signal.SIGTERM)
    stdout, _ = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM
    shown = len(rows(stdout))
    seen = terminal.whole()
    assert seen.rindex(SHOW_CURSOR) > seen.rindex(HIDE_CURSOR)
    assert re.search(rf"customers +{shown} rows +\d+\.\d s  stopped\r\n", plain(seen))


def test_what_fails_is_a_sentence_on_the_terminal(start, vendor, tmp_path):
    vendor.kustomer.switch(search_refusal=401)
    process, terminal = start(vendor, "customers", "tags")
    stdout, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    messages = [json.loads(line) for line in stdout.decode().splitlines()]
    last = [m["trace"]["error"]["message"] for m in messages if "error" in m.get("trace", {})][-1]
    seen = " ".join(plain(terminal.whole()).split())
    assert re.search(r"customers 0 rows \d+\.\d s incomplete", seen)
    assert re.search(r"tags 30 rows \d+\.\d s complete", seen)
    assert " ".join(last.split()) in seen


def test_a_missing_file_is_a_sentence_on_the_terminal(tmp_path):
    terminal = Terminal()
    done = subprocess.run(
        [sys.executable, ROOT / "main_kustomer.py", "check", "--config", tmp_path / "none.json"],
        stdout=subprocess.PIPE,
        stderr=terminal.descriptor,
        check=False,
        timeout=60,
    )
    os.close(terminal.descriptor)
    assert done.returncode == 1
    assert rows(done.stdout) == []
    assert "none.json does not exist" in " ".join(plain(terminal.whole()).split())


def test_without_a_terminal_stderr_is_empty_and_the_display_is_not_even_loaded(vendor, tmp_path):
    config = tmp_path / "config.json"
    key = {"api_token": vendor.kustomer.token, "start_date": "2020-01-01"}
    config.write_text(json.dumps(key | {"api_url": vendor.url}))
    done = subprocess.run(
        [sys.executable, "-c", TELLS_IMPORTS, "check", "--config", config],
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0
    assert done.stderr == b"loaded: None"
