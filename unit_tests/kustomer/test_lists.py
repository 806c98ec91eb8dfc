"""Lists with `updated_at`: read completely along their links, also while rows move."""

from datetime import UTC, datetime, timedelta

import pytest
import requests
from airbyte_cdk.models import AirbyteStreamStatus, FailureType, SyncMode

from fake_vendor import Fault
from fake_vendor.data import LIST_KINDS, LIST_PAGE_SIZES, PLURALS
from fake_vendor.wire import json_reply
from source_kustomer import SourceKustomer
from source_kustomer.lists import IncrementalListStream

NOW = datetime(2026, 6, 1, tzinfo=UTC)
HOST = "https://api.kustomerapp.com"
CUTOFF = "2026-05-31T23:58:00.000Z"
COMPLETE, INCOMPLETE = AirbyteStreamStatus.COMPLETE, AirbyteStreamStatus.INCOMPLETE
LISTS = {PLURALS[kind]: kind for kind in LIST_KINDS}
STREAMS = {
    stream.name: LISTS[stream.endpoint]
    for stream in SourceKustomer.stream_classes
    if issubclass(stream, IncrementalListStream)
}
LARGEST = {stream: str(LIST_PAGE_SIZES[kind]) for stream, kind in STREAMS.items()}
every_stream = pytest.mark.parametrize(("stream", "kind"), STREAMS.items(), ids=STREAMS)
counted = pytest.mark.parametrize("list_total", [False, True], ids=["uncounted", "counted"])


@pytest.fixture
def pages_of(monkeypatch):
    """Limit the rows per page of every list of the vendor."""

    def pages_of(rows):
        for kind in STREAMS.values():
            monkeypatch.setitem(LIST_PAGE_SIZES, kind, rows)

    return pages_of


def ids(vendor, kind):
    return [record.id for record in vendor.records(kind)]


def pages_asked(vendor):
    return [entry.page for entry in vendor.journal.entries]


@every_stream
@pytest.mark.parametrize("mode", ["incremental", "full_refresh"])
def test_every_row_is_emitted_once_when_there_are_many_pages(org, sync, stream, kind, mode):
    rows = 2 * int(LARGEST[stream]) + 30
    vendor = org(list_rows={kind: rows})
    synced = sync(vendor, stream, mode=mode)
    assert synced.ids(stream) == ids(vendor, kind)
    assert synced.status(stream) is COMPLETE
    assert set(pages_asked(vendor)) == {1, 2, 3}
    assert synced.states(stream) == [{"updated_at": CUTOFF}]


@every_stream
def test_the_largest_page_is_asked_for_when_reading(org, sync, requests_mock, stream, kind):
    vendor = org(list_rows={kind: 3})
    assert len(sync(vendor, stream).ids(stream)) == 3
    (request,) = requests_mock.request_history
    assert request.qs == {"page": ["1"], "pagesize": [LARGEST[stream]]}


@pytest.mark.parametrize("rows", [0, 1, 9, 10, 11, 20])
@counted
def test_the_end_is_found_when_the_last_page_is_empty_short_or_full(
    org, sync, pages_of, rows, list_total
):
    pages_of(10)
    vendor = org(list_rows={"tag": rows}, list_total=list_total)
    synced = sync(vendor, "tags")
    assert synced.ids("tags") == ids(vendor, "tag")
    assert synced.status("tags") is COMPLETE


@every_stream
@pytest.mark.parametrize("granted", [1, 7, 50])
@counted
def test_every_row_is_emitted_once_when_the_vendor_grants_smaller_pages(
    org, sync, pages_of, stream, kind, granted, list_total
):
    pages_of(granted)
    vendor = org(list_rows={kind: 64}, list_total=list_total)
    assert sync(vendor, stream).ids(stream) == ids(vendor, kind)


# Links


@pytest.mark.parametrize("host", [HOST, "HTTPS://api.kustomerapp.com", ""])
def test_every_row_is_emitted_once_when_links_are_whole_or_relative(org, sync, pages_of, host):
    def edit(body, request, number):
        if body["links"]["next"]:
            body["links"]["next"] = host + body["links"]["next"]

    pages_of(10)
    vendor = org(list_rows={"team": 35}, edit=edit)
    assert sync(vendor, "teams").ids("teams") == ids(vendor, "team")


