"""The example that needs no package: a shell script with jq, run twice."""

import json
import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fake_vendor import FakeVendor, Kustomer

ROOT = Path(__file__).resolve().parent.parent

pytestmark = [
    pytest.mark.packages,
    pytest.mark.skipif(
        not (shutil.which("jq") and shutil.which("bash")), reason="the example needs bash and jq"
    ),
]


@pytest.fixture
def sync(tmp_path):
    """Run examples/sync.sh as a user does, with source-kustomer on the PATH."""
    command = tmp_path / "bin" / "source-kustomer"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{ROOT}/main_kustomer.py" "$@"\n')
    command.chmod(0o755)
    config, out = tmp_path / "config.json", tmp_path / "rows"

    def sync(vendor, *streams):
        said = {"api_token": vendor.kustomer.token, "start_date": "2015-01-01"}
        config.write_text(json.dumps(said | {"api_url": vendor.url}))
        path = f"{command.parent}{os.pathsep}{os.environ['PATH']}"
        return subprocess.run(
            [ROOT / "examples/sync.sh", config, out, *streams],
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )

    sync.rows = lambda stream: [
        json.loads(line) for line in (out / f"{stream}.jsonl").read_text().splitlines()
    ]
    return sync


def test_shell_example_appends_what_changed(sync):
    with FakeVendor(Kustomer({"customer": 60}, list_rows=5, setting_rows=3)) as vendor:
        first = sync(vendor, "customers", "tags", "brands")
        assert (first.returncode, first.stderr) == (0, "")
        assert len({row["id"] for row in sync.rows("customers")}) == 60
        assert len(sync.rows("tags")) == 5
        assert len(sync.rows("brands")) == 3

        # Newer than what a first sync has read, and not one of the last two minutes.
        at = datetime.now(UTC) - timedelta(seconds=121)
        vendor.kustomer.insert("tag", at=at)
        second = sync(vendor, "customers", "tags")
        assert (second.returncode, second.stderr) == (0, "")
        assert len({row["id"] for row in sync.rows("customers")}) == 60
        assert len({row["id"] for row in sync.rows("tags")}) == 6
        assert len(sync.rows("tags")) < 10


def test_shell_example_keeps_the_rows_of_good_streams_and_says_what_failed(sync):
    with FakeVendor(Kustomer({"customer": 6}, list_rows=5)) as vendor:
        vendor.kustomer.switch(refused=("team",))
        done = sync(vendor, "teams", "users")
        assert done.returncode == 1
        assert "org.permission.team.read" in done.stderr
        assert len(sync.rows("users")) == 5
        assert sync.rows("teams") == []

        vendor.kustomer.switch(refused=())
        assert sync(vendor, "teams").returncode == 0
        assert len(sync.rows("teams")) == 5
