"""The entry point of the Courier source: spec, check, hosts, and a key that stays secret."""

import pytest
import requests
from airbyte_cdk.models import FailureType, Status, SyncMode
from airbyte_cdk.test.catalog_builder import CatalogBuilder
from airbyte_cdk.test.entrypoint_wrapper import discover, read

from fake_vendor import Courier
from source_courier import SourceCourier

US, EU = "https://api.courier.com", "https://api.eu.courier.com"
CATALOG = CatalogBuilder().with_stream("messages", SyncMode.full_refresh).build()
WRONG_KEY = "pk_made_up_000111222"


@pytest.fixture
def vendor(requests_mock, answer):
    """A workspace in the US."""
    workspace = Courier(rows=25)
    answer(requests_mock, US, workspace)
    return workspace


def result(output):
    (message,) = output.connection_status_messages
    return message.connectionStatus


def everything_said(output):
    return "\n".join(str(message) for message in output.get_message_iterator())


def test_check_succeeds_with_one_request_when_the_key_is_right(vendor, check):
    output = check(SourceCourier(), {"api_key": vendor.key})
    assert result(output).status is Status.SUCCEEDED
    assert len(vendor.journal.entries) == 1


@pytest.mark.parametrize("typed", ["{}\n", " {}", "{}\r\n", "\t{} "])
def test_a_key_is_sent_and_masked_as_it_is_when_blanks_were_copied_with_it(
    vendor, requests_mock, check, typed
):
    output = check(SourceCourier(), {"api_key": typed.format(vendor.key)})
    assert result(output).status is Status.SUCCEEDED
    assert requests_mock.last_request.headers["Authorization"] == f"Bearer {vendor.key}"
    assert vendor.key not in everything_said(output)


@pytest.mark.parametrize("typed", ["two words", "in\nside", "k\u00e9y", "key\u200b", "  "])
def test_a_key_that_cannot_be_sent_is_refused_without_being_shown(requests_mock, check, typed):
    output = check(SourceCourier(), {"api_key": typed})
    assert result(output).status is Status.FAILED
    assert "copy it again" in result(output).message
    assert typed.strip() == "" or typed not in everything_said(output)
    assert not requests_mock.called


def test_check_succeeds_when_the_workspace_is_empty(requests_mock, answer, check):
    vendor = Courier(rows=0)
    answer(requests_mock, US, vendor)
    assert result(check(SourceCourier(), {"api_key": vendor.key})).status is Status.SUCCEEDED


@pytest.mark.parametrize("status", [401, 403])
def test_check_fails_with_help_and_without_the_key_when_the_key_is_refused(vendor, check, status):
    vendor.switch(bad_key_status=status)
    output = check(SourceCourier(), {"api_key": WRONG_KEY})
    assert result(output).status is Status.FAILED
    assert f"HTTP {status}" in result(output).message
    assert "Settings > API Keys" in result(output).message
    assert WRONG_KEY not in everything_said(output)
    assert [entry.status for entry in vendor.journal.entries] == [status]


@pytest.mark.parametrize("status", [401, 403])
def test_read_is_a_config_error_without_the_key_when_the_key_is_refused(vendor, status):
    vendor.switch(bad_key_status=status)
    output = read(SourceCourier(), {"api_key": WRONG_KEY}, CATALOG)
    assert {error.trace.error.failure_type for error in output.errors} == {FailureType.config_error}
    assert output.records == []
    assert WRONG_KEY not in everything_said(output)


@pytest.mark.parametrize(
    "failure",
    [
        {"exc": requests.exceptions.ConnectionError("Name or service not known")},
        {"exc": requests.exceptions.SSLError("certificate verify failed")},
        {"exc": requests.exceptions.ConnectTimeout("timed out")},
        {"exc": requests.exceptions.ProxyError("no proxy")},
        {"status_code": 503},
        {"status_code": 429},
        {"text": "<html>Sign in to the hotel's network</html>"},
        {"json": {"hello": "I am another API"}},
        {"status_code": 404, "json": {"message": "no such path"}},
    ],
)
def test_check_fails_soon_and_names_the_host_when_the_vendor_cannot_be_asked(
    requests_mock, check, waits, failure
):
    host = "https://courier-proxy.example.com"
    requests_mock.get(f"{host}/messages", **failure)
    output = check(SourceCourier(), {"api_key": "made-up-key", "api_url": host})
    assert result(output).status is Status.FAILED
    assert host in result(output).message
    assert sum(waits) < 60