@pytest.mark.parametrize(
    "link",
    [
        "https://evil.example.com/v1/teams?page=2&pageSize=10",
        "//evil.example.com/v1/teams?page=2&pageSize=10",
        "http://api.kustomerapp.com/v1/teams?page=2&pageSize=10",
        "https://api.kustomerapp.com.example.com/v1/teams?page=2&pageSize=10",
        "https://api.kustomerapp.com@evil.example.com/v1/teams?page=2&pageSize=10",
        "https://api.kustomerapp.com:8443/v1/teams?page=2&pageSize=10",
        "/v1/users?page=2&pageSize=10",
    ],
)
def test_the_stream_fails_and_the_key_stays_when_a_link_leads_elsewhere(
    org, sync, requests_mock, pages_of, link
):
    def edit(body, request, number):
        body["links"]["next"] = link

    pages_of(10)
    vendor = org(list_rows={"team": 35}, edit=edit)
    synced = sync(vendor, "teams")
    assert synced.failures == {FailureType.system_error}
    assert synced.status("teams") is INCOMPLETE
    assert "teams" in synced.failure("teams")
    assert "api.kustomerapp.com" in synced.failure("teams")
    assert {request.url.split("?")[0] for request in requests_mock.request_history} == {
        f"{HOST}/v1/teams"
    }
    assert synced.states("teams") == []


@pytest.mark.parametrize("page", [1, 2])
def test_the_stream_fails_when_a_link_leads_back(org, sync, pages_of, page):
    def edit(body, request, number):
        if number >= 2:
            body["links"]["next"] = f"/v1/teams?page={page}&pageSize=500"

    pages_of(10)
    vendor = org(list_rows={"team": 35}, edit=edit)
    synced = sync(vendor, "teams")
    assert synced.failures == {FailureType.system_error}
    assert "teams" in synced.failure("teams")
    expected = "next link" if page == 1 else "only rows of the pages before it"
    assert expected in synced.failure("teams")
    assert len(pages_asked(vendor)) <= 4


def second_page_is_missing(body, request, number):
    if request.params["page"] == "2":
        return json_reply(404, {"errors": [{"code": "not_found", "message": "Not found"}]})
    body["links"]["next"] = "/v1/teams?page=2&pageSize=10"
    return None


def test_the_stream_fails_when_a_promised_page_behind_a_full_one_is_missing(org, sync, pages_of):
    pages_of(10)
    synced = sync(org(list_rows={"team": 35}, edit=second_page_is_missing), "teams")
    assert synced.failures == {FailureType.system_error}
    assert synced.status("teams") is INCOMPLETE
    assert synced.states("teams") == []


def test_the_list_ends_when_a_promised_page_behind_a_short_one_is_missing(org, sync, pages_of):
    pages_of(10)
    vendor = org(list_rows={"team": 9}, edit=second_page_is_missing)
    synced = sync(vendor, "teams")
    assert synced.ids("teams") == ids(vendor, "team")
    assert synced.status("teams") is COMPLETE


@pytest.mark.parametrize("links", [{}, {"next": None}, {"next": ""}, None])
def test_every_row_is_emitted_once_when_full_pages_lack_a_link(org, sync, pages_of, links):
    def edit(body, request, number):
        body["links"] = links

    pages_of(10)
    vendor = org(list_rows={"tag": 30}, edit=edit)
    assert sync(vendor, "tags").ids("tags") == ids(vendor, "tag")


# Rows that move


@counted
@pytest.mark.parametrize("after", [1, 2, 3])
def test_no_row_is_lost_when_one_is_deleted_between_two_pages(
    org, sync, pages_of, list_total, after
):
    def edit(body, request, number):
        if number == after:
            vendor.delete("tag", before[3])

    pages_of(10)
    vendor = org(list_rows={"tag": 45}, list_total=list_total, hard_delete=True, edit=edit)
    before = ids(vendor, "tag")
    synced = sync(vendor, "tags")
    assert sorted(synced.ids("tags")) == sorted(before)


@counted
@pytest.mark.parametrize("after", [1, 2, 3])
def test_no_row_is_lost_when_one_is_deleted_and_one_created_between_two_pages(
    org, sync, pages_of, list_total, after
):
    def edit(body, request, number):
        if number == after:
            vendor.delete("tag", before[3])
            vendor.insert("tag")

    pages_of(10)
    vendor = org(list_rows={"tag": 45}, list_total=list_total, hard_delete=True, edit=edit)
    before = ids(vendor, "tag")
    synced = sync(vendor, "tags")
    assert set(before) <= set(synced.ids("tags"))
    assert len(synced.ids("tags")) == len(set(synced.ids("tags")))


