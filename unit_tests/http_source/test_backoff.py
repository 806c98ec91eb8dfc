"""Retries, waits, and how a sync ends, tested with a stream of Courier."""

import random

import pytest
import requests
from airbyte_cdk.models import AirbyteStreamStatus, FailureType, SyncMode
from airbyte_cdk.sources.streams.http import HttpStream
from airbyte_cdk.test.catalog_builder import CatalogBuilder
from airbyte_cdk.test.entrypoint_wrapper import read

from fake_vendor import Courier
from http_source.retry import BackoffMixin
from source_courier import SourceCourier

HOST = "https://api.courier.com"
MESSAGES = f"{HOST}/messages"
CONFIG = {"api_key": "made-up-key"}
CATALOG = CatalogBuilder().with_stream("messages", SyncMode.full_refresh).build()
GOOD = {"json": {"paging": {"more": False}, "results": [{"id": "1-one"}, {"id": "1-two"}]}}
# Answers of the vendor and ways to break the connection.
FAILURES = {
    "429": {"status_code": 429, "json": {"message": "slow down"}},
    "500": {"status_code": 500, "text": ""},
    "503": {"status_code": 503, "text": "<html>maintenance</html>"},
    "529": {"status_code": 529, "text": "overloaded"},
    "408": {"status_code": 408, "text": ""},
    "refused connection": {"exc": requests.exceptions.ConnectionError("refused")},
    "connect timeout": {"exc": requests.exceptions.ConnectTimeout("connect timed out")},
    "read timeout": {"exc": requests.exceptions.ReadTimeout("read timed out")},
    "cut off body": {"exc": requests.exceptions.ChunkedEncodingError("ended prematurely")},
    "garbled body": {"exc": requests.exceptions.ContentDecodingError("not gzip")},
    "truncated JSON": {"text": '{"paging": {"more": fal'},
    "HTML with 200": {"text": "<!DOCTYPE html><title>Be right back</title>"},
    "empty 200": {"content": b""},
}
BROKEN = {
    "no results": {"json": {"paging": {"more": False}}},
    "no paging": {"json": {"results": []}},
    "no object": {"json": []},
}


def failure_types(output):
    return [error.trace.error.failure_type for error in output.errors]


def statuses(output):
    return output.get_stream_statuses("messages")


@pytest.fixture
def longest_waits(monkeypatch):
    """Jitter is always at its upper end, so that tests can compare waits."""
    monkeypatch.setattr(random, "uniform", lambda _low, high: high)


@pytest.mark.parametrize("failure", [*FAILURES.values(), *BROKEN.values()], ids=FAILURES | BROKEN)
def test_rows_arrive_once_when_the_first_answer_failed(requests_mock, waits, failure):
    requests_mock.get(MESSAGES, [failure, GOOD])
    output = read(SourceCourier(), CONFIG, CATALOG)
    assert [record.record.data["id"] for record in output.records] == ["1-one", "1-two"]
    assert output.errors == []
    assert len(waits) == 1
    assert 0 < waits[0] <= 3


