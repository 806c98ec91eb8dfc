"""What users read after their mistakes: a sentence that says what to do, and exit code 1."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
from airbyte_cdk.models import AirbyteStreamStatus, FailureType, SyncMode
from airbyte_cdk.test.catalog_builder import CatalogBuilder
from airbyte_cdk.test.entrypoint_wrapper import _run_command, discover, read
from airbyte_cdk.test.state_builder import StateBuilder

from fake_vendor import Courier
from source_courier import SourceCourier
from source_kustomer import SourceKustomer

# `make unit` leaves these out.
pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parent.parent
CATALOG = {
    "streams": [
        {
            "stream": {
                "name": "messages",
                "json_schema": {},
                "supported_sync_modes": ["full_refresh"],
            },
            "sync_mode": "full_refresh",
            "destination_sync_mode": "append",
        }
    ]
}
NOT_JSON = {
    "no JSON": (b"api_key: abc", "is not JSON"),
    "half JSON": (b'{"api_key": ', "is not JSON"),
    "empty": (b"", "is empty"),
    "blank": (b" \n", "is empty"),
    "BOM": (b'\xef\xbb\xbf{"api_key": "x"}', "byte order mark"),
    "UTF-16": ('{"api_key": "x"}'.encode("utf-16"), "byte order mark"),
    "no UTF-8": (b'{"api_key": "\xff"}', "is not JSON"),
    "too deep": (b"[" * 5000 + b"]" * 5000, "is not JSON"),
}
NO_OBJECT = {
    "list": (b"[]", "holds a list"),
    "null": (b"null", "holds null"),
    "text": (b'"key"', "holds a text"),
    "number": (b"7", "holds a number"),
    "true": (b"true", "holds true or false"),
}
NO_CATALOG = {
    "empty object": (b"{}", "is not a configured catalog"),
    "list": (b"[]", "is not a configured catalog"),
    "null": (b"null", "is not a configured catalog"),
    "streams no list": (b'{"streams": 7}', "is not a configured catalog"),
    "stream without keys": (b'{"streams": [{}]}', "is not a configured catalog"),
    "what discover prints": (
        json.dumps({"type": "CATALOG", "catalog": CATALOG}).encode(),
        "is not a configured catalog",
    ),
    "unknown mode": (
        json.dumps(CATALOG).replace('"sync_mode": "full', '"sync_mode": "half').encode(),
        "is not a configured catalog",
    ),
}


@pytest.fixture
def run(tmp_path):
    """Run a command with files of these contents. None is a file that does not exist."""

    def run(verb, *, config=b'{"api_key": "made-up-key"}', **files):
        arguments = [verb]
        for name, content in {"config": config, **files}.items():
            path = tmp_path / name
            if content is not None:
                path.write_bytes(content)
            arguments += [f"--{name}", str(path)]
        return _run_command(SourceCourier(), arguments, expecting_exception=True)

    return run


def sentence(output):
    """Return the message of the only error. It must be a config error."""
    (error,) = output.errors
    assert error.trace.error.failure_type is FailureType.config_error
    return error.trace.error.message


@pytest.mark.parametrize("verb", ["check", "discover", "read"])
@pytest.mark.parametrize("kind", [*NOT_JSON, *NO_OBJECT])
def test_a_config_file_that_is_none_is_named_with_what_is_wrong(run, verb, kind):
    content, words = (NOT_JSON | NO_OBJECT)[kind]
    files = {"catalog": json.dumps(CATALOG).encode()} if verb == "read" else {}
    said = sentence(run(verb, config=content, **files))
    assert "config file" in said
    assert words in said


@pytest.mark.parametrize("kind", [*NOT_JSON, *NO_CATALOG])
def test_a_catalog_file_that_is_none_is_named_with_what_is_wrong(run, kind):
    content, words = (NOT_JSON | NO_CATALOG)[kind]
    said = sentence(run("read", catalog=content))
    assert "catalog file" in said
    assert words in said


@pytest.mark.parametrize("kind", NOT_JSON)
def test_a_state_file_that_is_none_is_named_with_what_is_wrong(run, kind):
    content, words = NOT_JSON[kind]
    said = sentence(run("read", catalog=json.dumps(CATALOG).encode(), state=content))
    assert "state file" in said
    assert words in said


@pytest.mark.parametrize("missing", ["config", "catalog", "state"])
def test_a_missing_file_is_named(run, missing):
    files = {"config": b'{"api_key": "made-up-key"}', "catalog": json.dumps(CATALOG).encode()}
    said = sentence(run("read", **(files | {missing: None})))
    assert f"{missing} file" in said
    assert "does not exist" in said


@pytest.mark.parametrize("what", ["config", "catalog"])
def test_a_folder_in_place_of_a_file_is_named(tmp_path, what):
    files = {"config": b'{"api_key": "made-up-key"}', "catalog": json.dumps(CATALOG).encode()}
    arguments = ["read"]
    for name, content in files.items():
        path = tmp_path / name
        path.write_bytes(content) if name != what else path.mkdir()
        arguments += [f"--{name}", str(path)]
    said = sentence(_run_command(SourceCourier(), arguments, expecting_exception=True))
    assert f"The {what} file" in said
    assert "is a folder" in said


@pytest.mark.parametrize("state", [[7], ["x"], [{"stream": 7}], [{"type": "STATE"}], 7])
def test_a_state_that_is_none_is_quoted_in_the_sentence(run, state):
    files = {"catalog": json.dumps(CATALOG).encode(), "state": json.dumps(state).encode()}
    assert "saved state cannot be understood" in sentence(run("read", **files))


# Fields


def status_of(check, source, config):
    (message,) = check(source, config).connection_status_messages
    return message.connectionStatus


@pytest.mark.parametrize(
    "key", ["a", "ab", "abc", 'quote"inside', "quote'inside", "back\\slash", "sk_\\n_key"]
)
def test_a_key_that_is_none_is_refused_by_a_sentence_that_stays_readable(check, key):
    found = status_of(check, SourceCourier(), {"api_key": key})
    assert found.status.name == "FAILED"
    assert found.message.startswith("The configuration is not valid. api_key: ")
    assert len(key) < 4 or key not in found.message


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"subdomain": "a" * 64}, "subdomain"),
        ({"subdomain": "a" * 300}, "subdomain"),
        ({"api_url": "https://proxy.example.com/a b"}, "api_url"),
        ({"api_url": " https://proxy.example.com"}, "api_url"),
        ({"api_url": "https://proxy.example.com/\n"}, "api_url"),
        ({"api_url": "https://\u00fcber.example.com"}, "api_url"),
    ],
)
def test_a_field_that_no_host_can_have_is_named(check, config, field):
    whole = {"api_token": "made-up-key", "start_date": "2024-01-01", **config}
    found = status_of(check, SourceKustomer(), whole)
    assert found.status.name == "FAILED"
    assert field in found.message or str(config[field]) in found.message


def test_a_subdomain_of_63_characters_is_a_host(requests_mock, check):
    answered = requests_mock.post(f"https://{'a' * 63}.api.kustomerapp.com/v1/customers/search",
                                  json={"data": []})  # fmt: skip
    config = {"api_token": "made-up-key", "start_date": "2024-01-01", "subdomain": "a" * 63}
    assert status_of(check, SourceKustomer(), config).status.name == "SUCCEEDED"
    assert answered.called


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
@pytest.mark.parametrize("source", [SourceCourier, SourceKustomer])
def test_a_certificate_bundle_that_is_not_there_is_named(check, monkeypatch, name, source):
    monkeypatch.setenv(name, "/no/such/bundle.pem")
    config = {"api_key": "made-up-key", "api_token": "made-up-key", "start_date": "2024-01-01"}
    found = status_of(check, source(), config)
    assert found.status.name == "FAILED"
    assert name in found.message
    assert "/no/such/bundle.pem" in found.message


@pytest.mark.parametrize(
    ("source", "foreign", "own"),
    [
        (SourceCourier, "https://proxy.example.com", "https://api.eu.courier.com"),
        (SourceCourier, "https://courier.com.example.com", "https://api.courier.com/x"),
        (SourceKustomer, "https://evilkustomerapp.com", "https://acme.api.kustomerapp.com"),
        (SourceKustomer, "http://127.0.0.1:8000", "https://api.prod2.kustomerapp.com"),
    ],
)
def test_only_the_vendor_is_asked_on_airbyte_cloud(
    check, requests_mock, monkeypatch, source, foreign, own
):
    monkeypatch.setenv("DEPLOYMENT_MODE", "cloud")
    config = {"api_key": "made-up-key", "api_token": "made-up-key", "start_date": "2024-01-01"}
    found = status_of(check, source(), config | {"api_url": foreign})
    assert found.status.name == "FAILED"
    assert "on Airbyte Cloud" in found.message
    assert requests_mock.call_count == 0
    assert discover(source(), config | {"api_url": own}).catalog.catalog.streams


DATES = ["2024-01-01", "2024-01-01T00:00:00Z", "2019-01-01T00:00:00Z", "2019-01-01", "0001-01-01"]


@pytest.mark.parametrize("date", DATES)
def test_every_form_of_a_start_date_passes_a_strict_validator(date):
    form = _run_command(SourceKustomer(), ["spec"]).spec_messages[0].spec.connectionSpecification
    jsonschema.Draft7Validator(
        form, format_checker=jsonschema.Draft7Validator.FORMAT_CHECKER
    ).validate({"api_token": "made-up-key", "start_date": date})
    assert "format" not in form["properties"]["start_date"]
    assert all(
        jsonschema.Draft7Validator(form["properties"]["start_date"]).is_valid(example)
        for example in form["properties"]["start_date"]["examples"]
    )


def test_the_first_year_is_sent_with_four_digits(requests_mock):
    searched = requests_mock.post(
        "https://api.kustomerapp.com/v1/customers/archive/search", json={"data": []}
    )
    requests_mock.post("https://api.kustomerapp.com/v1/customers/search", json={"data": []})
    config = {"api_token": "made-up-key", "start_date": "0001-01-01"}
    catalog = CatalogBuilder().with_stream("customers", SyncMode.full_refresh).build()
    assert read(SourceKustomer(), config, catalog).errors == []
    sent = searched.request_history[0].json()["and"]
    assert {"customer_updated_at": {"gte": "0001-01-01T00:00:00.000Z"}} in sent


# A client that keeps states


def test_a_second_read_brings_the_rows_again_when_it_is_handed_the_finished_state(
    requests_mock, answer
):
    vendor = Courier(rows=25)
    answer(requests_mock, "https://api.courier.com", vendor)
    catalog = CatalogBuilder().with_stream("messages", SyncMode.full_refresh).build()
    finished = {"__ab_full_refresh_sync_complete": True}
    first = read(SourceCourier(), {"api_key": vendor.key}, catalog)
    assert first.state_messages[-1].state.stream.stream_state.__dict__ == finished
    vendor.insert()
    state = StateBuilder().with_stream_state("messages", finished).build()
    second = read(SourceCourier(), {"api_key": vendor.key}, catalog, state)
    assert len(second.records) == 26
    assert second.get_stream_statuses("messages")[-1] is AirbyteStreamStatus.COMPLETE


# The process


def start(*arguments, **environment):
    return subprocess.run(
        [sys.executable, str(ROOT / "main_courier.py"), *map(str, arguments)],
        check=False,
        capture_output=True,
        env=os.environ | environment,
        timeout=60,
    )


def messages_of(finished):
    return [json.loads(line) for line in finished.stdout.decode().splitlines()]


def trace_of(finished):
    (trace,) = (one["trace"]["error"] for one in messages_of(finished) if one["type"] == "TRACE")
    return trace


def test_no_command_is_told_with_the_known_ones_and_nothing_on_stdout():
    finished = start()
    assert finished.returncode == 2
    assert finished.stdout == b""
    for name in (b"spec", b"check", b"discover", b"read", b"doctor"):
        assert name in finished.stderr
    assert finished.stderr.endswith(b"error: no command was given\n")


def test_an_unknown_command_is_told_with_the_known_ones():
    finished = start("write")
    assert finished.returncode == 2
    assert finished.stdout == b""
    (line,) = (line for line in finished.stderr.splitlines() if b"error: " in line)
    assert b"'write'" in line
    for name in (b"spec", b"check", b"discover", b"read", b"doctor"):
        assert name in line


def test_a_missing_argument_is_told_with_how_the_command_is_used():
    finished = start("read", "--config", "config.json")
    assert finished.returncode == 2
    assert finished.stdout == b""
    assert b"--config FILE --catalog FILE" in finished.stderr
    assert b"required: --catalog" in finished.stderr


def test_a_missing_file_ends_with_exit_code_1_and_one_trace(tmp_path):
    finished = start("check", "--config", tmp_path / "missing.json")
    assert finished.returncode == 1
    assert finished.stderr == b""
    assert trace_of(finished)["failure_type"] == "config_error"
    assert "does not exist" in trace_of(finished)["message"]


@pytest.mark.parametrize("key", ["a", '"', "type", "message"])
def test_lines_stay_messages_whatever_is_typed_as_a_key(tmp_path, key):
    config, catalog = tmp_path / "config.json", tmp_path / "catalog.json"
    config.write_text(json.dumps({"api_key": key, "api_url": "http://127.0.0.1:9"}))
    catalog.write_text("{}")
    finished = start("read", "--config", config, "--catalog", catalog)
    assert finished.returncode == 1
    assert trace_of(finished)["failure_type"] == "config_error"


def test_no_place_for_temporary_files_is_told_with_the_way_to_make_one(tmp_path):
    program = (
        "import sys, tempfile\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "def nowhere():\n"
        "    raise FileNotFoundError('No usable temporary directory')\n"
        "tempfile.gettempdir = nowhere\n"
        "from main_courier import main\n"
        "main()\n"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program, "spec"], check=False, capture_output=True, timeout=60
    )
    assert finished.returncode == 1
    assert "--tmpfs /tmp" in trace_of(finished)["message"]


def test_a_defect_of_the_connector_is_told_as_one(monkeypatch, requests_mock, answer):
    vendor = Courier(rows=5)
    answer(requests_mock, "https://api.courier.com", vendor)
    monkeypatch.setattr("source_courier.walk.Walk.rows", lambda *_: 1 / 0)
    catalog = CatalogBuilder().with_stream("messages", SyncMode.full_refresh).build()
    output = read(SourceCourier(), {"api_key": vendor.key}, catalog)
    said = output.errors[0].trace.error
    assert said.failure_type is FailureType.system_error
    assert "The connector has a defect" in said.message
    assert "ZeroDivisionError" in said.message