@counted
def test_no_row_is_lost_when_a_whole_page_is_deleted_between_two_pages(
    org, sync, pages_of, list_total
):
    def edit(body, request, number):
        if number == 2:
            for ident in before[:12]:
                vendor.delete("tag", ident)

    pages_of(10)
    vendor = org(list_rows={"tag": 45}, list_total=list_total, hard_delete=True, edit=edit)
    before = ids(vendor, "tag")
    assert sorted(sync(vendor, "tags").ids("tags")) == sorted(before)


@counted
def test_rows_are_emitted_once_when_some_are_created_at_the_front_between_two_pages(
    org, sync, pages_of, list_total
):
    def newest_first():
        tags = vendor._truth["tag"]
        vendor._truth["tag"] = dict(sorted(tags.items(), key=lambda item: -item[1].number))

    def edit(body, request, number):
        if number == 2:
            vendor.insert("tag")
            newest_first()

    pages_of(10)
    vendor = org(list_rows={"tag": 45}, list_total=list_total, edit=edit)
    newest_first()
    before = ids(vendor, "tag")
    emitted = sync(vendor, "tags").ids("tags")
    assert set(before) <= set(emitted)
    assert len(emitted) == len(set(emitted))


# Incremental


@every_stream
def test_exactly_the_rows_at_or_after_the_state_are_emitted_when_incremental(
    org, sync, pages_of, stream, kind
):
    pages_of(10)
    vendor = org(list_rows={kind: 35})
    border = "2026-02-02T02:02:02.222Z"
    moment = datetime.fromisoformat(border)
    edges = [
        vendor.insert(kind, at=moment + timedelta(milliseconds=step)).id for step in (-1, 0, 1)
    ]
    synced = sync(vendor, stream, state={stream: {"updated_at": border}})
    due = {record.id for record in vendor.records(kind) if record.updated_at >= border}
    assert sorted(synced.ids(stream)) == sorted(due)
    assert 2 < len(due) < 37
    assert edges[0] not in due
    assert set(edges[1:]) <= due
    assert synced.state(stream) == {"updated_at": CUTOFF}


@every_stream
def test_a_second_sync_emits_exactly_what_changed_when_it_has_the_first_ones_state(
    org, sync, time, stream, kind
):
    vendor = org(list_rows={kind: 35})
    first = sync(vendor, stream)
    time.tick(3600)
    changed = {vendor.touch(kind, ident).id for ident in ids(vendor, kind)[4:9]}
    changed.add(vendor.insert(kind).id)
    time.tick(3600)
    second = sync(vendor, stream, state={stream: first.state(stream)})
    assert sorted(second.ids(stream)) == sorted(changed)
    assert sync(vendor, stream, state={stream: second.state(stream)}).ids(stream) == []


def test_a_row_is_not_missed_by_both_syncs_when_it_changes_while_a_list_is_read(
    org, sync, time, pages_of
):
    def edit(body, request, number):
        time.tick(400)
        if number == 2:
            vendor.touch("tag", first_of_all)

    pages_of(10)
    vendor = org(list_rows={"tag": 35}, edit=edit)
    first_of_all = ids(vendor, "tag")[0]
    first = sync(vendor, "tags")
    time.tick(600)
    second = sync(vendor, "tags", state={"tags": first.state("tags")})
    assert second.ids("tags") == [first_of_all]


def test_rows_without_updated_at_are_emitted_every_time_when_incremental(org, sync):
    vendor = org()
    odd = {"attributes": {"updatedAt": None}}
    timeless = [vendor.insert("team", resource=odd).id for _ in range(3)]
    vendor.insert("team", at=datetime(2026, 1, 1, tzinfo=UTC))
    synced = sync(vendor, "teams", state={"teams": {"updated_at": "2026-05-01T00:00:00Z"}})
    assert synced.ids("teams") == timeless


def test_rows_before_the_start_date_are_left_out_when_the_refresh_is_full(org, sync):
    vendor = org()
    vendor.insert("user", at=datetime(2024, 12, 31, 23, 59, 59, tzinfo=UTC))
    young = vendor.insert("user", at=datetime(2025, 1, 1, tzinfo=UTC)).id
    state = {"users": {"updated_at": "2026-05-01T00:00:00Z"}}
    synced = sync(vendor, "users", mode="full_refresh", state=state)
    assert synced.ids("users") == [young]


# Answers that are wrong


