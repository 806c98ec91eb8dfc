"""The entry point of the Kustomer source: check, hosts, configs, and a key that stays secret."""

import json

import pytest
import requests
from airbyte_cdk.models import AirbyteStreamStatus, FailureType, Status
from airbyte_cdk.test import entrypoint_wrapper

from fake_vendor.data import EVENT_KINDS, LIST_KINDS, PLURALS, SETTING_KINDS
from source_kustomer import SourceKustomer

US = "https://api.kustomerapp.com"
HOSTS = [
    ({}, US),
    ({"region": "us"}, US),
    ({"region": "eu"}, "https://api.prod2.kustomerapp.com"),
    ({"region": "in"}, "https://api.prod4.kustomerapp.com"),
    ({"subdomain": "acme"}, "https://acme.api.kustomerapp.com"),
    ({"subdomain": "Acme-2"}, "https://acme-2.api.kustomerapp.com"),
    ({"subdomain": "acme", "region": "eu"}, "https://acme.api.kustomerapp.com"),
    ({"subdomain": "", "region": "eu"}, "https://api.prod2.kustomerapp.com"),
    ({"api_url": "https://proxy.example.com/kustomer/"}, "https://proxy.example.com/kustomer"),
    ({"api_url": "http://127.0.0.1:8765"}, "http://127.0.0.1:8765"),
    ({"api_url": "http://localhost:8765"}, "http://localhost:8765"),
    ({"api_url": "http://[::1]:8765", "subdomain": "acme"}, "http://[::1]:8765"),
]
WRONG_KEY = "eyJ.made.up-000111222"
SEARCH_ROLE = "org.permission.search.create"
STREAMS = {
    "conversations",
    "customers",
    "kobjects",
    "messages",
    "notes",
    "shortcuts",
    "tags",
    "teams",
    "users",
}
GUARDED = {"companies", "conversation_times", "work_items", "work_sessions"}
SETTINGS = {
    "brands",
    "kb_articles",
    "kb_categories",
    "klasses",
    "queues",
    "role_groups",
    "routing_statuses",
    "satisfaction_forms",
    "snoozes",
    "sub_statuses",
    "team_routing_settings",
    "slas",
    "sla_versions",
    "schedules",
    "holidays",
    "custom_attributes",
}


def config(token="kustomer-demo-token", **more):
    return {"api_token": token, "start_date": "2025-01-01"} | more


def result(output):
    (message,) = output.connection_status_messages
    return message.connectionStatus


def everything_said(output):
    return "\n".join(str(message) for message in output.get_message_iterator())


# Check


def test_check_succeeds_with_one_request_when_the_key_is_right(org, check):
    vendor = org(30, list_rows=30)
    output = check(SourceKustomer(), config(vendor.token))
    assert result(output).status is Status.SUCCEEDED
    (entry,) = vendor.journal.entries
    assert (entry.endpoint, entry.rows) == ("search", 1)


def test_check_succeeds_when_the_org_is_empty(org, check):
    assert result(check(SourceKustomer(), config(org().token))).status is Status.SUCCEEDED


@pytest.mark.parametrize("shape", ["plain", "jsonapi"])
@pytest.mark.parametrize(
    ("switches", "token", "words"),
    [
        ({}, WRONG_KEY, ["key is wrong", "Settings > Security > API Keys"]),
        ({"expired": True}, None, ["has expired", "Settings > Security > API Keys"]),
        ({"wrong_pod": True}, None, ["region", "subdomain"]),
        ({"search_refusal": 401}, None, [SEARCH_ROLE, "accepts this API key"]),
        ({"search_refusal": 403}, None, [SEARCH_ROLE, "accepts this API key"]),
    ],
    ids=["wrong key", "expired key", "wrong region", "no role (401)", "no role (403)"],
)
def test_check_fails_with_help_and_without_the_key_when_it_is_refused(
    org, check, switches, token, words, shape
):
    vendor = org(30, error_shape=shape, **switches)
    output = check(SourceKustomer(), config(token or vendor.token))
    assert result(output).status is Status.FAILED
    for word in words:
        assert word in result(output).message
    assert (token or vendor.token) not in everything_said(output)
    assert len(vendor.journal.entries) <= 2


