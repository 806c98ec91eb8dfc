"""Incremental syncs: what changed within the look-back, whatever the filters of the vendor do."""

from datetime import UTC, datetime, timedelta

import pytest
from airbyte_cdk.models import FailureType, SyncMode

from fake_vendor.wire import json_reply
from unit_tests.courier.conftest import HOST

DAY_MS = 86_400_000
FORMS = ["honoured", "ignored", "ms_only", "iso_only", "refused", "empty"]
CHILDREN = ["message_info", "message_history", "message_output"]


def ids(output, stream="messages", key="id"):
    return [row[key] for row in output.rows(stream)]


def ago(vendor, **time):
    return datetime.fromtimestamp(vendor.clock.ms() / 1000, tz=UTC) - timedelta(**time)


def since(vendor, **time):
    """The IDs of the messages enqueued at or after a time before now."""
    bound = int(ago(vendor, **time).timestamp() * 1000)
    return [one.id for one in reversed(vendor.messages()) if one.enqueued_ms >= bound]


@pytest.fixture
def increment(sync):
    """An incremental sync, and the states to go on from: `increment(vendor, "messages")`."""

    def increment(vendor, *streams, states=None, **config):
        output = sync(vendor, *streams, mode=SyncMode.incremental, states=states, **config)
        return output, {name: output.states(name)[-1] for name in streams if output.states(name)}

    return increment


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("walks", [1, 4])
def test_the_second_sync_reads_the_lookback_and_what_is_new(workspace, increment, form, walks):
    vendor = workspace(rows=300, enqueued_after=form, built_cursor="honoured")
    first, states = increment(vendor, "messages", parallel_walks=walks)
    assert sorted(ids(first)) == sorted(one.id for one in vendor.messages())
    newest = vendor.messages()[-1].enqueued_ms
    assert states["messages"] == {"enqueued": newest}

    new = vendor.insert()
    second, states = increment(vendor, "messages", states=states, parallel_walks=walks)
    bound = newest - 3 * DAY_MS
    wanted = [one.id for one in vendor.messages() if one.enqueued_ms >= bound]
    assert sorted(ids(second)) == sorted(wanted)
    # The vendor tells its time in whole seconds.
    assert newest < states["messages"]["enqueued"] <= new.enqueued_ms
    assert second.is_complete("messages")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rows", [0, 1, 10, 11])
def test_a_workspace_with_few_rows_or_none(workspace, increment, form, rows):
    vendor = workspace(rows=rows, enqueued_after=form)
    output, states = increment(vendor, "messages", start_date="2020-01-01")
    assert len(ids(output)) == rows
    assert output.is_complete("messages")
    again, _ = increment(vendor, "messages", states=states, start_date="2020-01-01")
    assert again.is_complete("messages")
    assert set(ids(again)) <= set(ids(output))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mode", list(SyncMode))
def test_the_start_date_bounds_the_first_read(workspace, sync, form, mode):
    vendor = workspace(rows=200, enqueued_after=form)
    start = ago(vendor, days=12)
    output = sync(vendor, "messages", mode=mode, start_date=start.isoformat())
    assert sorted(ids(output)) == sorted(since(vendor, days=12))
    # The walk ends at the bound: a page or two below it, and the tries of the filter.
    assert len(vendor.journal.entries) <= len(ids(output)) / 10 + 14


@pytest.mark.parametrize("days", [0, 1, 3, 365])
def test_late_opens_within_the_lookback_come_again(workspace, increment, days):
    vendor = workspace(rows=200)
    _, states = increment(vendor, "messages", lookback_days=days)
    newest = vendor.messages()[-1].enqueued_ms
    inside = [one for one in vendor.messages() if one.enqueued_ms >= newest - days * DAY_MS]
    for message in inside:
        vendor.update(message.id, status="OPENED", opened=vendor.clock.ms())
    output, _ = increment(vendor, "messages", states=states, lookback_days=days)
    opened = {row["id"] for row in output.rows("messages") if row["status"] == "OPENED"}
    assert {one.id for one in inside} <= opened


def test_rows_of_the_last_quarter_of_an_hour_come_again_without_a_lookback(workspace, increment):
    vendor = workspace(rows=0)
    for minutes in (5, 14, 16, 30):
        vendor.insert(ago(vendor, minutes=minutes))
    newest = vendor.insert(ago(vendor, minutes=0))
    _, states = increment(vendor, "messages", lookback_days=0)
    output, _ = increment(vendor, "messages", states=states, lookback_days=0)
    assert ids(output) == [newest.id, *since(vendor, minutes=15)[1:]]