@pytest.mark.parametrize("kind", ["429", "503", "reset", "truncate", "html", "empty", "bad_json",
                                  "no_data"])  # fmt: skip
def test_every_row_is_emitted_once_when_answers_fail_in_passing(org, sync, pages_of, waits, kind):
    pages_of(10)
    vendor = org(list_rows={"user": 35}, faults=(Fault(kind, at=(1, 2, 4)),))
    assert sync(vendor, "users").ids("users") == ids(vendor, "user")
    assert len(waits) == 3


def test_the_stream_fails_and_claims_nothing_when_pages_lack_their_rows(org, sync, pages_of):
    pages_of(10)
    vendor = org(list_rows={"user": 35, "tag": 4}, faults=(Fault("no_data", 1, endpoint="user"),))
    synced = sync(vendor, "users", "tags")
    assert synced.failures == {FailureType.system_error}
    assert synced.states("users") == []
    assert "v1/users" in synced.failure("users")
    assert synced.ids("tags") == ids(vendor, "tag")


@pytest.mark.parametrize("value", ["yesterday", 1780272000, True, ["2026-01-01"]])
def test_the_stream_fails_and_names_itself_when_updated_at_is_no_timestamp(org, sync, value):
    vendor = org()
    vendor.insert("team", resource={"attributes": {"updatedAt": value}})
    synced = sync(vendor, "teams")
    assert synced.failures == {FailureType.system_error}
    assert "teams" in synced.failure("teams")
    assert synced.states("teams") == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_the_key_stays_when_the_vendor_redirects(org, sync, requests_mock, status):
    vendor = org(list_rows=3)
    elsewhere = {"Location": "https://evil.example.com/v1/teams"}
    requests_mock.get(f"{HOST}/v1/teams", status_code=status, headers=elsewhere)
    synced = sync(vendor, "teams")
    assert synced.failures == {FailureType.system_error}
    assert {request.netloc for request in requests_mock.request_history} == {"api.kustomerapp.com"}


def test_the_stream_fails_as_transient_when_the_vendor_is_down(org, sync, requests_mock, waits):
    vendor = org(list_rows=3)
    requests_mock.get(f"{HOST}/v1/teams", exc=requests.ConnectTimeout("timed out"))
    synced = sync(vendor, "teams", "tags")
    assert synced.failures == {FailureType.transient_error}
    assert len(synced.ids("tags")) == 3
    assert len(waits) >= 5


def test_the_stream_ends_as_transient_when_the_list_is_unquiet_for_ten_rounds(org, sync, pages_of):
    """Each page creates a row at the front, so that every round shows a new one."""

    def edit(body, request, number):
        vendor.insert("tag")
        tags = vendor._truth["tag"]
        vendor._truth["tag"] = dict(sorted(tags.items(), key=lambda item: -item[1].number))

    pages_of(10)
    vendor = org(list_rows={"tag": 25}, edit=edit)
    before = ids(vendor, "tag")
    synced = sync(vendor, "tags")
    assert synced.failures == {FailureType.transient_error}
    assert synced.status("tags") is INCOMPLETE
    assert "was read again 10 times and changed each time" in synced.failure("tags")
    assert synced.states("tags") == []
    assert set(before) <= set(synced.ids("tags"))


# Counts that are too high, and pages that are empty or do not exist


def emptied(pages, times=99):
    """Make these pages empty and without links, each a number of times."""
    left = dict.fromkeys(pages, times)

    def edit(body, request, number):
        page = request.params["page"]
        if left.get(page, 0):
            left[page] -= 1
            body["data"] = []
            body["links"]["next"] = None

    return edit


@pytest.mark.parametrize("page", ["1", "2", "3"])
@pytest.mark.parametrize("times", [1, 3])
def test_no_row_is_lost_when_a_page_is_empty_in_passing_though_rows_are_counted(
    org, sync, pages_of, page, times
):
    pages_of(100)
    vendor = org(list_rows={"tag": 230}, list_total=True, edit=emptied([page], times))
    synced = sync(vendor, "tags")
    assert sorted(synced.ids("tags")) == sorted(ids(vendor, "tag"))
    assert synced.status("tags") is COMPLETE


@pytest.mark.parametrize("pages", [["1"], ["2"], ["3"], ["1", "2", "3"]])
def test_the_stream_fails_and_claims_nothing_when_rows_are_counted_and_never_shown(
    org, sync, pages_of, pages
):
    pages_of(100)
    vendor = org(list_rows={"tag": 230}, list_total=True, edit=emptied(pages))
    synced = sync(vendor, "tags")
    assert synced.failures == {FailureType.system_error}
    assert synced.status("tags") is INCOMPLETE
    assert synced.states("tags") == []
    assert "230" in synced.failure("tags")