@pytest.mark.parametrize(
    ("config", "host"),
    [
        ({}, US),
        ({"region": "us"}, US),
        ({"region": "eu"}, EU),
        ({"api_url": ""}, US),
        ({"api_url": "https://courier-proxy.example.com"}, "https://courier-proxy.example.com"),
        ({"api_url": "https://proxy.example.com/courier/"}, "https://proxy.example.com/courier"),
        ({"api_url": "https://proxy.example.com", "region": "eu"}, "https://proxy.example.com"),
        ({"api_url": "http://127.0.0.1:8765"}, "http://127.0.0.1:8765"),
        ({"api_url": "http://localhost:8765/"}, "http://localhost:8765"),
        ({"api_url": "http://[::1]:8765"}, "http://[::1]:8765"),
    ],
)
def test_every_page_comes_from_the_chosen_host_when_a_region_or_url_is_set(
    requests_mock, config, host
):
    pages = [
        {"json": {"paging": {"more": True, "cursor": "next"}, "results": [{"id": "1-one"}]}},
        {"json": {"paging": {"more": False}, "results": [{"id": "1-two"}]}},
    ]
    requests_mock.get(f"{host}/messages", pages)
    output = read(SourceCourier(), {"api_key": "made-up-key", **config}, CATALOG)
    assert [record.record.data["id"] for record in output.records] == ["1-one", "1-two"]
    assert [request.url for request in requests_mock.request_history] == [
        f"{host}/messages?limit=100",
        f"{host}/messages?cursor=next&limit=100",
    ]


@pytest.mark.parametrize(
    ("config", "sentence"),
    [
        ({"api_url": "http://courier-proxy.example.com"}, "api_url: must use https"),
        ({"api_url": "http://10.0.0.7:8765"}, "api_url: must use https"),
        ({"api_url": "http://127.0.0.1.example.com"}, "api_url: must use https"),
        ({"api_url": "ftp://127.0.0.1"}, "api_url: must use https"),
        ({"api_url": "courier-proxy.example.com"}, "api_url: must be a plain base URL"),
        ({"api_url": "https://user:word@proxy.example.com"}, "api_url: must be a plain base URL"),
        ({"api_url": "https://proxy.example.com/?key=1"}, "api_url: must be a plain base URL"),
        ({"api_url": "http://[::1"}, "api_url: "),
        ({"api_url": "https://proxy.example.com:port"}, "api_url: "),
        ({"region": "mars"}, "'mars' is not one of ['us', 'eu']"),
        ({"api_key": ""}, "should be non-empty"),
    ],
)
def test_no_request_is_made_and_a_sentence_helps_when_the_config_is_wrong(
    requests_mock, check, config, sentence
):
    whole = {"api_key": "made-up-key", **config}
    checked = check(SourceCourier(), whole)
    assert result(checked).status is Status.FAILED
    assert sentence in result(checked).message
    output = read(SourceCourier(), whole, CATALOG)
    assert {error.trace.error.failure_type for error in output.errors} == {FailureType.config_error}
    assert requests_mock.call_count == 0


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"start_date": "2021-01-01", "__injected_declarative_manifest": {}},
        {"page_size": 100, "credentials": None},
    ],
)
def test_all_verbs_work_when_the_config_is_one_that_the_retired_connector_saved(
    vendor, check, extra
):
    config = {"api_key": vendor.key, **extra}
    assert result(check(SourceCourier(), config)).status is Status.SUCCEEDED
    streams = discover(SourceCourier(), config).catalog.catalog.streams
    retired = {"messages", "message_info", "message_history", "message_output"}
    assert retired <= {stream.name for stream in streams}
    assert len(read(SourceCourier(), config, CATALOG).records) == 25


def test_the_key_is_masked_in_the_log_when_the_vendor_echoes_it(requests_mock, check):
    requests_mock.get(f"{US}/messages", status_code=401, json={"message": f"bad: {WRONG_KEY}"})
    for output in (
        check(SourceCourier(), {"api_key": WRONG_KEY}),
        read(SourceCourier(), {"api_key": WRONG_KEY}, CATALOG),
    ):
        assert WRONG_KEY not in everything_said(output)


def test_the_form_asks_for_the_key_as_a_secret_and_for_nothing_else():
    form = SourceCourier().spec(None).connectionSpecification
    assert form["required"] == ["api_key"]
    assert form["properties"]["api_key"]["airbyte_secret"] is True
    assert form["additionalProperties"] is True
    secrets = [name for name, field in form["properties"].items() if field.get("airbyte_secret")]
    assert secrets == ["api_key"]
