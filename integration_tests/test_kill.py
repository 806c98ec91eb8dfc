"""A source that is killed at any record continues from its last state, and no row is missing."""

import json
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from fake_vendor import FakeVendor, Kustomer

ROOT = Path(__file__).resolve().parent.parent
KILLS = 3


def read(arguments: list[str], kill_after: int | None) -> tuple[list[str], dict | None, int]:
    """Run one process. Returns the ids on stdout, the last state, and the exit code."""
    command = [sys.executable, str(ROOT / "main_kustomer.py"), "read", *arguments]
    ids: list[str] = []
    state = None
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        for line in process.stdout:
            if not line.endswith("\n"):
                break  # the kill cut this line
            message = json.loads(line)
            if message["type"] == "RECORD":
                ids.append(message["record"]["data"]["id"])
            elif message["type"] == "STATE":
                state = message["state"]
            if kill_after is not None and len(ids) >= kill_after:
                process.kill()
                break
    return ids, state, process.returncode


@pytest.mark.parametrize("mode", ["incremental", "full_refresh"])
def test_the_union_is_complete_and_states_claim_only_what_was_said_when_killed(tmp_path, mode):
    org = Kustomer({"customer": 3000}, list_rows=0, years=1.5, ties=(700,))
    org.switch(page_size_max=200, latency_ms=10)
    order = {record.id: record.updated_at for record in org.records("customer")}
    chance = random.Random(7)
    files = {name: tmp_path / f"{name}.json" for name in ("config", "catalog", "state")}
    stream = {
        "name": "customers",
        "json_schema": {},
        "supported_sync_modes": ["full_refresh", "incremental"],
    }
    catalog = {"stream": stream, "sync_mode": mode, "destination_sync_mode": "append"}
    files["catalog"].write_text(json.dumps({"streams": [catalog]}))
    seen: set[str] = set()
    with FakeVendor(kustomer=org) as vendor:
        config = {"api_token": org.token, "start_date": "2020-01-01", "api_url": vendor.url}
        files["config"].write_text(json.dumps(config))
        arguments = ["--config", str(files["config"]), "--catalog", str(files["catalog"])]
        for attempt in range(KILLS + 1):
            last = attempt == KILLS
            ids, state, code = read(arguments, None if last else chance.randint(300, 800))
            seen.update(ids)
            assert code == (0 if last else -signal.SIGKILL)
            if state is not None:
                claimed = state["stream"]["stream_state"]["updated_at"]
                assert {name for name, updated in order.items() if updated < claimed} <= seen
                files["state"].write_text(json.dumps([state]))
                if not last and "--state" not in arguments:
                    arguments += ["--state", str(files["state"])]
    assert set(order) <= seen
