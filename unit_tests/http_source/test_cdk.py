"""The contract with the CDK: each part of http_source/cdk.py, against the installed CDK.

If a new CDK breaks one of these tests, change http_source/cdk.py and not the code that uses it.
"""

import json
import logging
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import requests
from airbyte_cdk.models import (
    AirbyteStateMessage,
    AirbyteStateMessageSerializer,
    AirbyteStreamStatus,
    FailureType,
    StreamDescriptor,
    SyncMode,
    Type,
)
from airbyte_cdk.sources import AbstractSource
from airbyte_cdk.sources.streams import Stream
from airbyte_cdk.sources.streams.http import HttpStream
from airbyte_cdk.sources.streams.http.error_handlers import (
    BackoffStrategy,
    ErrorResolution,
    HttpStatusErrorHandler,
    ResponseAction,
)
from airbyte_cdk.test.catalog_builder import CatalogBuilder
from airbyte_cdk.utils.airbyte_secrets_utils import filter_secrets
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from http_source import cdk

ROOT = Path(__file__).resolve().parents[2]
URL = "https://vendor.example.com/v1/things"
logger = logging.getLogger("airbyte")


class Plain(Stream):
    """A stream that cannot be resumed. The CDK's own loop reads it."""

    name = "plain"
    primary_key = "id"

    def read_records(self, *_, **__):
        yield {"id": "1"}

    def get_json_schema(self):
        return {"type": "object", "properties": {"id": {"type": "string"}}}


class Source(AbstractSource):
    """A source of plain streams."""

    def __init__(self, *streams):
        self._made = streams

    def check_connection(self, logger, config):
        return True, None

    def streams(self, config):
        return list(self._made)


def read(source, *names, state=None):
    catalog = CatalogBuilder()
    for name in names:
        catalog.with_stream(name, SyncMode.full_refresh)
    return source.read(logger, {}, catalog.build(), state)


def test_a_stream_that_cannot_be_resumed_ends_with_the_state_that_we_write_for_one():
    states = [one.state for one in read(Source(Plain()), "plain") if one.type is Type.STATE]
    assert [dict(state.stream.stream_state.__dict__) for state in states] == [cdk.NO_CURSOR_STATE]


def test_that_state_is_taken_for_none_when_it_is_handed_back():
    told = []

    class Telling(Plain):
        @property
        def state(self):
            return {}

        @state.setter
        def state(self, value):
            told.append(value)

        is_resumable = False

    manager = cdk.ConnectorStateManager([])
    saved = cdk.state_message("plain", cdk.NO_CURSOR_STATE, manager).state
    assert list(read(Source(Telling()), "plain", state=[saved]))
    assert told == [{}]


def test_a_full_refresh_of_the_cdk_ends_with_the_state_that_we_know_by_name(requests_mock):
    class Pages(HttpStream):
        name = "pages"
        url_base = "https://vendor.example.com/v1/"
        primary_key = "id"
        get_json_schema = Plain.get_json_schema

        def path(self, **_):
            return "things"

        def next_page_token(self, response):
            return None

        def parse_response(self, response, **_):
            return response.json()

    requests_mock.get(URL, json=[{"id": "1"}])
    states = [one.state for one in read(Source(Pages()), "pages") if one.type is Type.STATE]
    last = dict(states[-1].stream.stream_state.__dict__)
    assert last == cdk.FULL_REFRESH_COMPLETE


def test_a_state_message_holds_the_state_and_the_manager_remembers_it():
    manager = cdk.ConnectorStateManager([])
    message = cdk.state_message("things", {"updated_at": "2024-01-01"}, manager)
    assert message.type is Type.STATE
    dumped = AirbyteStateMessageSerializer.dump(message.state)
    assert dumped["stream"]["stream_descriptor"] == {"name": "things"}
    assert dumped["stream"]["stream_state"] == {"updated_at": "2024-01-01"}
    assert manager.get_stream_state("things", None) == {"updated_at": "2024-01-01"}
    assert isinstance(message.state, AirbyteStateMessage)


