"""What a vendor may do that no document excludes. Each case once lost, doubled or blocked rows."""

from datetime import UTC, datetime, timedelta

import pytest
from airbyte_cdk.models import FailureType, SyncMode

from fake_vendor.wire import json_reply
from source_courier.children import ChildStream
from source_courier.lists import CourierListStream
from source_courier.masking import MASK
from source_courier.newest_first import NewestFirstStream
from source_courier.streams import STREAMS
from unit_tests.courier.conftest import HOST

DAY_MS = 86_400_000
INCREMENTAL = SyncMode.incremental


def ids(output, stream="messages"):
    return [row["id"] for row in output.rows(stream)]


def ago(vendor, **time):
    return datetime.fromtimestamp(vendor.clock.ms() / 1000, tz=UTC) - timedelta(**time)


class Bound:
    """A vendor whose cursors are bound to the other parameters of their request."""

    def __init__(self, vendor, other):
        self.vendor, self.other, self.clock = vendor, other, vendor.clock
        self.asked = {}

    def handle(self, request):
        """Answer one request. A cursor of other parameters is refused, or means the top."""
        params = dict(request.params)
        cursor = params.pop("cursor", None)
        if cursor is not None and self.asked.get(cursor, params) != params:
            if self.other == "refused":
                return json_reply(400, {"message": "made-up refusal"})
            del request.params["cursor"]
        reply = self.vendor.handle(request)
        if reply.status == 200:
            self.asked[reply.json()["paging"].get("cursor")] = params
        return reply


@pytest.mark.parametrize("other", ["refused", "from the top"])
@pytest.mark.parametrize("walks", [1, 4])
@pytest.mark.parametrize("days", [1, 3, 15])
def test_cursors_may_be_bound_to_the_filter(
    workspace, sync, requests_mock, answer, other, walks, days
):
    vendor = workspace(rows=300, built_cursor="honoured")
    answer(requests_mock, HOST, Bound(vendor, other))
    newest = vendor.messages()[-1].enqueued_ms
    output = sync(
        vendor,
        "messages",
        mode=INCREMENTAL,
        states={"messages": {"enqueued": newest}},
        lookback_days=days,
        parallel_walks=walks,
    )
    bound = newest - days * DAY_MS
    assert output.is_complete("messages"), output.errors("messages")
    assert sorted(ids(output)) == sorted(
        one.id for one in vendor.messages() if one.enqueued_ms >= bound
    )


def test_a_row_that_arrives_before_the_last_page_is_proved_does_not_cost_the_whole_list(
    workspace, sync, requests_mock, answer
):
    vendor = workspace(rows=400, years=0.5)

    class Arriving:
        clock = vendor.clock

        def handle(self, request):
            vendor.insert()
            return vendor.handle(request)

    answer(requests_mock, HOST, Arriving())
    newest = vendor.messages()[-1].enqueued_ms
    state = {"messages": {"enqueued": newest}}
    output = sync(vendor, "messages", mode=INCREMENTAL, states=state, lookback_days=1)
    assert output.is_complete("messages")
    assert len(vendor.journal.entries) <= 8
    assert len(set(ids(output))) == len(ids(output))


def test_one_refused_cursor_of_several_begins_the_walk_anew(workspace, sync, requests_mock, answer):
    vendor = workspace(rows=400, built_cursor="honoured")
    vendor.switch(faults=[{"kind": "500", "at": tuple(range(40, 999))}])
    died = sync(vendor, "messages")
    several = [one for one in died.states("messages") if len(one.get("segments", ())) > 1]
    saved = several[-1]
    vendor.switch(faults=())
    for part in saved["segments"]:

        class Refusing:
            clock = vendor.clock
            is_refusing = True

            def handle(self, request, cursor=part["cursor"]):
                is_it = request.params.get("cursor") == cursor
                if is_it and self.is_refusing:
                    self.is_refusing = "limit" in request.params
                    return json_reply(400, {"message": "made-up refusal"})
                return vendor.handle(request)

        answer(requests_mock, HOST, Refusing())
        rest = sync(vendor, "messages", states={"messages": saved})
        assert rest.is_complete("messages"), rest.errors("messages")
        assert set(ids(died)) | set(ids(rest)) == {one.id for one in vendor.messages()}


LISTS = [one for one in STREAMS if issubclass(one, CourierListStream | NewestFirstStream)]
CHILDREN = [one for one in STREAMS if issubclass(one, ChildStream)]