@pytest.mark.parametrize(
    "failure",
    [
        {"exc": requests.exceptions.ConnectionError("Name or service not known")},
        {"exc": requests.exceptions.SSLError("certificate verify failed")},
        {"exc": requests.exceptions.ConnectTimeout("timed out")},
        {"exc": requests.exceptions.ProxyError("no proxy")},
        {"status_code": 429},
        {"status_code": 503},
        {"status_code": 302, "headers": {"Location": "https://login.example.com"}},
        {"text": "<html>Sign in to the hotel's network</html>"},
        {"json": {"hello": "I am another API"}},
        {"status_code": 404, "json": {"message": "no such path"}},
    ],
)
def test_check_fails_soon_and_names_the_host_when_the_vendor_cannot_be_asked(
    requests_mock, check, waits, failure
):
    host = "https://acme.api.kustomerapp.com"
    requests_mock.register_uri("POST", f"{host}/v1/customers/search", **failure)
    requests_mock.get(f"{host}/v1/auth/tokens/current", **failure)
    output = check(SourceKustomer(), config(WRONG_KEY, subdomain="acme"))
    assert result(output).status is Status.FAILED
    assert host in result(output).message
    assert "network" in result(output).message
    assert WRONG_KEY not in everything_said(output)
    assert sum(waits) <= 30


@pytest.mark.parametrize(
    "failure",
    [
        {"exc": requests.exceptions.ReadTimeout("timed out")},
        {"status_code": 429},
        {"status_code": 503},
        {"json": {"meta": {"timed_out": True}, "data": []}},
        {"json": {"hello": "I am another API"}},
    ],
)
def test_check_does_not_blame_the_key_when_only_the_search_is_down(
    org, check, requests_mock, failure
):
    vendor = org(30)
    requests_mock.post(f"{US}/v1/customers/search", **failure)
    output = check(SourceKustomer(), config(vendor.token))
    assert result(output).status is Status.FAILED
    assert SEARCH_ROLE not in result(output).message
    assert US in result(output).message


# Hosts


@pytest.mark.parametrize(("fields", "host"), HOSTS)
def test_requests_go_to_the_host_when_the_config_names_one(
    org, check, sync, requests_mock, fields, host
):
    vendor = org({"note": 30}, host=host, list_rows={"tag": 30})
    if host.endswith("/kustomer"):
        handled = vendor.handle
        vendor.handle = lambda request: handled(_below("/kustomer", request))
    assert result(check(SourceKustomer(), config(**fields))).status is Status.SUCCEEDED
    synced = sync(vendor, "notes", "tags", **fields)
    assert len(synced.ids("notes")) == len(synced.ids("tags")) == 30
    asked = {request.url.partition("/v1/")[0] for request in requests_mock.request_history}
    assert asked == {host}


