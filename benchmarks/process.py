"""Runs a child process and measures its cost. Serves a vendor during a `with` block."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 60
LONGEST_RUN_SECONDS = 150
# The unit of ru_maxrss.
_PEAK_UNIT = 1 if sys.platform == "darwin" else 1024
_ENVIRONMENT = os.environ | {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


_running: set[subprocess.Popen[bytes]] = set()


def stop_all() -> None:
    """Kill all child processes, so that the threads that wait for them continue."""
    for process in list(_running):
        process.kill()


class BenchmarkError(Exception):
    """There is nothing to measure. The text says why."""


@dataclass(frozen=True)
class Usage:
    """The cost of a child: seconds, processor seconds, peak memory in bytes. And its exit code.

    `ended` is when it ended, in epoch seconds.
    """

    wall: float
    cpu: float
    peak: int
    code: int
    ended: float


def measure(arguments: list[str], output: Path, errors: Path) -> Usage:
    """Run Python with these arguments to its end. Its output goes to files."""
    with output.open("wb") as out, errors.open("wb") as err:
        began = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, stdout=out, stderr=err, env=_ENVIRONMENT
        )
        _running.add(process)
        watchdog = threading.Timer(LONGEST_RUN_SECONDS, process.kill)
        watchdog.start()
        try:
            _, status, used = os.wait4(process.pid, 0)
            wall, ended = time.perf_counter() - began, time.time()
            process.returncode = os.waitstatus_to_exitcode(status)
        finally:
            watchdog.cancel()
            _running.discard(process)
            if process.returncode is None:
                process.kill()
                process.wait()
    cpu = used.ru_utime + used.ru_stime
    return Usage(wall, cpu, used.ru_maxrss * _PEAK_UNIT, process.returncode, ended)


@dataclass(frozen=True)
class Vendor:
    """A fake vendor in its own process, at `url`."""

    url: str

    def stats(self, vendor: str = "kustomer") -> dict[str, Any]:
        """Return the sums of its requests since the last reset."""
        stats: dict[str, Any] = self._control("stats")[vendor]
        return stats

    def first_request(self, vendor: str) -> float:
        """Return when its first request since the last reset came, in epoch seconds."""
        log = self._control("log")[vendor]
        if not log:
            raise BenchmarkError(f"Nothing was requested from {vendor}.")
        first: float = log[0]["at_s"]
        return first

    def reset(self) -> None:
        """Reset the sums."""
        self._control("reset-stats", {})

    def _control(self, task: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        with urlopen(Request(f"{self.url}/_control/{task}", data), timeout=30) as answer:
            return json.load(answer)


@contextmanager
def serving(place: Path, module: str, *arguments: str) -> Iterator[Vendor]:
    """Serve a vendor. `{ready}` in the arguments becomes the file to which it writes its URL."""
    ready, log = place / "ready", place / "vendor.log"
    ready.unlink(missing_ok=True)
    program = [sys.executable, "-m", module, *(text.format(ready=ready) for text in arguments)]
    with log.open("wb") as out:
        process = subprocess.Popen(program, cwd=ROOT, stdout=out, stderr=out)
        _running.add(process)
        try:
            deadline = time.monotonic() + READY_SECONDS
            while not ready.exists():
                if process.poll() is not None or time.monotonic() > deadline:
                    raise BenchmarkError(f"The fake vendor did not start.\n{log.read_text()}")
                time.sleep(0.02)
            yield Vendor(ready.read_text().strip())
        finally:
            _running.discard(process)
            process.terminate()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