def test_a_walk_that_is_not_finished_leaves_the_watermark(workspace, increment):
    # 18 days, so that the look-back covers all of them.
    vendor = workspace(rows=100, years=0.05)
    _, states = increment(vendor, "messages", lookback_days=30)
    vendor.insert()
    before = len(vendor.journal.entries)
    vendor.switch(faults=[{"kind": "500", "at": tuple(range(before + 4, before + 200))}])
    died, between = increment(vendor, "messages", states=states, lookback_days=30)
    if died.is_complete("messages"):
        pytest.fail("the fault did not strike")
    assert between["messages"]["enqueued"] == states["messages"]["enqueued"]
    assert "walk" in between["messages"]
    vendor.switch(faults=())
    rest, last = increment(vendor, "messages", states=between, lookback_days=30)
    assert set(ids(died)) | set(ids(rest)) == {one.id for one in vendor.messages()}
    assert not set(ids(died)) & set(ids(rest))
    assert last["messages"] == {"enqueued": vendor.messages()[-1].enqueued_ms}


def test_a_list_that_is_not_in_order_is_read_to_its_end(
    workspace, increment, requests_mock, answer
):
    vendor = workspace(rows=60)
    order = [one.id for one in vendor.messages()]

    class Unordered:
        """The oldest rows first."""

        clock = vendor.clock

        def handle(self, request):
            start = int(request.params.get("cursor", 0))
            rows = [vendor._by_id[one].row() for one in order[start : start + 10]]
            more = start + 10 < len(order)
            paging = {"more": more, "cursor": str(start + 10) if more else None}
            return json_reply(200, {"paging": paging, "results": rows})

    answer(requests_mock, HOST, Unordered())
    start = ago(vendor, days=12)
    output, _ = increment(vendor, "messages", start_date=start.isoformat())
    assert sorted(ids(output)) == sorted(since(vendor, days=12))
    assert output.says("does not show its newest row first")


@pytest.mark.parametrize("value", ["soon", True, ["x"], {"a": 1}])
def test_a_state_that_cannot_be_understood_is_a_config_error(workspace, increment, value):
    vendor = workspace()
    output, _ = increment(vendor, "messages", states={"messages": {"enqueued": value}})
    ((failure, message),) = output.errors("messages")
    assert failure is FailureType.config_error
    assert "cannot be understood" in message


@pytest.mark.parametrize(
    "state",
    [
        {"__ab_full_refresh_sync_complete": True},
        {"cursor": "made-up"},
        {"__ab_no_cursor_state_message": True},
    ],
)
def test_the_state_of_a_full_refresh_begins_an_incremental_read_anew(workspace, increment, state):
    vendor = workspace(rows=30)
    output, _ = increment(vendor, "messages", states={"messages": state})
    assert len(ids(output)) == 30


def test_archived_messages_come_when_they_are_asked_for(workspace, sync):
    vendor = workspace(rows=60)
    hidden = vendor.messages()[20].id
    vendor.archive(hidden)
    assert hidden not in ids(sync(vendor, "messages"))
    assert hidden in ids(sync(vendor, "messages", include_archived=True))


def test_a_vendor_that_shows_archived_messages_alone_is_an_error(
    workspace, sync, requests_mock, answer
):
    vendor = workspace(rows=60)

    class Alone:
        clock = vendor.clock

        def handle(self, request):
            if request.params.get("archived") == "true":
                return json_reply(200, {"paging": {"more": False}, "results": []})
            return vendor.handle(request)

    answer(requests_mock, HOST, Alone())
    output = sync(vendor, "messages", include_archived=True)
    ((failure, message),) = output.errors("messages")
    assert failure is FailureType.system_error
    assert "Turn off 'Include archived messages'" in message


# Children of messages.


@pytest.mark.parametrize("stream", CHILDREN)
def test_children_of_new_and_changed_messages_come_again(workspace, increment, stream):
    vendor = workspace(rows=0)
    for hours in range(0, 24 * 8, 4):
        vendor.insert(ago(vendor, hours=hours), status="SENT", sent=vendor.clock.ms() - 9 * DAY_MS)
    _, states = increment(vendor, stream, lookback_days=5)
    messages = vendor.messages()
    opened = messages[-8]
    vendor.update(opened.id, status="OPENED", opened=vendor.clock.ms())
    silent = messages[-12]
    vendor.update(silent.id, status="UNDELIVERABLE")
    too_old = messages[0]
    vendor.update(too_old.id, status="OPENED", opened=vendor.clock.ms())
    new = vendor.insert()
    vendor.journal.clear()
    output, _ = increment(vendor, stream, states=states, lookback_days=5)
    key = "id" if stream == "message_info" else "message_id"
    asked = {
        entry.path.split("/")[2] for entry in vendor.journal.entries if "/messages/" in entry.path
    }
    # The newest message of the first sync is read again, because of the index lag.
    assert asked == {opened.id, silent.id, new.id, messages[-1].id}
    assert set(ids(output, stream, key)) <= asked
    assert output.is_complete(stream)