def _below(prefix, request):
    object.__setattr__(request, "path", request.path.removeprefix(prefix))
    return request


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"api_url": "http://proxy.example.com"}, "api_url"),
        ({"api_url": "http://127.0.0.1.example.com"}, "api_url"),
        ({"api_url": "http://192.168.0.1"}, "api_url"),
        ({"api_url": "ftp://127.0.0.1"}, "api_url"),
        ({"api_url": "https://user:secret-word@proxy.example.com"}, "api_url"),
        ({"api_url": "https://proxy.example.com?to=x"}, "api_url"),
        ({"api_url": "https://"}, "api_url"),
        ({"api_url": "proxy.example.com"}, "api_url"),
        ({"subdomain": "https://acme.kustomerapp.com"}, "subdomain"),
        ({"subdomain": "acme.kustomerapp.com"}, "subdomain"),
        ({"subdomain": "evil.example.com/"}, "subdomain"),
        ({"subdomain": "-acme"}, "subdomain"),
        ({"region": "mars"}, "region"),
        ({"start_date": "yesterday"}, "start_date"),
        ({"start_date": ""}, "start_date"),
        ({"start_date": "2024-02-30"}, "start_date"),
        ({"start_date": "2024-1-1"}, "start_date"),
        ({"start_date": "01/02/2024"}, "start_date"),
        ({"start_date": "2024-01-01T25:00:00Z"}, "start_date"),
        ({"start_date": "2026-06-02"}, "start_date"),
        ({"start_date": "9999-01-01T00:00:00Z"}, "start_date"),
        ({"start_date": 2024}, "start_date"),
        ({"start_date": None}, "start_date"),
        ({"api_token": ""}, "api_token"),
        ({"api_token": None}, "api_token"),
        ({"include_archived": "sometimes"}, "include_archived"),
    ],
    ids=str,
)
def test_check_and_read_fail_as_config_errors_and_ask_nobody_when_the_config_is_wrong(
    org, check, sync, requests_mock, fields, word
):
    vendor = org(5)
    checked = check(SourceKustomer(), config(WRONG_KEY) | fields)
    assert result(checked).status is Status.FAILED
    synced = sync(vendor, "notes", **({"api_token": WRONG_KEY} | fields))
    assert synced.failures == {FailureType.config_error}
    assert requests_mock.call_count == 0
    for said in (everything_said(checked), synced.everything_said):
        assert WRONG_KEY not in said
        assert "secret-word" not in said
    message = synced.output.errors[-1].trace.error.message
    assert word in result(checked).message or str(fields[word]) in result(checked).message
    assert word in message or str(fields[word]) in message


@pytest.mark.parametrize("missing", ["api_token", "start_date"])
def test_check_fails_and_names_the_field_when_it_is_missing(check, missing):
    given = {name: value for name, value in config().items() if name != missing}
    output = check(SourceKustomer(), given)
    assert result(output).status is Status.FAILED
    assert missing in result(output).message


@pytest.mark.parametrize(
    "start_date",
    ["2026-03-01", "2026-03-01T00:00:00Z", "2026-03-01T00:00:00.000Z", "2026-03-01 00:00:00",
     "2026-03-01T00:00:00+00:00", "2026-03-01T02:00:00+0200"],
)  # fmt: skip
def test_reading_begins_at_the_start_date_when_it_is_spelled_in_any_way(org, sync, start_date):
    vendor = org({"note": 60}, list_rows={"tag": 60})
    synced = sync(vendor, "notes", "tags", start_date=start_date)
    for stream, kind in (("notes", "note"), ("tags", "tag")):
        young = [one.id for one in vendor.records(kind) if one.updated_at >= "2026-03-01"]
        assert 0 < len(young) < 60
        assert sorted(synced.ids(stream)) == sorted(young)


@pytest.mark.parametrize(
    "saved",
    [
        {"start_date": "2025-01-01T00:00:00Z"},
        {
            "start_date": "2025-01-01T00:00:00Z",
            "user-agent": "someone@example.com",
            "date_window_size": "60",
            "page_size_limit": 100,
        },
        {
            "start_date": "2025-01-01T00:00:00Z",
            "user_agent": "someone@example.com",
            "date_window_size": 30,
            "page_size_limit": "500",
        },
    ],
    ids=["0.1.1 and 0.1.2", "0.1.0", "of the tap"],
)
def test_a_config_of_the_retired_connector_works_when_it_is_used_unchanged(org, check, sync, saved):
    vendor = org({"note": 30}, list_rows={"tag": 30})
    unchanged = {"api_token": vendor.token} | saved
    assert result(check(SourceKustomer(), unchanged)).status is Status.SUCCEEDED
    synced = sync(vendor, "notes", "tags", **unchanged)
    assert len(synced.ids("notes")) == len(synced.ids("tags")) == 30


# Reading with a key that is refused


