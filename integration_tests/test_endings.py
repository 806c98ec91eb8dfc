"""How a signal ends the process: during any wait, and with whole lines on stdout."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fake_vendor import Courier, FakeVendor, Kustomer

ROOT = Path(__file__).resolve().parent.parent
# SIGTERM ends a process as by its default: a shell shows 143.
CODES = {signal.SIGTERM: -signal.SIGTERM, signal.SIGINT: 130}
every_signal = pytest.mark.parametrize("number", CODES, ids=lambda number: number.name)
# A process ends within two seconds after the signal. Test machines are shared and slow.
SOON = 6


@pytest.fixture
def start(tmp_path):
    """Start a read of one stream. Its stdout is a pipe that nobody reads yet."""
    processes = []

    def start(vendor, stream, *before, source="kustomer"):
        key = {"api_key": vendor.courier.key}
        if source == "kustomer":
            key = {"api_token": vendor.kustomer.token, "start_date": "2020-01-01"}
        files = {name: tmp_path / f"{name}.json" for name in ("config", "catalog")}
        files["config"].write_text(json.dumps(key | {"api_url": vendor.url}))
        entry = {"name": stream, "json_schema": {}, "supported_sync_modes": ["full_refresh"]}
        modes = {"sync_mode": "full_refresh", "destination_sync_mode": "append"}
        files["catalog"].write_text(json.dumps({"streams": [{"stream": entry, **modes}]}))
        command = [*before, sys.executable, str(ROOT / f"main_{source}.py"), "read"]
        for name, path in files.items():
            command += [f"--{name}", str(path)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT, bufsize=0
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def assert_whole_lines(content: bytes) -> list[dict]:
    assert content.endswith(b"\n")
    return [json.loads(line) for line in content.decode().splitlines()]


def until(process, text: bytes) -> bytes:
    """Read stdout until it contains a text."""
    read = b""
    while text not in read:
        piece = os.read(process.stdout.fileno(), 65536)
        assert piece, read
        read += piece
    return read


def rest_of(process) -> tuple[bytes, bytes]:
    """Return the rest of both pipes of a process that has ended."""
    return process.stdout.read(), process.stderr.read()


@every_signal
@pytest.mark.parametrize("row_bytes", [0, 20_000, 300_000])
def test_lines_are_whole_when_a_signal_comes_and_nobody_reads(start, number, row_bytes):
    with FakeVendor(kustomer=Kustomer({"message": 3000}, list_rows=0)) as vendor:
        vendor.kustomer.switch(row_bytes=row_bytes)
        process = start(vendor, "messages")
        said = until(process, b'"RECORD"')
        time.sleep(1)  # the pipe is full, and the source waits to write
        process.send_signal(number)
        assert process.wait(SOON) == CODES[number]
        said += process.stdout.read()
        assert process.stderr.read() == b""
    assert_whole_lines(said)


@every_signal
def test_lines_are_whole_when_a_signal_comes_and_the_reader_is_slow(start, number):
    with FakeVendor(kustomer=Kustomer({"message": 3000}, list_rows=0)) as vendor:
        process = start(vendor, "messages")
        said = until(process, b'"RECORD"')
        began = time.monotonic()
        while time.monotonic() - began < 1:
            said += os.read(process.stdout.fileno(), 700)
            time.sleep(0.01)
        process.send_signal(number)
        while piece := os.read(process.stdout.fileno(), 4096):
            said += piece
            time.sleep(0.01)
        assert process.wait(SOON) == CODES[number]
        assert process.stderr.read() == b""
    assert_whole_lines(said)


@every_signal
def test_the_process_ends_at_once_when_a_signal_comes_during_a_backoff(start, number):
    courier = Courier(rows=300)
    courier.switch(faults=[{"kind": "503", "at": tuple(range(2, 30))}])
    with FakeVendor(courier=courier) as vendor:
        process = start(vendor, "messages", source="courier")
        said = until(process, b'"RECORD"')
        process.send_signal(number)
        assert process.wait(SOON) == CODES[number]
        rest, errors = rest_of(process)
    assert errors == b""
    assert_whole_lines(said + rest)


@every_signal
def test_the_process_ends_at_once_when_a_signal_comes_during_a_request(start, number):
    courier = Courier(rows=300)
    with FakeVendor(courier=courier) as vendor:
        courier.switch(latency_ms=60_000)
        process = start(vendor, "messages", source="courier")
        said = until(process, b"STARTED")
        time.sleep(0.5)
        process.send_signal(number)
        assert process.wait(SOON) == CODES[number]
        rest, errors = rest_of(process)
    assert errors == b""
    assert_whole_lines(said + rest)


@every_signal
@pytest.mark.parametrize("after", [0.15, 0.4])
def test_no_traceback_is_written_when_a_signal_comes_during_the_imports(start, number, after):
    with FakeVendor() as vendor:
        process = start(vendor, "messages", source="courier")
        time.sleep(after)
        process.send_signal(number)
        assert process.wait(SOON) == CODES[number]
        said, errors = rest_of(process)
    assert errors == b""
    assert said == b"" or assert_whole_lines(said)


def _can_be_process_one() -> bool:
    program = shutil.which("unshare")
    if program is None:
        return False
    command = [program, "--pid", "--fork", "--kill-child", "true"]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


@pytest.mark.skipif(not _can_be_process_one(), reason="needs the right to make a PID namespace")
@every_signal
def test_a_signal_ends_the_process_when_it_is_process_one(start, number, tmp_path):
    with FakeVendor(kustomer=Kustomer({"message": 3000}, list_rows=0)) as vendor:
        vendor.kustomer.switch(latency_ms=500)
        process = start(vendor, "messages", "unshare", "--pid", "--fork", "--kill-child")
        said = until(process, b'"RECORD"')
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[0]), number)
        rest, errors = process.communicate(timeout=SOON)
        assert process.returncode == 128 + number
    assert errors == b""
    assert_whole_lines(said + rest)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-16", "cp1252"])
def test_stdout_is_utf8_whatever_the_environment_asks_for(start, monkeypatch, encoding):
    monkeypatch.setenv("PYTHONIOENCODING", encoding)
    org = Kustomer({"message": 3}, list_rows=0)
    org.insert("message", resource={"attributes": {"preview": "Gr\u00fc\u00dfe \U0001f600 \u65e5"}})
    with FakeVendor(kustomer=org) as vendor:
        process = start(vendor, "messages")
        said, _ = process.communicate(timeout=60)
    messages = assert_whole_lines(said)
    texts = [m["record"]["data"].get("preview") for m in messages if m["type"] == "RECORD"]
    assert "Gr\u00fc\u00dfe \U0001f600 \u65e5" in texts
    assert process.returncode == 0