@pytest.mark.parametrize(
    "kind", ["429", "500", "503", "reset", "truncate", "html", "empty", "bad_json", "no_data"]
)
def test_every_page_is_read_once_when_every_third_request_fails(requests_mock, answer, kind):
    vendor = Courier(rows=57)
    vendor.switch(faults=[{"kind": kind, "every": 3}])
    answer(requests_mock, HOST, vendor)
    output = read(SourceCourier(), {"api_key": vendor.key}, CATALOG)
    newest_first = [message.id for message in reversed(vendor.messages())]
    assert [record.record.data["id"] for record in output.records] == newest_first
    assert vendor.journal.stats()["faults"] == {kind: len(vendor.journal.entries) // 3}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_the_sync_ends_transient_when_the_failure_does_not_pass(requests_mock, waits, failure):
    requests_mock.get(MESSAGES, [failure])
    output = read(SourceCourier(), CONFIG, CATALOG)
    assert set(failure_types(output)) == {FailureType.transient_error}
    assert statuses(output)[-1] is AirbyteStreamStatus.INCOMPLETE
    assert requests_mock.call_count == len(waits) + 1
    assert 5 <= len(waits) <= 20


@pytest.mark.parametrize("envelope", BROKEN.values(), ids=BROKEN)
def test_the_sync_ends_soon_as_a_system_error_when_the_envelope_stays_broken(
    requests_mock, envelope
):
    requests_mock.get(MESSAGES, [envelope])
    output = read(SourceCourier(), CONFIG, CATALOG)
    assert set(failure_types(output)) == {FailureType.system_error}
    assert "/messages" in output.errors[0].trace.error.message
    assert 2 <= requests_mock.call_count <= 5


@pytest.mark.parametrize("status", [400, 404, 409, 422])
def test_the_sync_ends_at_once_as_a_system_error_when_the_request_is_refused(
    requests_mock, waits, status
):
    requests_mock.get(MESSAGES, status_code=status, json={"message": "no such thing"})
    output = read(SourceCourier(), CONFIG, CATALOG)
    assert set(failure_types(output)) == {FailureType.system_error}
    assert "no such thing" in output.errors[0].trace.error.message
    assert waits == []


@pytest.mark.usefixtures("longest_waits")
def test_waits_double_and_stay_capped_when_the_vendor_stays_down(requests_mock, waits):
    requests_mock.get(MESSAGES, status_code=503)
    read(SourceCourier(), CONFIG, CATALOG)
    assert waits[:6] == pytest.approx([1, 2, 4, 8, 16, 32], abs=0.05)
    assert set(waits[6:]) == {60}


def test_waits_differ_between_runs_when_the_vendor_names_none(requests_mock, waits):
    requests_mock.get(MESSAGES, [FAILURES["503"]] * 5 + [GOOD])
    for _ in range(2):
        requests_mock.get(MESSAGES, [FAILURES["503"]] * 5 + [GOOD])
        read(SourceCourier(), CONFIG, CATALOG)
    assert len(waits) == 10
    assert waits[:5] != waits[5:]


@pytest.mark.parametrize("status", [429, 503])
def test_the_named_wait_is_waited_when_the_vendor_sends_retry_after(requests_mock, waits, status):
    asks = {"status_code": status, "headers": {"Retry-After": "17"}}
    requests_mock.get(MESSAGES, [asks, GOOD])
    output = read(SourceCourier(), CONFIG, CATALOG)
    assert len(output.records) == 2
    assert waits == [pytest.approx(17, abs=1)]


def test_a_wait_is_capped_and_logged_when_the_vendor_asks_for_a_day(requests_mock, waits):
    asks = {"status_code": 429, "headers": {"Retry-After": "86400"}}
    requests_mock.get(MESSAGES, [asks, GOOD])
    output = read(SourceCourier(), CONFIG, CATALOG)
    assert len(output.records) == 2
    assert waits[0] <= 301
    assert output.is_in_logs("86400 s")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("target", ["https://elsewhere.example.com/messages", f"{HOST}/login"])
def test_the_key_goes_nowhere_else_when_the_vendor_redirects(requests_mock, waits, status, target):
    requests_mock.get(MESSAGES, status_code=status, headers={"Location": target})
    followed = requests_mock.get(target, **GOOD)
    output = read(SourceCourier(), CONFIG, CATALOG)
    assert not followed.called
    assert output.records == []
    assert set(failure_types(output)) == {FailureType.system_error}
    assert waits == []


def test_every_request_has_a_timeout_when_pages_are_walked(requests_mock, answer):
    vendor = Courier(rows=35)
    vendor.switch(faults=[{"kind": "500", "at": (2,)}])
    answer(requests_mock, HOST, vendor)
    read(SourceCourier(), {"api_key": vendor.key, "parallel_walks": 1}, CATALOG)
    assert requests_mock.call_count == 5
    for request in requests_mock.request_history:
        connect, silence = request.timeout
        assert 0 < connect <= silence <= 300


def test_the_mixin_is_refused_when_it_stands_right_of_http_stream():
    with pytest.raises(TypeError, match="Misplaced: BackoffMixin must stand left of HttpStream"):
        type("Misplaced", (HttpStream, BackoffMixin), {})
