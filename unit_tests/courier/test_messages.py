"""The messages stream: every row once, newest first, from any page, and under all faults."""

import pytest
from airbyte_cdk.models import AirbyteStreamStatus, FailureType, SyncMode
from airbyte_cdk.test.catalog_builder import CatalogBuilder
from airbyte_cdk.test.entrypoint_wrapper import read
from airbyte_cdk.test.state_builder import StateBuilder

from fake_vendor import Courier
from fake_vendor.wire import json_reply
from source_courier import SourceCourier

HOST = "https://api.courier.com"
MESSAGES = f"{HOST}/messages"
CATALOG = CatalogBuilder().with_stream("messages", SyncMode.full_refresh).build()
COMPLETE, INCOMPLETE = AirbyteStreamStatus.COMPLETE, AirbyteStreamStatus.INCOMPLETE
ROWS = 123
PAGES = 13


@pytest.fixture
def vendor(requests_mock, answer):
    """A workspace with thirteen pages. The last one is short."""
    workspace = Courier(rows=ROWS)
    answer(requests_mock, HOST, workspace)
    return workspace


def config(vendor):
    """One walk: test_walks.py has several."""
    return {"api_key": vendor.key, "parallel_walks": 1}


def read_messages(vendor, state=None):
    earlier = None if state is None else StateBuilder().with_stream_state("messages", state).build()
    return read(SourceCourier(), config(vendor), CATALOG, earlier)


def newest_first(vendor):
    return [message.id for message in reversed(vendor.messages())]


def ids(output):
    return [record.record.data["id"] for record in output.records]


def states(output):
    return [message.state.stream.stream_state.__dict__ for message in output.state_messages]


def status(output):
    return output.get_stream_statuses("messages")[-1]


def failure_types(output):
    return {error.trace.error.failure_type for error in output.errors}


def test_every_row_is_read_once_and_as_sent_when_there_are_many_pages(vendor):
    output = read_messages(vendor)
    sent = [message.row() for message in reversed(vendor.messages())]
    # The CDK drops top-level nulls of every record.
    wanted = [{key: value for key, value in row.items() if value is not None} for row in sent]
    assert [record.record.data for record in output.records] == wanted
    assert status(output) is COMPLETE
    assert len(states(output)) == PAGES
    asked = [entry.criteria for entry in vendor.journal.entries]
    assert asked == [{"limit": "100"} | state for state in ({}, *states(output)[:-1])]