def test_started_is_said_before_a_stream_is_read():
    read_when_started = []

    class Late(Plain):
        def read_records(self, *_, **__):
            read_when_started.append(started)
            yield {"id": "1"}

    started = []
    for message in read(Source(Late()), "plain"):
        if name := cdk.started_stream(message):
            started.append(name)
            assert read_when_started == []
    assert read_when_started == [["plain"]]


def test_no_other_message_is_taken_for_a_start_or_a_failure():
    running = cdk.stream_status(StreamDescriptor(name="x"), AirbyteStreamStatus.RUNNING)
    record = next(m for m in read(Source(Plain()), "plain") if m.type is Type.RECORD)
    for message in (running, record):
        assert cdk.started_stream(message) is None
        assert cdk.failure_of(message) is None


def test_a_failed_stream_is_told_with_its_type_and_the_sync_ends_as_a_config_error():
    class Failing(Plain):
        def read_records(self, *_, **__):
            raise AirbyteTracedException(failure_type=FailureType.transient_error)
            yield

    failures = []

    def listen():
        for message in read(Source(Failing()), "plain"):
            failures.extend([failure] if (failure := cdk.failure_of(message)) else [])

    with pytest.raises(AirbyteTracedException) as raised:
        listen()
    assert failures == [FailureType.transient_error]
    # If this changes, `HttpSource.read` does not need to correct the failure type.
    assert raised.value.failure_type is FailureType.config_error
    cdk.set_failure_type(raised.value, FailureType.transient_error)
    assert raised.value.as_airbyte_message().trace.error.failure_type is failures[0]


def test_an_unknown_stream_is_an_empty_table_unless_the_flag_is_set():
    statuses = [
        one.trace.stream_status.status
        for one in read(Source(Plain()), "unknown")
        if one.trace is not None
    ]
    assert statuses == [AirbyteStreamStatus.INCOMPLETE]

    class Strict(Source):
        raise_exception_on_missing_stream = True

    with pytest.raises(AirbyteTracedException):
        list(read(Strict(Plain()), "unknown"))


class Strategy(BackoffStrategy):
    def __init__(self, seconds):
        self.seconds = seconds

    def backoff_time(self, response_or_exception, attempt_count):
        return self.seconds


class Handler(HttpStatusErrorHandler):
    """Retries every answer that is not good."""

    def __init__(self, judge=None):
        super().__init__(logger, max_retries=2)
        self.judge = judge

    def interpret_response(self, response_or_exception=None):
        if self.judge is not None:
            self.judge(response_or_exception)
        if response_or_exception.status_code == 200:
            return ErrorResolution(ResponseAction.SUCCESS, None, None)
        return ErrorResolution(ResponseAction.RETRY, FailureType.transient_error, "again")


def client(session, handler, strategy):
    return cdk.HttpClient(
        name="things",
        logger=logger,
        error_handler=handler,
        backoff_strategy=strategy,
        session=session,
    )


@pytest.mark.parametrize("seconds", [3.0, cdk.LEAST_WAIT_SECONDS])
def test_the_client_adds_a_second_to_each_wait(requests_mock, waits, seconds):
    requests_mock.get(URL, [{"status_code": 503}, {"text": "{}"}])
    client(requests.Session(), Handler(), Strategy(seconds)).send_request("GET", URL, {})
    assert waits == [seconds + cdk.WAIT_ADDED_SECONDS]


def test_the_client_takes_a_wait_of_nothing_for_no_opinion(requests_mock, waits):
    requests_mock.get(URL, [{"status_code": 503}, {"text": "{}"}])
    client(requests.Session(), Handler(), Strategy(0.0)).send_request("GET", URL, {})
    assert waits == [1]  # from the CDK's own exponential rule