@pytest.mark.parametrize("stream", [*LISTS, *CHILDREN], ids=lambda stream: stream.name)
def test_a_cursor_may_include_the_row_that_it_names(workspace, sync, stream):
    vendor = workspace(rows=60, page_size=4, cursor_row="inclusive")
    output = sync(vendor, stream.name)
    assert output.is_complete(stream.name), output.errors(stream.name)

    def keys(rows):
        return sorted(tuple(row[name] for name in stream.key) for row in rows)

    assert keys(output.rows(stream.name)) == keys(vendor.rows(stream.name))


# Archived messages.


def test_archived_messages_come_when_nothing_else_is_in_the_lookback(workspace, sync):
    vendor = workspace(rows=60)
    newest = vendor.messages()[-1].enqueued_ms
    for message in vendor.messages():
        if message.enqueued_ms >= newest - 5 * DAY_MS:
            vendor.archive(message.id)
    state = {"messages": {"enqueued": newest}}
    output = sync(vendor, "messages", mode=INCREMENTAL, states=state, include_archived=True)
    assert output.is_complete("messages"), output.errors("messages")
    assert output.rows("messages")


def test_a_message_that_arrives_during_the_stream_before_is_not_missed(
    workspace, sync, requests_mock, answer
):
    vendor = workspace(rows=60)

    class Arriving:
        clock = vendor.clock

        def handle(self, request):
            vendor.insert()
            return vendor.handle(request)

    answer(requests_mock, HOST, Arriving())
    output = sync(vendor, "brands", "messages", include_archived=True)
    assert output.is_complete("messages"), output.errors("messages")


# Runs.

RUNS = ["journey_runs", "automation_runs"]


class Filtering:
    """A vendor that reads the bounds of runs in its own way."""

    def __init__(self, vendor, edit):
        self.vendor, self.edit, self.clock = vendor, edit, vendor.clock

    def handle(self, request):
        """Answer one request."""
        if "start_date" in request.params:
            self.edit(request.params)
        return self.vendor.handle(request)


def as_dates(params):
    """Cut the time off each bound."""
    for name in ("start_date", "end_date"):
        if name in params:
            params[name] = params[name][:10]


@pytest.mark.parametrize("stream", RUNS)
def test_bounds_of_runs_may_be_read_as_dates(workspace, sync, requests_mock, answer, stream):
    vendor = workspace(tables={stream: 300})
    answer(requests_mock, HOST, Filtering(vendor, as_dates))
    output = sync(vendor, stream, mode=INCREMENTAL)
    dated = [row["run_id"] for row in vendor.rows(stream) if row.get("created_at")]
    assert sorted(row["run_id"] for row in output.rows(stream)) == sorted(dated)


@pytest.mark.parametrize("stream", RUNS)
def test_runs_without_a_moment_come_once_if_every_window_shows_them(
    workspace, sync, requests_mock, answer, stream
):
    vendor = workspace(tables={stream: 100})
    undated = {"run_id": "made-up-run", "status": "PROCESSED"}

    class Showing:
        clock = vendor.clock

        def handle(self, request):
            reply = vendor.handle(request)
            body = reply.json()
            if "start_date" in request.params and reply.status == 200:
                body["runs"] = [undated, *body["runs"]]
            return json_reply(reply.status, body)

    answer(requests_mock, HOST, Showing())
    output = sync(vendor, stream, mode=INCREMENTAL)
    found = [row["run_id"] for row in output.rows(stream)]
    assert found.count("made-up-run") == 1
    assert len(found) == len(set(found))


@pytest.mark.parametrize("hours", [-4, 4])
@pytest.mark.parametrize("stream", RUNS)
def test_the_state_of_runs_is_not_ahead_of_the_vendor(workspace, sync, stream, hours):
    vendor = workspace(clock_skew_seconds=hours * 3600)
    output = sync(vendor, stream, mode=INCREMENTAL, runs_lookback_days=0)
    told = ago(vendor, hours=-min(0, hours), seconds=-2)
    assert output.states(stream)[-1]["created_at"] <= told.isoformat()


