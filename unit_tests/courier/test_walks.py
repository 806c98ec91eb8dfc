"""Messages along several segments: every row once, whatever the vendor makes of a built cursor."""

import json
from datetime import UTC, datetime
from random import Random
from statistics import median

import pytest
from airbyte_cdk.models import FailureType, SyncMode
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fake_vendor.wire import json_reply
from unit_tests.courier.conftest import HOST

# Very many cases.
pytestmark = pytest.mark.slow

BUILT = ["honoured", "from_the_top", "empty", "refused"]


def ids(output):
    return [row["id"] for row in output.rows("messages")]


def newest_first(vendor):
    return [message.id for message in reversed(vendor.messages())]


class Living:
    """A vendor to which something happens before some of its requests."""

    def __init__(self, vendor, events, nonsense=None):
        self.vendor, self.events, self.number = vendor, events, 0
        self.nonsense, self.sent, self.jumps = nonsense, set(), 0
        self.clock = vendor.clock

    def handle(self, request):
        """Answer one request. After the proof, pages at built cursors may be nonsense."""
        self.number += 1
        for event in self.events.get(self.number, ()):
            event(self.vendor)
        reply = self.vendor.handle(request)
        body = reply.json()
        cursor = request.params.get("cursor")
        if cursor is not None and cursor not in self.sent:
            self.jumps += 1
            if self.nonsense and self.jumps > 2 and reply.status == 200:
                self.nonsense(body)
                reply = json_reply(200, body)
        if reply.status == 200:
            self.sent.add(body["paging"].get("cursor"))
        return reply


def gappy(body):
    """Leave out every second row."""
    body["results"] = body["results"][::2]


def backwards(body):
    """Show the oldest row first."""
    body["results"].reverse()


def without_rows(body):
    """Show none of the rows."""
    body["results"] = []


def the_last_row(body):
    """Show the last row alone."""
    body["results"] = body["results"][-1:]


def test_several_segments_read_every_row_once(workspace, sync):
    vendor = workspace(rows=400, built_cursor="honoured")
    output = sync(vendor, "messages")
    assert sorted(ids(output)) == sorted(newest_first(vendor))
    assert output.is_complete("messages")
    assert any("segments" in state for state in output.states("messages"))


def test_a_burst_of_rows_long_ago_is_shared_too(workspace, sync):
    """Nine of ten rows are within an hour of 90 days. Cuts around it must lead into it."""
    vendor = workspace(rows=0, built_cursor="honoured")
    hour, random = 3_600_000, Random(0)
    oldest = vendor.clock.ms() - 90 * 24 * hour
    for number in range(1500):
        at = oldest + random.randrange(89 * 24 * hour)
        if number % 10:
            at = oldest + 60 * 24 * hour + random.randrange(hour)
        vendor.insert(datetime.fromtimestamp(at / 1000, tz=UTC))
    output = sync(vendor, "messages", parallel_walks=4)
    assert sorted(ids(output)) == sorted(newest_first(vendor))
    shared = [len(state.get("segments", "1")) for state in output.states("messages")]
    assert median(shared) >= 3


@pytest.mark.parametrize("form", ["opaque", "signed"])
def test_a_cursor_of_another_form_costs_no_request(workspace, sync, form):
    vendor = workspace(rows=400, cursor_form=form)
    output = sync(vendor, "messages")
    assert ids(output) == newest_first(vendor)
    assert len(vendor.journal.entries) == 40
    assert output.says("is read in one walk")


@pytest.mark.parametrize("page", ["from_the_top", "empty", "refused"])
def test_a_built_cursor_that_does_not_work_costs_a_few_requests(workspace, sync, page):
    vendor = workspace(rows=400, built_cursor=page)
    output = sync(vendor, "messages")
    assert ids(output) == newest_first(vendor)
    assert len(vendor.journal.entries) <= 44
    assert output.says("a built cursor does not lead where it should")


def test_no_cursor_is_built_when_one_walk_is_asked_for(workspace, sync):
    vendor = workspace(rows=400, built_cursor="honoured")
    output = sync(vendor, "messages", parallel_walks=1)
    assert ids(output) == newest_first(vendor)
    assert len(vendor.journal.entries) == 40