@pytest.mark.parametrize(
    ("switches", "token"),
    [({}, WRONG_KEY), ({"expired": True}, None), ({"wrong_pod": True}, None)],
    ids=["wrong", "expired", "of another region"],
)
def test_read_is_a_config_error_without_the_key_when_the_key_is_refused(
    org, sync, waits, switches, token
):
    vendor = org(30, list_rows=30, **switches)
    synced = sync(vendor, *sorted(STREAMS), api_token=token or vendor.token)
    assert synced.failures == {FailureType.config_error}
    for stream in STREAMS:
        assert synced.status(stream) is AirbyteStreamStatus.INCOMPLETE
        assert synced.rows(stream) == synced.states(stream) == []
    assert (token or vendor.token) not in synced.everything_said
    assert list(waits) == []


def test_lists_are_read_when_only_the_right_to_search_is_missing(org, sync):
    vendor = org(30, list_rows=30, search_refusal=403)
    synced = sync(vendor, "notes", "tags", "users")
    assert synced.failures == {FailureType.config_error}
    assert SEARCH_ROLE in synced.failure("notes")
    assert len(synced.ids("tags")) == len(synced.ids("users")) == 30


# Spec and discover


def test_discover_offers_every_stream_in_its_modes_when_asked(requests_mock):
    output = entrypoint_wrapper.discover(SourceKustomer(), config())
    found = {stream.name: stream for stream in output.catalog.catalog.streams}
    assert set(found) == STREAMS | GUARDED | SETTINGS | {"attachments", "audit_logs"}
    for name in SETTINGS:
        assert [mode.value for mode in found[name].supported_sync_modes] == ["full_refresh"]
    for stream in map(found.get, STREAMS):
        modes = {mode.value for mode in stream.supported_sync_modes}
        assert modes == {"full_refresh", "incremental"}
        assert stream.default_cursor_field == ["updated_at"]
        assert stream.source_defined_primary_key == [["id"]]
    assert requests_mock.call_count == 0


def test_the_form_can_be_shown_by_airbyte_when_the_spec_is_asked_for():
    output = entrypoint_wrapper._run_command(SourceKustomer(), ["spec"])
    (message,) = output.spec_messages
    form = message.spec.connectionSpecification
    for keyword in ("anyOf", "allOf", "$defs", "$ref"):
        assert keyword not in json.dumps(form)
    assert form["required"] == ["api_token", "start_date"]
    assert form["additionalProperties"] is True
    secret = [name for name, field in form["properties"].items() if field.get("airbyte_secret")]
    assert secret == ["api_token"]
    orders = [field["order"] for field in form["properties"].values()]
    assert orders == sorted(set(orders))
    assert all(field["title"] and field["description"] for field in form["properties"].values())


# A missing role

# Which streams an endpoint serves, where it is not the table of its own name alone.
SERVES = {
    "conversation_attachment": {"attachments"},
    "klass": {"klasses", "custom_attributes"},
    "metadata": {"custom_attributes"},
    "sla": {"slas", "sla_versions"},
    "schedule": {"schedules", "holidays"},
    "one_schedule": {"holidays"},
}
REFUSABLE = sorted({*LIST_KINDS, *SETTING_KINDS, *EVENT_KINDS, *SERVES})


@pytest.mark.parametrize("endpoint", REFUSABLE)
def test_a_missing_role_disables_its_streams_and_no_other(org, sync, endpoint):
    vendor = org(20, list_rows=5, setting_rows=3, child_rows=9, event_rows=5, refused=(endpoint,))
    streams = {stream.name: stream for stream in SourceKustomer.stream_classes}
    synced = sync(vendor, *streams, mode="full_refresh")
    failed = {name for name in streams if synced.status(name) is AirbyteStreamStatus.INCOMPLETE}
    assert failed == SERVES.get(endpoint, {PLURALS.get(endpoint)})
    complete = {name for name in streams if synced.status(name) is AirbyteStreamStatus.COMPLETE}
    assert failed | complete == set(streams)
    assert synced.failures == {FailureType.config_error}
    role = streams["klasses" if endpoint == "klass" else min(failed)].role
    for name in failed:
        assert f"lacks the role {role}" in synced.failure(name)