@pytest.mark.parametrize("rows", [0, 1, 10, 11, 20])
def test_the_walk_ends_after_the_last_page_when_it_is_full_or_short(requests_mock, answer, rows):
    vendor = Courier(rows=rows)
    answer(requests_mock, HOST, vendor)
    output = read_messages(vendor)
    assert ids(output) == newest_first(vendor)
    assert status(output) is COMPLETE
    assert len(vendor.journal.entries) == max(1, -(-rows // 10))


@pytest.mark.parametrize("last_cursor", ["omitted", "null", "repeated"])
def test_the_walk_ends_when_more_is_false_whatever_the_last_cursor_is(vendor, last_cursor):
    vendor.switch(last_cursor=last_cursor)
    output = read_messages(vendor)
    assert ids(output) == newest_first(vendor)
    assert status(output) is COMPLETE
    assert len(vendor.journal.entries) == PAGES


NO_CURSOR = pytest.mark.parametrize(
    "cursor", [{}, {"cursor": None}, {"cursor": ""}, {"cursor": ["x"]}, {"cursor": 7}]
)


class NoCursor:
    """A vendor that leaves out the cursor of its fifth page a number of times."""

    def __init__(self, vendor, cursor, times):
        self.vendor, self.cursor, self.left = vendor, cursor, times
        self.fifth = None

    def handle(self, request):
        body = (reply := self.vendor.handle(request)).json()
        if len(self.vendor.journal.entries) == 5:
            self.fifth = request.params
        if request.params == self.fifth and self.left:
            self.left -= 1
            body["paging"] = {"more": True, **self.cursor}
        return json_reply(reply.status, body)


@NO_CURSOR
def test_every_row_is_read_when_a_cursor_is_missing_in_passing(
    vendor, requests_mock, answer, cursor
):
    answer(requests_mock, HOST, NoCursor(vendor, cursor, 2))
    output = read_messages(vendor)
    assert ids(output) == newest_first(vendor)
    assert status(output) is COMPLETE


@NO_CURSOR
def test_the_sync_fails_when_more_is_announced_and_the_cursor_stays_away(
    vendor, requests_mock, answer, cursor
):
    answer(requests_mock, HOST, NoCursor(vendor, cursor, 99))
    output = read_messages(vendor)
    assert failure_types(output) == {FailureType.system_error}
    assert status(output) is INCOMPLETE
    assert ids(output) == newest_first(vendor)[:40]
    assert all("__ab_full_refresh_sync_complete" not in state for state in states(output))
    assert "paging.cursor" in output.errors[0].trace.error.message


@pytest.mark.parametrize("repeating", [2, 3, 7])
def test_the_sync_fails_without_repeating_a_row_when_a_cursor_leads_back(vendor, repeating):
    vendor.switch(repeat_cursor_every=repeating)
    output = read_messages(vendor)
    assert failure_types(output) == {FailureType.system_error}
    assert status(output) is INCOMPLETE
    assert ids(output) == newest_first(vendor)[: len(output.records)]
    assert len(output.records) >= 10 * (repeating - 1)
    assert len(vendor.journal.entries) <= repeating + 1


def test_the_sync_fails_without_repeating_a_row_when_a_resumed_cursor_leads_back(vendor):
    resumed = states(read_messages(vendor))[5]
    vendor.switch(repeat_cursor_every=1)
    output = read_messages(vendor, resumed)
    assert failure_types(output) == {FailureType.system_error}
    assert len(set(ids(output))) == len(output.records)


@pytest.mark.parametrize(
    "page",
    [
        {"paging": {"more": False}},
        {"paging": {"more": False}, "results": None},
        {"paging": {"more": False}, "results": {}},
        {"results": []},
        {"paging": None, "results": []},
        {"paging": {}, "results": []},
        {"paging": {"more": "false"}, "results": []},
        {"paging": {"more": None}, "results": []},
    ],
)
def test_the_sync_fails_when_the_envelope_of_a_later_page_is_broken(vendor, requests_mock, page):
    second = states(read_messages(vendor))[0]["cursor"]
    requests_mock.get(f"{MESSAGES}?cursor={second}", json=page)
    output = read_messages(vendor)
    assert failure_types(output) == {FailureType.system_error}
    assert status(output) is INCOMPLETE
    assert ids(output) == newest_first(vendor)[:10]
    assert states(output) == [{"cursor": second}]


@pytest.mark.parametrize("page", [1, 2, 7, PAGES])
@pytest.mark.parametrize("kind", ["500", "reset", "html", "no_data"])
def test_the_next_run_reads_the_rest_when_a_run_dies_at_a_page(vendor, page, kind):
    vendor.switch(faults=[{"kind": kind, "at": tuple(range(page, page + 30))}])
    died = read_messages(vendor)
    assert status(died) is INCOMPLETE
    assert len(died.records) == 10 * (page - 1)

    vendor.switch(faults=())
    vendor.journal.clear()
    resumed = read_messages(vendor, states(died)[-1] if page > 1 else None)
    assert ids(died) + ids(resumed) == newest_first(vendor)
    assert len(vendor.journal.entries) == PAGES - (page - 1)
    assert status(resumed) is COMPLETE


@pytest.mark.parametrize("after", [1, 6, PAGES - 1])
def test_the_rest_is_read_when_the_state_after_any_page_is_handed_back(vendor, after):
    saved = states(read_messages(vendor))
    assert len(saved) == PAGES
    assert ids(read_messages(vendor, saved[after - 1])) == newest_first(vendor)[10 * after :]


def test_every_state_follows_the_rows_that_it_speaks_for(vendor):
    output = read_messages(vendor)
    counts, rows = [], 0
    for message in output.records_and_state_messages:
        rows += message.record is not None
        if message.state is not None:
            counts.append((rows, message.state.sourceStats.recordCount))
    assert counts == [(10 * page, 10) for page in range(1, PAGES)] + [(ROWS, 3)]


def test_all_is_read_from_the_top_and_said_when_the_saved_cursor_has_expired(vendor):
    saved = states(read_messages(vendor))[5]
    vendor.expire_cursors()
    output = read_messages(vendor, saved)
    assert ids(output) == newest_first(vendor)
    assert status(output) is COMPLETE
    assert output.is_in_logs("no longer accepts the cursor")


@pytest.mark.parametrize("code", [400, 404, 410, 422])
def test_all_is_read_from_the_top_when_the_saved_cursor_is_refused(
    vendor, requests_mock, answer, code
):
    saved = states(read_messages(vendor))[5]
    began_anew = []

    class Refusing:
        """The vendor, but it refuses the saved cursor until the walk begins anew."""

        def handle(self, request):
            began_anew.extend([request] if "cursor" not in request.params else [])
            if request.params.get("cursor") == saved["cursor"] and not began_anew:
                return json_reply(code, {"message": "Invalid cursor"})
            return vendor.handle(request)

    answer(requests_mock, HOST, Refusing())
    output = read_messages(vendor, saved)
    assert len(began_anew) == 1
    assert ids(output) == newest_first(vendor)
    assert output.is_in_logs(f"HTTP {code}")


def test_the_sync_fails_and_the_next_begins_at_the_top_when_a_cursor_expires_during_the_walk(
    vendor, requests_mock
):
    sixth = states(read_messages(vendor))[4]
    refused = requests_mock.get(f"{MESSAGES}?cursor={sixth['cursor']}", status_code=400)
    died = read_messages(vendor)
    assert refused.call_count == 1
    assert failure_types(died) == {FailureType.system_error}
    assert ids(died) == newest_first(vendor)[:50]
    assert states(died)[-1] == sixth

    following = read_messages(vendor, sixth)
    # Once more, because the first refusal may be about the page size.
    assert refused.call_count == 4
    assert ids(following) == ids(died)


def test_the_saved_cursor_is_kept_when_the_key_is_refused(vendor):
    saved = states(read_messages(vendor))[5]
    vendor.key = "made-anew"
    output = read(
        SourceCourier(),
        {"api_key": "made-up-key"},
        CATALOG,
        StateBuilder().with_stream_state("messages", saved).build(),
    )
    assert failure_types(output) == {FailureType.config_error}
    assert states(output) in ([], [saved])


@pytest.mark.parametrize("state", [{}, {"cursor": None}, {"page": 3}, {"updated_at": "2024-01-01"}])
def test_all_is_read_when_the_saved_state_names_no_cursor(vendor, state):
    output = read_messages(vendor, state)
    assert ids(output) == newest_first(vendor)
    assert status(output) is COMPLETE


def test_rows_neither_shift_nor_repeat_when_messages_arrive_during_the_walk(vendor):
    before = newest_first(vendor)
    vendor.switch(arrival_every=1)
    output = read_messages(vendor)
    seen = ids(output)
    assert len(vendor.messages()) > ROWS
    assert len(set(seen)) == len(seen)
    assert [ident for ident in seen if ident in set(before)] == before


def test_unknown_columns_are_kept_when_a_row_has_them(requests_mock):
    text = (
        '{"paging": {"more": false}, "results": [{"id": "1-one", "enqueued": 1777890000123,'
        ' "novelty": {"deep": [1, null, {"x": 0.1}]}, "share": NaN}]}'
    )
    requests_mock.get(MESSAGES, text=text)
    output = read(SourceCourier(), {"api_key": "made-up-key"}, CATALOG)
    (row,) = (record.record.data for record in output.records)
    assert row["enqueued"] == 1777890000123
    assert row["additional_attributes"] == {
        "novelty": {"deep": [1, None, {"x": 0.1}]},
        "share": None,
    }
    assert output.is_in_logs("without a column: novelty, share")


class Pages:
    """A vendor whose pages come from a function. Each page has a new cursor to the next."""

    def __init__(self, rows_of):
        self.rows_of, self.asked = rows_of, 0

    def handle(self, request):
        number = int(request.params.get("cursor", "0"))
        self.asked += 1
        rows = [{"id": str(ident), "enqueued": 1} for ident in self.rows_of(number)]
        return json_reply(
            200, {"paging": {"more": True, "cursor": str(number + 1)}, "results": rows}
        )


@pytest.mark.parametrize(
    ("rows_of", "most"),
    [
        (lambda _: [], 101),
        (lambda number: range(10) if number < 2 else [], 103),
        (lambda _: range(10), 5),
        (lambda number: range(10 * (number % 2), 10 * (number % 2) + 10), 9),
        (lambda number: range(10 * (number % 3), 10 * (number % 3) + 10), 17),
        (lambda number: range(10 * (number % 7), 10 * (number % 7) + 10), 33),
        (lambda number: [number] if number < 5 else [4], 9),
    ],
    ids=["empty", "empty behind two", "the same", "two", "three", "seven", "the last row"],
)
def test_the_walk_ends_with_an_error_when_new_cursors_bring_no_new_rows(
    requests_mock, answer, rows_of, most
):
    pages = Pages(rows_of)
    answer(requests_mock, HOST, pages)
    output = read(SourceCourier(), {"api_key": "made-up-key"}, CATALOG)
    assert failure_types(output) == {FailureType.system_error}
    assert status(output) is INCOMPLETE
    assert "Expected new rows, or an envelope that ends" in output.errors[0].trace.error.message
    assert pages.asked <= most


def test_the_walk_goes_on_when_a_page_brings_the_last_row_again(requests_mock, answer):
    class Vendor(Pages):
        def handle(self, request):
            reply = super().handle(request)
            if request.params.get("cursor") == "9":
                body = reply.json() | {"paging": {"more": False}}
                return json_reply(200, body)
            return reply

    vendor = Vendor(lambda number: [3] if number == 4 else [number])
    answer(requests_mock, HOST, vendor)
    output = read(SourceCourier(), {"api_key": "made-up-key"}, CATALOG)
    assert status(output) is COMPLETE
    assert {int(ident) for ident in ids(output)} == {0, 1, 2, 3, 5, 6, 7, 8, 9}


def test_a_saved_cursor_that_is_refused_and_met_again_fails_with_a_sentence(
    vendor, requests_mock, answer
):
    saved = states(read_messages(vendor))[5]

    class Refusing:
        def handle(self, request):
            if request.params.get("cursor") == saved["cursor"]:
                return json_reply(400, {"message": "Invalid cursor"})
            return vendor.handle(request)

    answer(requests_mock, HOST, Refusing())
    output = read_messages(vendor, saved)
    assert failure_types(output) == {FailureType.system_error}
    assert "that it had sent itself" in output.errors[0].trace.error.message
    assert ids(output) == newest_first(vendor)[:60]
