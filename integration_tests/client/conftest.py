"""The fake vendor in a process of its own, and our wheels, for programs that use the sources."""

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from distributions.__main__ import main as build

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 60


@dataclass
class Vendor:
    """The fake vendor, as other programs see it: an address."""

    url: str
    rows: int = 300
    list_rows: int = 20
    setting_rows: int = 3
    child_rows: int = 30
    event_rows: int = 100
    courier_rows: int = 200

    def config(self, source: str) -> dict[str, str]:
        """A configuration with which a source reads from here."""
        keys = {
            "courier": {"api_key": "courier-demo-key"},
            "kustomer": {"api_token": "kustomer-demo-token", "start_date": "2015-01-01"},
        }
        return keys[source] | {"api_url": self.url}

    def control(self, task: str, **asked: Any) -> Any:
        """Change something at the vendor. CONTRIBUTING.md, "The fake vendor", names the tasks."""
        return self.ask(f"/_control/{task}", asked)

    def ask(self, path: str, body: Any = None) -> Any:
        """The answer to a request with Kustomer's key."""
        request = urllib.request.Request(
            f"{self.url}{path}",
            data=json.dumps(body).encode() if body is not None else None,
            headers={"authorization": "Bearer kustomer-demo-token"},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)


@pytest.fixture(scope="session")
def vendor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vendor]:
    ready = tmp_path_factory.mktemp("vendor") / "url"
    counts = {
        f"--{name.replace('_', '-')}={value}"
        for name, value in vars(Vendor("")).items()
        if name != "url"
    }
    command = [sys.executable, "-m", "fake_vendor", *counts, "--ready-file", str(ready)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            until = time.monotonic() + READY_SECONDS
            while not ready.exists():
                assert process.poll() is None, "the fake vendor has ended"
                assert time.monotonic() < until, "the fake vendor did not start"
                time.sleep(0.1)
            yield Vendor(ready.read_text().strip())
        finally:
            process.terminate()


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels of a release."""
    folder = tmp_path_factory.mktemp("dist")
    build([str(folder)])
    return folder
