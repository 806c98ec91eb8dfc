"""The fixtures of all unit tests: no network, no real sleep, and fake vendors behind `requests`.

    def test_...(requests_mock, answer, waits):
        vendor = Courier(rows=25)
        answer(requests_mock, "https://api.courier.com", vendor)
        output = read(SourceCourier(), {"api_key": vendor.key}, catalog)
        assert waits == []

No test sleeps or uses the network, even if it does not name these fixtures. `check` runs the
command `check`, for which the CDK's test kit has no function.
"""

import json
import os
import re
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests
import requests_mock as wire
from airbyte_cdk.sources import Source
from airbyte_cdk.test import entrypoint_wrapper
from hypothesis import settings

from fake_vendor import Clock, Reply, Request
from fake_vendor.wire import Vendor
from http_source import rate_limiter

# CI tries the same examples each time, so that only a change in the code can change the result. All
# other runs try new examples.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI"):
    settings.load_profile("ci")

Answer = Callable[[wire.Mocker, str, Vendor], None]
Check = Callable[[Source, Mapping[str, Any]], entrypoint_wrapper.EntrypointOutput]


class Waits(list[float]):
    """The seconds of every wait so far, in order, from all threads.

    Nothing sleeps. Each wait moves the `clocks` of the fake vendors. So a rate limit is over after
    the wait for it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clocks: list[Clock] = []
        self._lock = threading.Lock()
        # Prefetch threads of an earlier test may still wait. Their waits are ignored.
        self._strangers = set(threading.enumerate()) - {threading.current_thread()}

    def sleep(self, seconds: float) -> None:
        """Replaces `time.sleep`. A sleep of 0 seconds, as in the CDK, does not count as a wait."""
        with self._lock:
            if not seconds or threading.current_thread() in self._strangers:
                return
            self.append(seconds)
            for clock in self.clocks:
                clock.advance(seconds)


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> Waits:
    """Every `time.sleep` of the test returns at once and is recorded here."""
    recorded = Waits()
    monkeypatch.setattr(time, "sleep", recorded.sleep)
    # A 429 also holds all requests that share its limit. The limiter's clock moves with the waits.
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + sum(recorded))
    monkeypatch.setattr(rate_limiter, "time", clock)
    return recorded


@pytest.fixture(autouse=True)
def _no_network(requests_mock: wire.Mocker) -> None:
    """A request without a mock raises NoMockAddress, a ConnectionError, at once."""


@pytest.fixture
def answer(waits: Waits) -> Answer:
    """Let a vendor answer all requests below a base URL: `answer(requests_mock, url, vendor)`.

    The vendor is any object with `handle(Request) -> Reply`, such as a `Courier` or a `Kustomer` of
    the fake vendor, whose journal then contains the requests. A second call for the same URL
    replaces the vendor. Broken connections raise the errors of `requests`: ConnectionError for
    "reset", ChunkedEncodingError for "truncate". Delays are ignored.
    """

    def answer(requests_mock: wire.Mocker, base_url: str, vendor: Vendor) -> None:
        clock = getattr(vendor, "clock", None)
        if isinstance(clock, Clock) and clock not in waits.clocks:
            waits.clocks.append(clock)

        def content(request: requests.PreparedRequest, context: wire.response._Context) -> bytes:
            body = request.body or b""
            reply: Reply = vendor.handle(
                Request.from_target(
                    str(request.method),
                    str(request.url),
                    dict(request.headers),
                    body.encode() if isinstance(body, str) else body,
                )
            )
            if reply.fault == "reset":
                raise requests.ConnectionError("Connection reset by peer", request=request)
            if reply.fault == "truncate":
                raise requests.exceptions.ChunkedEncodingError("Response ended prematurely")
            context.status_code = reply.status
            context.headers.update(reply.headers)
            return reply.body

        below = re.compile(re.escape(base_url.rstrip("/")) + r"(/|$|\?)")
        requests_mock.register_uri(wire.ANY, below, content=content)

    return answer


@pytest.fixture
def check(tmp_path: Path) -> Check:
    """Run `check` as the platform does: `check(source, config).connection_status_messages`."""

    def check(source: Source, config: Mapping[str, Any]) -> entrypoint_wrapper.EntrypointOutput:
        path = entrypoint_wrapper.make_file(tmp_path / "config.json", json.dumps(config))
        return entrypoint_wrapper._run_command(source, ["check", "--config", path])

    return check


class Report:
    """What a source's `doctor` printed: by line, what was seen, and the verdict."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err
        rows = [
            [cell.strip() for cell in line.strip("|").split(" | ")]
            for line in out.splitlines()
            if line.startswith("| ")
        ]
        self.seen = {row[0]: row[2] for row in rows[2:]}
        self.verdicts = {row[0]: row[3].rstrip("| ") for row in rows[2:]}

    def lines(self, verdict: str) -> set[str]:
        """The lines that have a verdict."""
        return {line for line, one in self.verdicts.items() if one == verdict}
