"""Searched streams: every record is emitted, in order, and no state claims more than that."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import chain, count, repeat
from typing import get_args

import pytest
from airbyte_cdk.models import AirbyteStreamStatus, FailureType

from fake_vendor import Fault
from fake_vendor.clock import from_ms, http_date, iso, to_ms
from fake_vendor.faults import FaultKind
from source_kustomer import SourceKustomer
from source_kustomer.search import SearchStream

NOW = datetime(2026, 6, 1, tzinfo=UTC)
HOST = "https://api.kustomerapp.com"
CUTOFF = "2026-05-31T23:58:00.000Z"
TIED_AT = datetime(2026, 3, 4, 5, 6, 7, 89000, tzinfo=UTC)
BORN_AT = datetime(2026, 2, 1, tzinfo=UTC)
COMPLETE, INCOMPLETE = AirbyteStreamStatus.COMPLETE, AirbyteStreamStatus.INCOMPLETE
STREAMS = {
    stream.name: stream.query_context
    for stream in SourceKustomer.stream_classes
    if issubclass(stream, SearchStream) and stream.cursor_attribute == "updated_at"
}
every_stream = pytest.mark.parametrize(("stream", "kind"), STREAMS.items(), ids=STREAMS)
both_modes = pytest.mark.parametrize("mode", ["incremental", "full_refresh"])


def in_order(vendor, kind):
    records = (record for record in vendor.records(kind) if not record.deleted)
    return sorted(records, key=lambda record: (record.updated_ms, record.order))


def ids(vendor, kind):
    return [record.id for record in in_order(vendor, kind)]


def assert_ascending(rows):
    updated = [row["updated_at"] for row in rows]
    assert updated == sorted(updated)


def assert_read_exactly_once(vendor, kind, synced, stream):
    assert sorted(synced.ids(stream)) == sorted(ids(vendor, kind))
    assert_ascending(synced.rows(stream))
    assert synced.status(stream) is COMPLETE


def insert_tied(vendor, kind, count, *, created=None):
    for _ in range(count):
        vendor.insert(kind, at=TIED_AT, created=created, indexed=True)


def insert_bulk_edited(vendor, kind, count):
    """Insert records like those of a bulk edit: created over time, updated at one moment."""
    for number in range(count):
        born = BORN_AT + timedelta(seconds=number * 37 % count)
        vendor.insert(kind, at=TIED_AT, created=born, indexed=True)


def requests_of(vendor, endpoint="search"):
    return [entry for entry in vendor.journal.entries if entry.endpoint == endpoint]


# Reading everything


@both_modes
@every_stream
def test_every_row_is_emitted_once_and_ascending_when_there_are_many_pages(
    org, sync, stream, kind, mode
):
    vendor = org({kind: 430}, page_size_max=100)
    synced = sync(vendor, stream, mode=mode)
    assert synced.ids(stream) == ids(vendor, kind)
    assert_read_exactly_once(vendor, kind, synced, stream)
    assert synced.state(stream) == {"updated_at": CUTOFF}
    assert len(requests_of(vendor)) >= 5


@every_stream
def test_rows_are_flat_and_hold_every_attribute_when_read(org, sync, stream, kind):
    vendor = org({kind: 12})
    rows = {row["id"]: row for row in sync(vendor, stream).rows(stream)}
    for record in vendor.records(kind):
        row = rows[record.id]
        assert not {"attributes", "relationships"} & set(row)
        assert all(name == name.lower() for name in row)
        assert row["updated_at"] == record.updated_at
        assert row["created_by"]["type"] == "user"
        assert row["org"]["type"] == "org"
        assert row["links"]["self"].endswith(record.id)


@pytest.mark.slow
@both_modes
@every_stream
def test_nothing_is_missing_below_any_state_when_messages_are_walked_in_order(
    org, sync, stream, kind, mode
):
    vendor = org({kind: 1700}, ties=(130, 90), page_size_max=100)
    synced = sync(vendor, stream, mode=mode)
    checkpoints = synced.checkpoints(stream)
    assert len(checkpoints) >= 3
    for emitted, state in checkpoints:
        below = [one.id for one in in_order(vendor, kind) if one.updated_at < state["updated_at"]]
        assert set(below) <= set(emitted)
    moments = [state["updated_at"] for _, state in checkpoints]
    assert moments == sorted(moments)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["incremental", "full_refresh"])
def test_what_is_left_is_read_when_a_sync_is_resumed_from_any_of_its_states(org, sync, mode):
    vendor = org({"note": 2100}, ties=(300,), page_size_max=200)
    for emitted, state in sync(vendor, "notes", mode=mode).checkpoints("notes"):
        resumed = sync(vendor, "notes", mode=mode, state={"notes": state})
        assert set(emitted) | set(resumed.ids("notes")) == set(ids(vendor, "note"))
        if "full_refresh" in state:
            assert len(resumed.ids("notes")) < 2100
        assert resumed.state("notes") == {"updated_at": CUTOFF}


@pytest.mark.parametrize("mode", ["incremental", "full_refresh"])
@pytest.mark.parametrize("rows", [0, 1, 49, 50, 51, 100])
def test_the_end_is_found_when_the_last_page_is_empty_short_or_full(org, sync, rows, mode):
    vendor = org({"message": rows}, page_size_max=50)
    synced = sync(vendor, "messages", mode=mode)
    assert synced.ids("messages") == ids(vendor, "message")
    assert synced.state("messages") == {"updated_at": CUTOFF}


def test_rows_before_the_start_date_are_left_out_when_they_exist(org, sync):
    vendor = org()
    for moment in ("2025-12-31T23:59:59.999", "2026-01-01T00:00:00.000", "2026-01-01T00:00:00.001"):
        vendor.insert("note", at=datetime.fromisoformat(moment))
    synced = sync(vendor, "notes", start_date="2026-01-01")
    assert synced.ids("notes") == ids(vendor, "note")[1:]


@pytest.mark.slow
@pytest.mark.parametrize("largest", [3, 16, 17, 100, 333, 500])
def test_every_row_is_emitted_once_when_the_vendor_grants_smaller_pages(org, sync, largest):
    vendor = org({"customer": 420}, ties=(60,), page_size_max=largest)
    assert_read_exactly_once(vendor, "customer", sync(vendor, "customers"), "customers")


@pytest.mark.slow
@pytest.mark.parametrize("past_cap", [404, 400, "empty"])
@pytest.mark.parametrize("caps", [{"page_cap": 2}, {"row_cap": 120}, {"page_cap": 1}])
def test_every_row_is_emitted_once_when_deep_pages_are_not_served(org, sync, caps, past_cap):
    vendor = org({"note": 700}, ties=(90,), page_size_max=50, past_cap=past_cap, **caps)
    assert_read_exactly_once(vendor, "note", sync(vendor, "notes"), "notes")


@pytest.mark.parametrize("links", ["promise", "honest", "null", "missing"])
@pytest.mark.parametrize("total", ["honest", "missing", -400, -1])
def test_every_row_is_emitted_once_when_counts_and_links_mislead(org, sync, total, links):
    vendor = org({"note": 400}, ties=(70,), page_size_max=50, total=total, next_links=links)
    assert_read_exactly_once(vendor, "note", sync(vendor, "notes", mode="full_refresh"), "notes")


@pytest.mark.parametrize("links", ["promise", "honest", "null", "missing"])
@pytest.mark.parametrize("total", [1, 60])
def test_the_stream_fails_and_claims_no_more_than_it_emitted_when_the_vendor_counts_more(
    org, sync, total, links
):
    vendor = org({"note": 400}, ties=(70,), page_size_max=50, total=total, next_links=links)
    synced = sync(vendor, "notes")
    assert synced.status("notes") is AirbyteStreamStatus.INCOMPLETE
    assert synced.failures == {FailureType.system_error}
    for emitted, state in synced.checkpoints("notes"):
        due = {one.id for one in vendor.records("note") if one.updated_at < state["updated_at"]}
        assert due <= set(emitted)
    assert all(state["updated_at"] < CUTOFF for state in synced.states("notes"))


def test_every_row_is_emitted_once_when_the_count_stops_at_ten_thousand(org, sync):
    vendor = org({"note": 10_900}, total="capped")
    assert_read_exactly_once(vendor, "note", sync(vendor, "notes"), "notes")


# Ties


@pytest.mark.parametrize("order", ["stable", "shuffled"])
@pytest.mark.parametrize("size", [499, 500, 501, 700, 1300])
def test_every_row_is_emitted_once_when_many_share_one_moment(org, sync, size, order):
    vendor = org({"note": 60}, tie_order=order)
    insert_bulk_edited(vendor, "note", size)
    assert_read_exactly_once(vendor, "note", sync(vendor, "notes"), "notes")


@pytest.mark.slow
@pytest.mark.parametrize("order", ["stable", "shuffled"])
def test_every_row_is_emitted_once_when_more_share_one_moment_than_a_search_serves(
    org, sync, order
):
    vendor = org({"note": 60}, tie_order=order)
    insert_bulk_edited(vendor, "note", 12_000)
    assert_read_exactly_once(vendor, "note", sync(vendor, "notes"), "notes")


@pytest.mark.parametrize(("size", "most"), [(700, 6), (1300, 10), (3000, 20)])
def test_requests_grow_with_the_rows_alone_when_many_share_one_moment(org, sync, size, most):
    vendor = org({"note": 60})
    insert_bulk_edited(vendor, "note", size)
    assert len(sync(vendor, "notes").ids("notes")) == 60 + size
    assert len(requests_of(vendor)) <= most


@pytest.mark.parametrize("order", ["stable", "shuffled"])
@pytest.mark.parametrize("size", [20, 21, 150])
def test_every_row_is_emitted_when_many_were_also_created_at_one_moment(org, sync, size, order):
    vendor = org({"kobject": 30}, tie_order=order, page_size_max=20)
    insert_tied(vendor, "kobject", size, created=BORN_AT)
    assert_read_exactly_once(vendor, "kobject", sync(vendor, "kobjects"), "kobjects")


@pytest.mark.parametrize(
    "limits",
    [
        {"row_cap": 100, "past_cap": 404},
        {"row_cap": 100, "past_cap": 400},
        {"page_cap": 5, "past_cap": 404},
        {"page_cap": 100, "page_size_max": 1, "past_cap": 404},
        {"page_cap": 100, "page_size_max": 1, "past_cap": "empty"},
    ],
)
def test_the_stream_fails_with_moment_and_count_when_ties_lie_deeper_than_a_search_serves(
    org, sync, limits
):
    vendor = org({"note": 30}, **({"page_size_max": 20} | limits))
    insert_tied(vendor, "note", 130, created=BORN_AT)
    synced = sync(vendor, "notes")
    assert synced.failures == {FailureType.system_error}
    assert synced.status("notes") is INCOMPLETE
    for part in ("notes", "130", "2026-03-04T05:06:07.089Z"):
        assert part in synced.failure("notes")
    assert all(state["updated_at"] <= iso(to_ms(TIED_AT)) for state in synced.states("notes"))


@pytest.mark.parametrize("status", [400, 404, 410])
def test_the_stream_fails_and_claims_nothing_when_its_first_page_is_refused(
    org, sync, requests_mock, status
):
    vendor = org({"note": 30, "message": 3})
    refused = requests_mock.post(
        f"{HOST}/v1/customers/search",
        status_code=status,
        json={"errors": [{"title": "made-up refusal"}]},
        additional_matcher=lambda request: request.json()["queryContext"] == "note",
    )
    synced = sync(vendor, "notes", "messages", state={"notes": {"updated_at": "2026-01-01T00:00Z"}})
    assert synced.failures == {FailureType.system_error}
    assert f"refused with HTTP {status}: made-up refusal" in synced.failure("notes")
    assert synced.rows("notes") == synced.states("notes") == []
    assert len(synced.ids("messages")) == 3
    assert refused.call_count <= 2  # by the prefetch and by the read


# One sync after another


@every_stream
def test_a_second_sync_emits_nothing_when_nothing_changed(org, sync, stream, kind, time):
    vendor = org({kind: 230}, ties=(70,), page_size_max=50)
    first = sync(vendor, stream)
    for minutes in (0, 1, 90):
        time.tick(minutes * 60)
        second = sync(vendor, stream, state={stream: first.state(stream)})
        assert second.ids(stream) == []
        assert second.status(stream) is COMPLETE
    assert second.state(stream) == {"updated_at": "2026-06-01T01:29:00.000Z"}


@every_stream
def test_a_second_sync_emits_exactly_the_changes_when_some_rows_changed(
    org, sync, stream, kind, time
):
    vendor = org({kind: 230}, page_size_max=50)
    first = sync(vendor, stream)
    time.tick(3600)
    changed = {vendor.touch(kind, ident).id for ident in ids(vendor, kind)[10:80]}
    changed |= {vendor.insert(kind).id for _ in range(60)}
    time.tick(3600)
    second = sync(vendor, stream, state={stream: first.state(stream)})
    assert sorted(second.ids(stream)) == sorted(changed)
    third = sync(vendor, stream, state={stream: second.state(stream)})
    assert third.ids(stream) == []


def test_rows_younger_than_the_settling_time_wait_for_the_next_sync_when_incremental(
    org, sync, time
):
    vendor = org()
    edges = {
        seconds: vendor.insert("note", at=NOW - timedelta(seconds=seconds)).id
        for seconds in (121, 120, 119, 1)
    }
    first = sync(vendor, "notes")
    assert first.ids("notes") == [edges[121]]
    time.tick(600)
    second = sync(vendor, "notes", state={"notes": first.state("notes")})
    assert second.ids("notes") == [edges[120], edges[119], edges[1]]


def test_the_youngest_rows_are_read_but_not_claimed_when_the_refresh_is_full(org, sync):
    vendor = org()
    young = vendor.insert("note", at=NOW - timedelta(seconds=1)).id
    synced = sync(vendor, "notes", mode="full_refresh")
    assert synced.ids("notes") == [young]
    assert synced.state("notes") == {"updated_at": CUTOFF}


def test_every_change_is_emitted_exactly_once_when_the_index_lags(org, sync, time):
    vendor = org({"note": 40}, index_lag_seconds=100)
    state, emitted, written = None, [], ids(vendor, "note")
    for step in (1, 59, 61, 100, 119, 121, 7, 300):
        written.append(vendor.insert("note").id)
        time.tick(step)
        synced = sync(vendor, "notes", state=state)
        emitted += synced.ids("notes")
        state = {"notes": synced.state("notes")}
    assert sorted(emitted) == sorted(written)


@pytest.mark.parametrize("behind", [1, 30, 3600])
def test_the_state_follows_the_earlier_clock_when_the_vendors_is_behind(org, sync, time, behind):
    vendor = org({"note": 120, "message": 3}, page_size_max=50)
    vendor.clock.advance(-behind)
    first = sync(vendor, "notes", "messages")
    for stream in ("notes", "messages"):
        claimed = datetime.fromisoformat(first.state(stream)["updated_at"])
        assert claimed <= NOW - timedelta(seconds=120 + (behind if behind > 5 else 0)), stream
    late = vendor.insert("note").id
    time.tick(600)
    second = sync(vendor, "notes", state={"notes": first.state("notes")})
    assert late in second.ids("notes")
    assert set(first.ids("notes") + second.ids("notes")) == set(ids(vendor, "note"))
    assert len(first.ids("notes")) == len(set(first.ids("notes")))


def test_the_state_follows_our_clock_when_the_vendors_is_ahead(org, sync):
    vendor = org({"note": 20})
    vendor.clock.advance(3600)
    assert sync(vendor, "notes").state("notes") == {"updated_at": CUTOFF}


# Changes during a read


@every_stream
def test_every_row_that_existed_is_emitted_when_rows_change_during_a_full_refresh(
    org, sync, time, stream, kind
):
    def time_passes(body, request, number):
        time.tick(1)

    vendor = org({kind: 600}, page_size_max=50, touch_every=1, touch_count=4, edit=time_passes)
    before = ids(vendor, kind)
    synced = sync(vendor, stream, mode="full_refresh")
    assert set(before) <= set(synced.ids(stream))
    assert_ascending(synced.rows(stream))
    assert synced.state(stream) == {"updated_at": CUTOFF}


def test_two_syncs_emit_every_row_when_rows_change_during_an_incremental_one(org, sync, time):
    def time_passes(body, request, number):
        time.tick(1)

    vendor = org({"note": 600}, page_size_max=50, touch_every=1, touch_count=4, edit=time_passes)
    first = sync(vendor, "notes")
    vendor.switch(touch_every=0)
    time.tick(600)
    second = sync(vendor, "notes", state={"notes": first.state("notes")})
    assert set(first.ids("notes")) | set(second.ids("notes")) == set(ids(vendor, "note"))
    newest = {record.id: record.updated_at for record in vendor.records("note")}
    shown = {row["id"]: row["updated_at"] for row in first.rows("notes") + second.rows("notes")}
    assert shown == newest


def test_deleted_rows_are_left_out_when_they_are_not_asked_for(org, sync):
    vendor = org({"note": 120}, page_size_max=50)
    for ident in ids(vendor, "note")[:20]:
        vendor.delete("note", ident, at=NOW - timedelta(hours=1))
    assert_read_exactly_once(vendor, "note", sync(vendor, "notes"), "notes")


def test_deleted_rows_are_emitted_as_deleted_when_they_are_asked_for(org, sync):
    vendor = org({"note": 120}, page_size_max=50)
    deleted = set(ids(vendor, "note")[:20])
    for ident in deleted:
        vendor.delete("note", ident, at=NOW - timedelta(hours=1))
    rows = sync(vendor, "notes", include_deleted=True).rows("notes")
    assert len(rows) == 120
    assert {row["id"] for row in rows if row["deleted"] is True} == deleted


# Full refreshes and states


def test_a_full_refresh_reads_everything_when_its_state_is_a_finished_one(org, sync):
    vendor = org({"note": 1200})
    state = {"notes": {"updated_at": "2026-05-30T00:00:00.000Z"}}
    synced = sync(vendor, "notes", mode="full_refresh", state=state)
    assert synced.ids("notes") == ids(vendor, "note")


@pytest.mark.parametrize("mode", ["full_refresh", "incremental"])
def test_reading_goes_on_where_it_stood_when_the_state_is_an_unfinished_full_refresh(
    org, sync, mode
):
    vendor = org({"note": 1200})
    unfinished = sync(vendor, "notes", mode="full_refresh").states("notes")[0]
    assert "full_refresh" in unfinished
    synced = sync(vendor, "notes", mode=mode, state={"notes": unfinished})
    rest = [one for one in in_order(vendor, "note") if one.updated_at >= unfinished["updated_at"]]
    assert synced.ids("notes") == [one.id for one in rest]
    assert synced.state("notes") == {"updated_at": CUTOFF}


# Answers that are wrong


@pytest.mark.parametrize("kind", get_args(FaultKind))
def test_every_row_is_emitted_once_when_answers_fail_in_passing(org, sync, waits, kind):
    faults = (Fault(kind, at=(1, 2, 4, 7)),)
    vendor = org({"note": 430}, ties=(120,), page_size_max=50, faults=faults)
    assert_read_exactly_once(vendor, "note", sync(vendor, "notes"), "notes")
    assert len(waits) >= 4


def test_the_stream_fails_as_transient_when_the_search_always_times_out(org, sync):
    vendor = org({"note": 30}, faults=(Fault("timed_out", every=1),))
    synced = sync(vendor, "notes")
    assert synced.failures == {FailureType.transient_error}
    assert synced.ids("notes") == []


def out_of_order(body):
    body["data"].reverse()


def before_the_window(body):
    body["data"][0]["attributes"]["updatedAt"] = "2024-12-31T23:59:59.999Z"


def behind_the_window(body):
    body["data"][-1]["attributes"]["updatedAt"] = "2026-05-31T23:58:00.000Z"


def without_data(body):
    del body["data"]


def with_data_that_is_no_list(body):
    body["data"] = {"id": "one"}


def without_updated_at(body):
    del body["data"][3]["attributes"]["updatedAt"]


def with_an_updated_at_that_is_no_timestamp(body):
    body["data"][3]["attributes"]["updatedAt"] = "yesterday"


def with_an_updated_at_that_is_a_number(body):
    body["data"][3]["attributes"]["updatedAt"] = 1780272000


def without_id(body):
    del body["data"][3]["id"]


def without_attributes(body):
    del body["data"][3]["attributes"]


def with_a_null_row(body):
    body["data"][3] = None


BREAKAGES = [
    out_of_order,
    before_the_window,
    behind_the_window,
    without_data,
    with_data_that_is_no_list,
    without_updated_at,
    with_an_updated_at_that_is_no_timestamp,
    with_an_updated_at_that_is_a_number,
    without_id,
    without_attributes,
    with_a_null_row,
]


@pytest.mark.parametrize("breakage", BREAKAGES, ids=lambda breakage: breakage.__name__)
def test_every_row_is_emitted_once_when_an_answer_breaks_the_contract_in_passing(
    org, sync, waits, breakage
):
    def edit(body, request, number):
        if number in (1, 2, 4):
            breakage(body)

    vendor = org({"note": 230}, page_size_max=100, edit=edit)
    assert_read_exactly_once(vendor, "note", sync(vendor, "notes"), "notes")
    assert len(waits) == 3


@pytest.mark.parametrize("breakage", BREAKAGES, ids=lambda breakage: breakage.__name__)
def test_the_stream_fails_and_names_itself_when_answers_keep_breaking_the_contract(
    org, sync, breakage
):
    def edit(body, request, number):
        breakage(body)

    vendor = org({"note": 230}, page_size_max=100, edit=edit)
    synced = sync(vendor, "notes")
    assert synced.failures == {FailureType.system_error}
    assert synced.status("notes") is INCOMPLETE
    assert synced.ids("notes") == []
    assert "customers/search" in synced.failure("notes")
    assert "expected" in synced.failure("notes")
    assert len(requests_of(vendor)) < 10


def test_the_sentence_names_the_stream_when_answers_keep_breaking_the_contract(org, sync):
    vendor = org({"note": 9}, edit=lambda body, request, number: without_data(body))
    assert "notes" in sync(vendor, "notes").failure("notes")


def test_what_came_before_is_kept_and_other_streams_finish_when_a_later_page_is_broken(org, sync):
    def edit(body, request, number):
        if b"message" in request.body and body["meta"]["page"] >= 9:
            without_data(body)

    vendor = org({"message": 2000, "note": 120}, page_size_max=100, edit=edit)
    synced = sync(vendor, "messages", "notes")
    assert synced.status("messages") is INCOMPLETE
    assert synced.status("notes") is COMPLETE
    assert synced.ids("notes") == ids(vendor, "note")
    assert FailureType.system_error in synced.failures
    emitted = synced.ids("messages")
    assert emitted == ids(vendor, "message")[: len(emitted)]
    assert len(emitted) >= 500
    assert len(synced.states("messages")) >= 1
    for before, state in synced.checkpoints("messages"):
        limit = from_ms(to_ms(datetime.fromisoformat(state["updated_at"])))
        assert {
            one.id for one in in_order(vendor, "message") if from_ms(one.updated_ms) < limit
        } <= set(before)


# Pages that end early


@pytest.mark.slow
@pytest.mark.parametrize("total", ["honest", "missing"])
@pytest.mark.parametrize("links", ["honest", "null"])
def test_every_row_is_emitted_once_when_pages_are_cut_by_bytes(org, sync, total, links):
    vendor = org({"note": 1202}, page_bytes=6_000, total=total, next_links=links)
    # Two rows, each of which fills a page.
    for moment in ("2026-02-02T02:02:02.222", "2026-02-02T02:02:02.223"):
        large = {"attributes": {"body": "x" * 5_900}}
        vendor.insert("note", at=datetime.fromisoformat(moment), resource=large)
    assert_read_exactly_once(vendor, "note", sync(vendor, "notes"), "notes")


@pytest.mark.parametrize("order", ["stable", "shuffled"])
def test_every_row_is_emitted_once_when_ties_are_cut_by_bytes(org, sync, order):
    vendor = org({"note": 300}, ties=(120,), page_bytes=9_000, tie_order=order)
    assert_read_exactly_once(vendor, "note", sync(vendor, "notes"), "notes")


def test_every_row_is_emitted_once_when_a_first_page_shows_ten_of_thirty(org, sync):
    def edit(body, request, number):
        if number == 1:
            body["data"] = body["data"][:10]

    vendor = org({"note": 30}, edit=edit)
    assert_read_exactly_once(vendor, "note", sync(vendor, "notes"), "notes")


def test_the_stream_fails_when_a_short_page_counts_more_and_nothing_brings_it(org, sync):
    def edit(body, request, number):
        body["data"] = [one for one in body["data"] if one["id"] in shown]

    vendor = org({"note": 30}, edit=edit)
    shown = set(ids(vendor, "note")[:10])
    synced = sync(vendor, "notes")
    assert synced.failures == {FailureType.system_error}
    assert synced.ids("notes") == ids(vendor, "note")[:10]
    assert all(one["updated_at"] < CUTOFF for one in synced.states("notes"))


def test_rows_of_any_size_are_read_whole_in_pages_of_some_megabytes(org, sync):
    vendor = org({"note": 400}, row_bytes=60_000)
    assert_read_exactly_once(vendor, "note", sync(vendor, "notes"), "notes")
    sizes = [entry.page_size for entry in vendor.journal.entries if entry.page == 1]
    assert sizes[0] == 500
    assert max(sizes[1:]) * 60_000 < 9_000_000


@pytest.mark.parametrize("value", ["yesterday", 7, ["2026"], True])
def test_the_stream_fails_with_a_sentence_when_ties_have_no_date_of_creation(org, sync, value):
    vendor = org({"note": 5}, page_size_max=3)
    moment = datetime(2026, 2, 2, tzinfo=UTC)
    for _ in range(9):
        vendor.insert("note", at=moment, resource={"attributes": {"createdAt": value}})
    synced = sync(vendor, "notes")
    assert synced.failures == {FailureType.system_error}
    assert "createdAt" in synced.failure("notes")


# A clock that is clearly wrong


class Dated:
    """An org whose answers have a `Date` header that the test sets."""

    def __init__(self, vendor, dates):
        self.vendor, self.dates = vendor, iter(dates)

    def handle(self, request):
        reply = self.vendor.handle(request)
        return replace(reply, headers=reply.headers | {"date": next(self.dates)})


@pytest.mark.parametrize("mode", ["incremental", "full_refresh"])
def test_the_stream_fails_when_all_answers_are_dated_years_ago(
    org, sync, requests_mock, answer, mode
):
    stream = "notes"
    vendor = org({"note": 20})
    answer(requests_mock, HOST, Dated(vendor, repeat("Thu, 01 Jan 1970 00:00:00 GMT")))
    synced = sync(vendor, stream, mode=mode)
    assert synced.status(stream) is AirbyteStreamStatus.INCOMPLETE
    assert synced.failures == {FailureType.system_error}
    assert "One of the two clocks is wrong" in synced.failure(stream)
    assert synced.states(stream) == []


def test_every_row_is_read_when_one_answer_is_dated_years_ago(org, sync, requests_mock, answer):
    vendor = org({"note": 20})
    dates = chain(["Thu, 01 Jan 1970 00:00:00 GMT"], repeat("Mon, 01 Jun 2026 00:00:00 GMT"))
    answer(requests_mock, HOST, Dated(vendor, dates))
    assert_read_exactly_once(vendor, "note", sync(vendor, "notes"), "notes")


def test_the_stream_fails_as_transient_when_the_vendors_clock_runs_backwards(
    org, sync, requests_mock, answer
):
    vendor = org({"note": 20})
    back = (http_date(NOW.timestamp() - 10 * step) for step in count(1))
    answer(requests_mock, HOST, Dated(vendor, back))
    synced = sync(vendor, "notes")
    assert synced.failures == {FailureType.transient_error}
    assert len(vendor.journal.entries) < 20