def test_the_client_asks_the_handler_about_each_answer_before_it_reads_the_body(requests_mock):
    """So the handler may read the body as a stream, and its errors end the request."""
    requests_mock.get(URL, text="made up")
    read_before = []

    class TooLargeError(Exception):
        pass

    def judge(response):
        read_before.append(response._content_consumed)
        raise TooLargeError

    with pytest.raises(TooLargeError):
        client(requests.Session(), Handler(judge), Strategy(1.0)).send_request(
            "GET", URL, {"stream": True}
        )
    assert read_before == [False]


def test_the_client_uses_the_session_that_it_is_given(requests_mock):
    requests_mock.get(URL, text="{}")
    session = requests.Session()
    session.auth = None
    session.headers["X-Ours"] = "yes"
    for _ in range(2):
        _, response = client(session, Handler(), Strategy(1.0)).send_request("GET", URL, {})
        assert response.request.headers["X-Ours"] == "yes"


def test_a_limiter_session_asks_the_budget_before_and_tells_it_after_each_request(requests_mock):
    asked = []

    class Budget(cdk.APIBudget):
        def __init__(self):
            super().__init__(policies=[])

        def acquire_call(self, request, block=True, timeout=None):
            asked.append(("acquire", id(request)))

        def update_from_response(self, request, response):
            asked.append((response.status_code, id(request)))

    requests_mock.get(URL, [{"status_code": 503}, {"text": "{}"}])
    session = cdk.LimiterSession(Budget())
    client(session, Handler(), Strategy(1.0)).send_request("GET", URL, {})
    request = asked[0][1]
    assert asked == [("acquire", request), (503, request), ("acquire", request), (200, request)]


def test_secrets_are_masked_once_they_are_added():
    cdk.update_secrets([])
    cdk.add_to_secrets("made-up-secret")
    assert "made-up-secret" not in filter_secrets("it is made-up-secret")
    cdk.update_secrets([])


@pytest.mark.parametrize(("mode", "is_cloud"), [("cloud", True), ("oss", False)])
def test_the_cloud_is_told_by_the_deployment_mode(monkeypatch, mode, is_cloud):
    monkeypatch.setenv("DEPLOYMENT_MODE", mode)
    assert cdk.is_cloud_environment() is is_cloud


PRINTS = """
import io, logging, sys, time
import requests
import requests_mock
from airbyte_cdk.logger import init_logger
from airbyte_cdk.sources.streams.http.error_handlers import HttpStatusErrorHandler
from http_source import cdk

time.sleep = lambda _: None
logger = init_logger("airbyte")
output = io.StringIO()
cdk.send_prints_to(output)
logger.error("a line of the log")
with requests_mock.Mocker() as wire:
    wire.get("https://vendor.example.com", [{"status_code": 429}, {"text": "{}"}])
    handler = HttpStatusErrorHandler(logger)
    client = cdk.HttpClient("things", logger, handler, session=requests.Session())
    client.send_request("GET", "https://vendor.example.com", {})
sys.stderr.write(output.getvalue())
"""


def test_what_the_cdk_prints_and_logs_goes_where_it_is_sent():
    """It runs in its own process, because pytest has handlers on the same loggers."""
    run = subprocess.run(
        [sys.executable, "-c", PRINTS], check=True, capture_output=True, text=True, cwd=ROOT
    )
    assert run.stdout == ""
    lines = [json.loads(line) for line in run.stderr.splitlines()]
    assert lines[0]["log"]["message"] == "a line of the log"
    statuses = [line["trace"]["stream_status"] for line in lines if line["type"] == "TRACE"]
    assert statuses[0]["stream_descriptor"]["name"] == "things"
    assert statuses[0]["reasons"][0]["type"] == "RATE_LIMITED"


def test_one_session_serves_many_threads(requests_mock):
    requests_mock.get(URL, text="{}")
    session = requests.Session()
    failed = []

    def ask():
        try:
            client(session, Handler(), Strategy(1.0)).send_request("GET", URL, {})
        except Exception as error:  # noqa: BLE001 - every error counts
            failed.append(error)

    threads = [threading.Thread(target=ask) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert requests_mock.call_count == 16