def archive_the_middle(vendor):
    """Archive the middle half of all messages."""
    messages = vendor.messages()
    for message in messages[len(messages) // 4 : -len(messages) // 4]:
        vendor.archive(message.id)


@pytest.mark.parametrize("at", [10, 20, 30, 40])
def test_segments_whose_rows_are_all_archived_are_passed(
    workspace, sync, requests_mock, answer, at
):
    vendor = workspace(rows=600, built_cursor="honoured")
    before = set(newest_first(vendor))
    answer(requests_mock, HOST, Living(vendor, {at: [archive_the_middle]}))
    output = sync(vendor, "messages", parallel_walks=6)
    assert output.is_complete("messages")
    assert len(set(ids(output))) == len(ids(output))
    assert set(newest_first(vendor)) <= set(ids(output)) <= before


class Ending:
    """A vendor whose list ends at one row, but that shows further rows at built cursors."""

    def __init__(self, vendor, ident):
        self.vendor, self.ident, self.clock = vendor, ident, vendor.clock

    def handle(self, request):
        """Answer one request."""
        body = self.vendor.handle(request).json()
        if any(row["id"] == self.ident for row in body["results"]):
            body["paging"] = {"more": False}
        return json_reply(200, body)


def test_a_list_that_ends_above_rows_that_it_still_shows_is_an_error(
    workspace, sync, requests_mock, answer
):
    vendor = workspace(rows=600, built_cursor="honoured")
    answer(requests_mock, HOST, Ending(vendor, newest_first(vendor)[155]))
    output = sync(vendor, "messages", parallel_walks=4)
    assert not output.is_complete("messages")
    ((failure, message),) = output.errors("messages")
    assert failure is FailureType.system_error
    assert "Expected an end behind the last row" in message
    assert "__ab_full_refresh_sync_complete" not in json.dumps(output.states("messages"))


# A group of messages that were enqueued in the same millisecond, and the time to the next group.
groups = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 10**9)), min_size=1, max_size=25)
actions = st.lists(
    st.tuples(
        st.integers(2, 60),
        st.sampled_from(["archive", "archive many", "insert", "update"]),
        st.integers(0, 10**6),
    ),
    max_size=20,
)


def events(actions, gone, new):
    """Changes by request number. They are noted in `gone` and `new`."""
    planned = {}
    for number, action, chosen in actions:

        def change(vendor, action=action, chosen=chosen):
            if action == "insert":
                new.add(vendor.insert().id)
                return
            messages = vendor.messages()
            if not messages:
                return
            place = chosen % len(messages)
            message = messages[place]
            if action.startswith("archive"):
                for one in messages[place : place + (25 if action == "archive many" else 1)]:
                    vendor.archive(one.id)
                    gone.add(one.id)
            else:
                vendor.update(message.id, status="OPENED", opened=vendor.clock.ms())

        planned.setdefault(number, []).append(change)
    return planned


@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    groups=groups,
    actions=actions,
    page_size=st.integers(1, 9),
    walks=st.integers(1, 8),
    cursor_form=st.sampled_from(["row", "row", "row", "opaque", "signed"]),
    cursor_row=st.sampled_from(["exclusive", "inclusive"]),
    built_cursor=st.sampled_from(["honoured", "honoured", *BUILT]),
    last_cursor=st.sampled_from(["omitted", "null", "repeated"]),
    cursor_life=st.sampled_from([0, 0, 60]),
    nonsense=st.sampled_from([None, None, gappy, backwards, without_rows, the_last_row]),
)
def test_every_row_comes_once_from_any_vendor(
    workspace, sync, requests_mock, answer, groups, actions, page_size, walks, nonsense, **switches
):
    if switches["cursor_row"] == "inclusive" and page_size == 1:
        page_size = 2  # one row that is always the same one never ends
    vendor = workspace(rows=0, page_size=page_size, **switches)
    at = vendor.clock.ms() - 1_000
    for size, gap in groups:
        for _ in range(size):
            vendor.insert(datetime.fromtimestamp(at / 1000, tz=UTC))
        at -= gap
    before, gone, new = set(newest_first(vendor)), set(), set()
    living = Living(vendor, events(actions, gone, new), nonsense)
    answer(requests_mock, HOST, living)
    output = sync(vendor, "messages", parallel_walks=walks)
    assert output.is_complete("messages"), output.errors("messages")
    emitted = ids(output)
    assert len(set(emitted)) == len(emitted)
    assert before - gone <= set(emitted) <= before | new


@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    groups=groups,
    page_size=st.integers(1, 9),
    walks=st.integers(1, 8),
    kills=st.lists(st.integers(1, 40), min_size=1, max_size=10),
    mode=st.sampled_from(list(SyncMode)),
    is_filtered=st.booleans(),
)
def test_kills_at_any_request_lose_no_row(
    workspace, sync, requests_mock, answer, groups, page_size, walks, kills, mode, is_filtered
):
    vendor = workspace(rows=0, page_size=page_size, built_cursor="honoured")
    at = vendor.clock.ms() - 1_000
    for size, gap in groups:
        for _ in range(size):
            vendor.insert(datetime.fromtimestamp(at / 1000, tz=UTC))
        at -= gap
    config = {"parallel_walks": walks}
    if is_filtered:
        config["start_date"] = "2020-01-01"
    emitted, states = [], None
    for after in kills:
        answer(requests_mock, HOST, Dying(vendor, after))
        output = sync(vendor, "messages", mode=mode, states=states, **config)
        emitted += ids(output)
        if output.is_complete("messages"):
            break
        written = output.states("messages")
        states = {"messages": written[-1]} if written else states
    else:
        answer(requests_mock, HOST, vendor)
        output = sync(vendor, "messages", mode=mode, states=states, **config)
        emitted += ids(output)
    assert output.is_complete("messages")
    bound = 1_577_836_800_000 if is_filtered else 0
    wanted = {one.id for one in vendor.messages() if one.enqueued_ms >= bound}
    assert set(emitted) == wanted


class Dying:
    """A vendor that refuses everything after so many requests."""

    def __init__(self, vendor, after):
        self.vendor, self.left, self.clock = vendor, after, vendor.clock

    def handle(self, request):
        """Answer one request."""
        self.left -= 1
        if self.left < 0:
            return json_reply(401, {"message": "made-up refusal"})
        return self.vendor.handle(request)