@pytest.mark.parametrize("shown", [25, 99])
def test_the_stream_fails_when_a_short_page_without_a_link_counts_more(org, sync, pages_of, shown):
    def edit(body, request, number):
        body["links"]["next"] = None
        body["data"] = body["data"][:shown] if request.params["page"] == "1" else []

    vendor = org(list_rows={"tag": 230}, list_total=True, edit=edit)
    synced = sync(vendor, "tags")
    assert synced.failures == {FailureType.system_error}
    assert synced.states("tags") == []


def test_no_row_is_lost_when_links_are_missing_and_rows_are_counted(org, sync, pages_of):
    def edit(body, request, number):
        body["links"]["next"] = None
        del body["meta"]["pageSize"]

    pages_of(25)
    vendor = org(list_rows={"tag": 230}, list_total=True, edit=edit)
    synced = sync(vendor, "tags")
    assert sorted(synced.ids("tags")) == sorted(ids(vendor, "tag"))


@pytest.mark.parametrize("links", ["counting", "none"])
@pytest.mark.parametrize("rows", [10, 7])
def test_the_stream_fails_soon_when_the_list_respects_no_page_number(
    org, sync, pages_of, links, rows
):
    def edit(body, request, number):
        body["data"] = first.setdefault("data", body["data"])
        following = int(request.params["page"]) + 1
        link = f"/v1/tags?page={following}&pageSize=10"
        body["links"]["next"] = link if links == "counting" else None

    first = {}
    pages_of(10)
    vendor = org(list_rows={"tag": rows}, edit=edit)
    synced = sync(vendor, "tags")
    assert len(pages_asked(vendor)) <= 4
    if links == "none" and rows == 7:
        assert synced.status("tags") is COMPLETE
        assert synced.ids("tags") == ids(vendor, "tag")
        return
    assert synced.failures == {FailureType.system_error}
    assert "only rows of the pages before it" in synced.failure("tags")
    assert synced.states("tags") == []


@pytest.mark.parametrize("part", [
    {"meta": True}, {"meta": []}, {"links": ["x"]}, {"links": "x"},
    {"links": {"next": 7}}, {"links": {"next": "not a URL"}}, {"links": {"next": "http://[::1"}},
    {"data": [None]}, {"data": [{"attributes": {}}]}, {"data": [{"id": "", "attributes": {}}]},
])  # fmt: skip
def test_a_page_of_another_shape_is_tried_again_and_then_fails_the_stream(org, sync, waits, part):
    vendor = org(list_rows={"tag": 5}, edit=lambda body, *_: body.update(part))
    synced = sync(vendor, "tags")
    assert synced.failures == {FailureType.system_error}
    assert "breaks the contract" in synced.failure("tags")
    assert pages_asked(vendor) == [1, 1, 1, 1]
    assert synced.states("tags") == []


def test_a_list_of_large_rows_is_read_whole_in_smaller_pages(org, sync):
    vendor = org(list_rows={"user": 600}, row_bytes=20_000)
    synced = sync(vendor, "users")
    assert sorted(synced.ids("users")) == sorted(ids(vendor, "user"))
    assert {entry.page_size for entry in vendor.journal.entries} == {500, 125}


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("page", ["1", "2"])
def test_an_empty_page_that_promises_another_is_fetched_again_after_a_wait(
    org, sync, waits, pages_of, times, page
):
    def edit(body, request, number):
        if request.params["page"] == page and len(met) < times:
            met.append(page)
            body["data"] = []

    met = []
    pages_of(100)
    vendor = org(list_rows={"tag": 230}, edit=edit)
    synced = sync(vendor, "tags")
    assert sorted(synced.ids("tags")) == sorted(ids(vendor, "tag"))
    assert len(waits) == times


def test_a_stream_can_be_read_without_a_sync(org):
    vendor = org(list_rows={"tag": 7})
    streams = SourceKustomer().streams({"api_token": vendor.token, "start_date": "2015-01-01"})
    (tags,) = (stream for stream in streams if stream.name == "tags")
    rows = list(tags.read_records(SyncMode.full_refresh))
    assert sorted(row["id"] for row in rows) == sorted(ids(vendor, "tag"))
    assert tags.state == {"updated_at": "2026-05-31T23:58:00.000Z"}
