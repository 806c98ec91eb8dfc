"""How a sync of several streams and its process end. Kustomer's lists are the example."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from airbyte_cdk.models import AirbyteStreamStatus, FailureType, SyncMode
from airbyte_cdk.test.catalog_builder import CatalogBuilder
from airbyte_cdk.test.entrypoint_wrapper import read

from fake_vendor import Courier, FakeVendor, Kustomer
from source_courier import SourceCourier
from source_kustomer import SourceKustomer

ROOT = Path(__file__).resolve().parents[2]
HOST = "https://api.kustomerapp.com"
COMPLETE, INCOMPLETE = AirbyteStreamStatus.COMPLETE, AirbyteStreamStatus.INCOMPLETE
TRANSIENT = {"status_code": 500}
SYSTEM = {"json": {"rows": []}}
CONFIG = {"status_code": 403, "json": {"errors": [{"message": "Missing role"}]}}
# Longer than any process of these tests may take. Shorter than the waits that it must not finish.
PATIENCE_SECONDS = 30


def catalog(*names):
    builder = CatalogBuilder()
    for name in names:
        builder.with_stream(name, SyncMode.full_refresh)
    return builder.build()


def read_lists(requests_mock, answer, failures):
    """Read three lists. Those in `failures` fail, each in its own way."""
    org = Kustomer(rows=0, list_rows=7)
    answer(requests_mock, HOST, org)
    for name, failure in failures.items():
        requests_mock.get(f"{HOST}/v1/{name}", **failure)
    config = {"api_token": org.token, "start_date": "2001-01-01"}
    return read(SourceKustomer(), config, catalog("tags", "teams", "users"))


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (TRANSIENT, FailureType.transient_error),
        (SYSTEM, FailureType.system_error),
        (CONFIG, FailureType.config_error),
    ],
)
def test_the_other_streams_finish_and_the_sync_fails_alike_when_one_stream_fails(
    requests_mock, answer, failure, kind
):
    output = read_lists(requests_mock, answer, {"teams": failure})
    last = {name: output.get_stream_statuses(name)[-1] for name in ("tags", "teams", "users")}
    assert last == {"tags": COMPLETE, "teams": INCOMPLETE, "users": COMPLETE}
    rows = [record.record.stream for record in output.records]
    assert rows == ["tags"] * 7 + ["users"] * 7
    assert {error.trace.error.failure_type for error in output.errors} == {kind}


@pytest.mark.parametrize(
    ("failures", "kind"),
    [
        ({"tags": TRANSIENT, "teams": SYSTEM}, FailureType.system_error),
        ({"tags": CONFIG, "teams": SYSTEM, "users": TRANSIENT}, FailureType.config_error),
        ({"tags": TRANSIENT, "users": CONFIG}, FailureType.config_error),
    ],
)
def test_the_sync_fails_as_what_the_user_can_mend_first_when_streams_fail_differently(
    requests_mock, answer, failures, kind
):
    output = read_lists(requests_mock, answer, failures)
    assert output.errors[-1].trace.error.failure_type is kind
    assert len(output.errors) == len(failures) + 1


@pytest.mark.parametrize("order", [("messages", "invoices"), ("invoices", "messages")])
def test_an_unknown_stream_fails_loudly_and_the_known_is_read_when_a_catalog_names_both(
    requests_mock, answer, order
):
    vendor = Courier(rows=12)
    answer(requests_mock, "https://api.courier.com", vendor)
    output = read(SourceCourier(), {"api_key": vendor.key}, catalog(*order))
    assert len(output.records) == 12
    assert output.get_stream_statuses("messages")[-1] is COMPLETE
    assert output.get_stream_statuses("invoices")[-1] is INCOMPLETE
    assert output.errors[-1].trace.error.failure_type is FailureType.config_error
    assert "invoices" in output.errors[-1].trace.error.message


@pytest.fixture
def start(tmp_path):
    """Start a program that calls `launch(...)` and reads messages from a listening vendor."""
    processes = []

    def start(program, vendor):
        config, chosen = tmp_path / "config.json", tmp_path / "catalog.json"
        config.write_text(json.dumps({"api_key": vendor.courier.key, "api_url": vendor.url}))
        stream = {"name": "messages", "json_schema": {}, "supported_sync_modes": ["full_refresh"]}
        modes = {"sync_mode": "full_refresh", "destination_sync_mode": "append"}
        chosen.write_text(json.dumps({"streams": [{"stream": stream, **modes}]}))
        process = subprocess.Popen(
            [sys.executable, "-c", program, "read", "--config", config, "--catalog", chosen],
            env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "always"},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


WARNS = """
import sys, warnings
from http_source import launch
from source_courier import SourceCourier

class Source(SourceCourier):
    def streams(self, config):
        warnings.warn("made to be raised")
        return super().streams(config)

launch(Source(), sys.argv[1:])
"""

RAISES = """
import sys
from http_source import launch
from source_courier import SourceCourier

class Source(SourceCourier):
    def read(self, *arguments):
        for message in super().read(*arguments):
            yield message
            if message.record is not None:
                raise RuntimeError("made to be raised")

launch(Source(), sys.argv[1:])
"""

HANGS_UP = """
import os, sys
from http_source import launch
from source_courier import SourceCourier

class Source(SourceCourier):
    def read(self, *arguments):
        for message in super().read(*arguments):
            yield message
            if message.record is not None:
                reader, writer = os.pipe()
                os.close(reader)
                os.dup2(writer, 1)
                sys.stdout.flush()

launch(Source(), sys.argv[1:])
"""


def far_away_second_page():
    """A vendor whose second page fails again and again, so that its retries wait for long."""
    courier = Courier(rows=3000)
    courier.switch(faults=[{"kind": "503", "at": tuple(range(2, 30))}])
    return FakeVendor(courier=courier)


@pytest.mark.slow
def test_stdout_holds_nothing_but_messages_when_a_warning_is_raised(start):
    with FakeVendor(courier=Courier(rows=23)) as vendor:
        process = start(WARNS, vendor)
        stdout, _ = process.communicate(timeout=PATIENCE_SECONDS)
    messages = [json.loads(line) for line in stdout.splitlines()]
    kinds = [message["type"] for message in messages]
    assert kinds.count("RECORD") == 23
    assert any("made to be raised" in m["log"]["message"] for m in messages if m["type"] == "LOG")
    assert process.returncode == 0


@pytest.mark.slow
def test_the_process_ends_at_once_with_an_error_trace_when_a_request_ahead_still_waits(start):
    with far_away_second_page() as vendor:
        process = start(RAISES, vendor)
        stdout, _ = process.communicate(timeout=PATIENCE_SECONDS)
    messages = [json.loads(line) for line in stdout.splitlines()]
    errors = [m["trace"]["error"] for m in messages if m.get("trace", {}).get("type") == "ERROR"]
    assert "made to be raised" in errors[-1]["internal_message"]
    assert process.returncode == 1


@pytest.mark.slow
def test_the_process_ends_at_once_when_its_output_breaks_while_a_request_ahead_waits(start):
    with far_away_second_page() as vendor:
        process = start(HANGS_UP, vendor)
        process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 1