@pytest.mark.parametrize("runs_filter", ["refused", "ignored", "honoured"])
@pytest.mark.parametrize("fail_at", [8, 40])
@pytest.mark.parametrize("stream", RUNS)
def test_open_runs_are_not_forgotten_when_a_read_is_interrupted(
    workspace, sync, stream, runs_filter, fail_at
):
    steps = stream.replace("runs", "run_steps")
    vendor = workspace(tables={stream: 80}, runs_filter=runs_filter)
    for hours in range(1, 100, 9):
        created = ago(vendor, hours=hours).isoformat()
        vendor.add(stream, created_at=created, status="WAITING")
    vendor.switch(faults=[{"kind": "500", "at": tuple(range(fail_at, 999))}])
    died = sync(vendor, steps, mode=INCREMENTAL)
    states = {steps: died.states(steps)[-1]} if died.states(steps) else {}
    vendor.switch(faults=())
    states = {steps: sync(vendor, steps, mode=INCREMENTAL, states=states).states(steps)[-1]}
    changed = set()
    for row in vendor.rows(stream):
        is_recent = row.get("created_at", "") >= ago(vendor, days=5).isoformat()
        if is_recent and row["status"] in ("WAITING", "PROCESSING"):
            changed.add(row["run_id"])
            vendor.change(stream, row["run_id"], status="PROCESSED")
    vendor.journal.clear()
    sync(vendor, steps, mode=INCREMENTAL, states=states)
    asked = {e.path.split("/")[3] for e in vendor.journal.entries if e.path.endswith("/steps")}
    assert changed <= asked


# States, dates and rows that nobody should send.


@pytest.mark.parametrize(
    "state",
    [
        {"enqueued": 10**18},
        {"enqueued": -(10**18)},
        {"walk": {"bound": "soon", "segments": [{"cursor": "x"}]}},
        {"walk": {"segments": []}},
        {"walk": {"segments": [{"cursor": 7}]}},
        {"walk": {"segments": [{"cursor": "x", "until": [["a"]]}]}},
    ],
)
@pytest.mark.parametrize("stream", ["messages", "message_info"])
def test_a_state_that_cannot_be_understood_is_a_config_error(workspace, sync, stream, state):
    output = sync(workspace(), stream, mode=INCREMENTAL, states={stream: state})
    ((failure, message),) = output.errors(stream)
    assert failure is FailureType.config_error
    assert "cannot be understood" in message


@pytest.mark.parametrize("stream", ["messages", "journey_runs", "preference_logs"])
def test_a_state_of_the_future_hides_no_row(workspace, sync, stream):
    cursor = {"messages": "enqueued", "journey_runs": "created_at"}.get(stream, "timestamp")
    future = 4_102_444_800_000 if cursor == "enqueued" else "2100-01-01T00:00:00Z"
    vendor = workspace()
    vendor.insert()
    output = sync(vendor, stream, mode=INCREMENTAL, states={stream: {cursor: future}})
    assert output.is_complete(stream)
    written = output.states(stream)[-1][cursor]
    assert written < future


@pytest.mark.parametrize("start", ["0001-01-01", "1969-12-31", "1970-01-01T00:00:00Z"])
@pytest.mark.parametrize("stream", ["messages", "journey_runs", "message_info"])
def test_a_start_date_long_ago_reads_everything(workspace, sync, stream, start):
    vendor = workspace()
    output = sync(vendor, stream, start_date=start)
    assert output.is_complete(stream), output.errors(stream)
    assert len(output.rows(stream)) == len(vendor.rows(stream))


@pytest.mark.parametrize("ident", [".", ".."])
def test_an_id_that_no_path_can_hold_is_an_error(workspace, sync, ident):
    vendor = workspace()
    vendor.add("tenants", id=ident)
    output = sync(vendor, "tenant_users")
    ((failure, message),) = output.errors("tenant_users")
    assert failure is FailureType.system_error
    assert "no path can hold" in message


def test_credentials_in_the_answers_of_providers_are_masked(workspace, sync, requests_mock, answer):
    vendor = workspace(rows=3)
    secret = "made-up-credential"
    attempt = {"providerResponse": {"headers": {"Authorization": secret, "X-Api-Key": secret}}}
    event = {
        "type": "PROFILE_LOADED",
        "ts": 1,
        "profile": f'{{"slack": {{"access_token": "{secret}"}}}}',
        "reference": {"authorization": secret},
        "data": {"password": secret},
    }

    class Telling:
        clock = vendor.clock

        def handle(self, request):
            reply = vendor.handle(request)
            body = reply.json()
            if request.path.endswith("/history"):
                body = {"results": [event]}
            elif request.path.startswith("/messages/"):
                body["providers"] = [attempt]
            return json_reply(reply.status, body)

    answer(requests_mock, HOST, Telling())
    output = sync(vendor, "message_info", "message_history")
    assert len(output.rows("message_info")) == len(output.rows("message_history")) == 3
    assert secret not in str(output.output.records)
    assert MASK in str(output.rows("message_history"))