@pytest.mark.parametrize("stream", CHILDREN)
@pytest.mark.parametrize("mode", list(SyncMode))
@pytest.mark.parametrize("fail_at", [5, 20, 33])
def test_children_go_on_behind_the_page_of_messages(workspace, sync, stream, mode, fail_at):
    vendor = workspace(rows=40)
    vendor.switch(faults=[{"kind": "500", "at": tuple(range(fail_at, 500))}])
    died = sync(vendor, stream, mode=mode)
    assert not died.is_complete(stream)
    states = {stream: died.states(stream)[-1]} if died.states(stream) else None
    vendor.switch(faults=())
    rest = sync(vendor, stream, mode=mode, states=states)
    both = [*died.rows(stream), *rest.rows(stream)]
    key = ("id",) if stream == "message_info" else ("message_id", "ordinal")
    found = {tuple(row[name] for name in key) for row in both}
    assert found == {tuple(row[name] for name in key) for row in vendor.rows(stream)}


# Logs and runs.


@pytest.mark.parametrize("form", ["honoured", "ignored", "refused"])
def test_the_log_of_preferences_goes_on_from_its_newest_row(workspace, increment, form):
    vendor = workspace(since=form)
    first, states = increment(vendor, "preference_logs")
    assert len(first.rows("preference_logs")) == len(vendor.rows("preference_logs"))
    at = vendor.clock.ms()
    new = vendor.add("preference_logs", timestamp=ago(vendor, seconds=1).isoformat())
    second, states = increment(vendor, "preference_logs", states=states)
    assert new["id"] in ids(second, "preference_logs")
    assert len(second.rows("preference_logs")) <= 3
    assert states["preference_logs"]["timestamp"] <= ago(vendor).isoformat()
    assert at <= vendor.clock.ms()


RUNS = ["journey_runs", "automation_runs"]


@pytest.mark.parametrize("form", ["honoured", "ignored", "refused"])
@pytest.mark.parametrize("stream", RUNS)
def test_runs_come_in_windows_or_in_one_walk(workspace, increment, sync, stream, form):
    vendor = workspace(tables={stream: 300}, runs_filter=form)
    whole = vendor.rows(stream)
    full = sync(vendor, stream)
    assert sorted(ids(full, stream, "run_id")) == sorted(row["run_id"] for row in whole)
    first, states = increment(vendor, stream)
    dated = [row["run_id"] for row in whole if row.get("created_at")]
    found = [row["run_id"] for row in first.rows(stream) if row.get("created_at")]
    assert sorted(found) == sorted(dated)
    assert first.is_complete(stream)

    new = vendor.add(stream, created_at=ago(vendor, seconds=5).isoformat(), status="PROCESSED")
    vendor.journal.clear()
    second, states = increment(vendor, stream, states=states)
    bound = ago(vendor, days=7).isoformat()
    wanted = {row["run_id"] for row in whole if (row.get("created_at") or "") >= bound}
    found = {row["run_id"] for row in second.rows(stream) if row.get("created_at")}
    assert wanted | {new["run_id"]} <= found
    assert len(found) < len(dated) / 2
    assert states[stream]["created_at"] <= ago(vendor, seconds=-1).isoformat()


@pytest.mark.parametrize("stream", RUNS)
@pytest.mark.parametrize("fail_at", [4, 12, 25])
def test_runs_go_on_behind_the_last_complete_window(workspace, increment, stream, fail_at):
    vendor = workspace(tables={stream: 300})
    vendor.switch(faults=[{"kind": "500", "at": tuple(range(fail_at, 500))}])
    died, states = increment(vendor, stream)
    assert not died.is_complete(stream)
    vendor.switch(faults=())
    rest, _ = increment(vendor, stream, states=states or None)
    found = {*ids(died, stream, "run_id"), *ids(rest, stream, "run_id")}
    dated = {row["run_id"] for row in vendor.rows(stream) if row.get("created_at")}
    assert dated <= found


@pytest.mark.parametrize("stream", RUNS)
def test_steps_of_open_and_new_runs_come_again(workspace, increment, stream):
    steps = stream.replace("runs", "run_steps")
    vendor = workspace(tables={stream: 0})
    for days in range(1, 20):
        vendor.add(stream, created_at=ago(vendor, days=days).isoformat(), status="PROCESSED")
    waiting = vendor.add(stream, created_at=ago(vendor, days=3).isoformat(), status="WAITING")
    first, states = increment(vendor, steps)
    assert states[steps]["open"] == [waiting["run_id"]]
    vendor.change(stream, waiting["run_id"], status="PROCESSED")
    new = vendor.add(stream, created_at=ago(vendor, seconds=5).isoformat(), status="PROCESSED")
    vendor.journal.clear()
    second, states = increment(vendor, steps, states=states)
    asked = {e.path.split("/")[3] for e in vendor.journal.entries if e.path.endswith("/steps")}
    assert asked == {waiting["run_id"], new["run_id"]}
    assert states[steps]["open"] == []
    assert first.is_complete(steps)
    assert second.is_complete(steps)
