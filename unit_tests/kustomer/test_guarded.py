"""Searches by attributes that Kustomer does not document: proved, or replaced by a fallback."""

import orjson
import pytest
from airbyte_cdk.models import AirbyteStreamStatus, FailureType

from fake_vendor import Reply
from source_kustomer import SourceKustomer
from source_kustomer.guarded import GuardedSearchStream
from source_kustomer.lists import IncrementalListStream
from source_kustomer.streams import WorkItems

COMPLETE, INCOMPLETE = AirbyteStreamStatus.COMPLETE, AirbyteStreamStatus.INCOMPLETE
GUARDED = [one for one in SourceKustomer.stream_classes if issubclass(one, GuardedSearchStream)]
WITH_LIST = [
    stream
    for stream in GUARDED
    if stream.fallback is not None and issubclass(stream.fallback, IncrementalListStream)
]
WITHOUT_LIST = [stream for stream in GUARDED if stream.fallback is None]
unsupported = pytest.mark.parametrize("undocumented", ["refused", "ignored", "empty"])
both_modes = pytest.mark.parametrize("mode", ["incremental", "full_refresh"])


def each(streams):
    return pytest.mark.parametrize("stream", streams, ids=lambda stream: stream.name)


def ids(vendor, stream):
    return sorted(record.id for record in vendor.records(stream.query_context))


def fallbacks(synced):
    return [line for line in synced.logs if "does not support" in line]


def searches(vendor):
    return [entry for entry in vendor.journal.entries if entry.endpoint == "search"]


@each(GUARDED)
@both_modes
def test_the_search_is_used_when_the_first_page_proves_it(org, sync, stream, mode):
    vendor = org({stream.query_context: 120}, page_size_max=30)
    synced = sync(vendor, stream.name, mode=mode, start_date="2015-01-01")
    assert sorted(synced.ids(stream.name)) == ids(vendor, stream)
    assert fallbacks(synced) == []
    assert {entry.endpoint for entry in vendor.journal.entries} <= {"search", "archive_search"}


@each(GUARDED)
def test_an_empty_page_is_believed_when_two_more_searches_prove_it(org, sync, time, stream):
    vendor = org({stream.query_context: 40}, page_size_max=30)
    first = sync(vendor, stream.name, start_date="2015-01-01")
    time.tick(3600)
    vendor.journal.clear()
    state = {stream.name: first.state(stream.name)}
    second = sync(vendor, stream.name, state=state, start_date="2015-01-01")
    assert second.ids(stream.name) == []
    assert second.status(stream.name) is COMPLETE
    assert fallbacks(second) == []
    assert len(searches(vendor)) == 3


@each(GUARDED)
def test_an_org_without_such_records_is_read_to_its_end(org, sync, stream):
    synced = sync(org(), stream.name, start_date="2015-01-01")
    assert synced.status(stream.name) is COMPLETE
    assert fallbacks(synced) == []


@each(WITH_LIST)
@unsupported
@both_modes
def test_the_list_is_read_whole_when_the_attribute_is_not_supported(
    org, sync, time, stream, undocumented, mode
):
    vendor = org({stream.query_context: 130}, undocumented=undocumented)
    first = sync(vendor, stream.name, mode=mode, start_date="2015-01-01")
    assert sorted(first.ids(stream.name)) == ids(vendor, stream)
    assert first.status(stream.name) is COMPLETE
    assert len(fallbacks(first)) == 1
    assert stream.fallback.endpoint in fallbacks(first)[0]
    assert first.state(stream.name) == {"updated_at": "2026-05-31T23:58:00.000Z"}


@each(WITH_LIST)
@unsupported
def test_a_second_sync_emits_what_changed_when_the_attribute_is_not_supported(
    org, sync, time, stream, undocumented
):
    vendor = org({stream.query_context: 40}, undocumented=undocumented)
    first = sync(vendor, stream.name, start_date="2015-01-01")
    time.tick(3600)
    changed = {vendor.touch(stream.query_context, ident).id for ident in ids(vendor, stream)[:5]}
    time.tick(3600)
    second = sync(vendor, stream.name, state={stream.name: first.state(stream.name)})
    assert set(second.ids(stream.name)) == changed


@each(WITH_LIST)
def test_the_state_of_the_list_is_good_for_the_search_and_the_other_way_round(
    org, sync, time, stream
):
    vendor = org({stream.query_context: 40}, undocumented="refused")
    state, seen = None, []
    for undocumented in ("refused", "supported", "ignored", "supported"):
        vendor.switch(undocumented=undocumented)
        synced = sync(vendor, stream.name, state=state, start_date="2015-01-01")
        assert synced.status(stream.name) is COMPLETE
        seen += synced.ids(stream.name)
        state = {stream.name: synced.state(stream.name)}
        time.tick(600)
        vendor.insert(stream.query_context)
        time.tick(600)
    synced = sync(vendor, stream.name, state=state, start_date="2015-01-01")
    seen += synced.ids(stream.name)
    assert sorted(seen) == ids(vendor, stream)


@each(WITHOUT_LIST)
@unsupported
def test_the_stream_fails_when_the_attribute_is_not_supported_and_there_is_no_list(
    org, sync, stream, undocumented
):
    vendor = org({stream.query_context: 40, "note": 3}, undocumented=undocumented)
    synced = sync(vendor, stream.name, "notes", start_date="2015-01-01")
    assert synced.failures == {FailureType.system_error}
    assert f"{stream.query_context}_{stream.cursor_attribute}" in synced.failure(stream.name)
    assert synced.rows(stream.name) == synced.states(stream.name) == []
    assert synced.status("notes") is COMPLETE


@each(GUARDED)
def test_the_stream_fails_and_keeps_its_state_when_only_page_one_is_respected(org, sync, stream):
    def edit(body, request, number):
        if request.params["page"] == "2":
            body["data"].reverse()

    vendor = org({stream.query_context: 90}, page_size_max=30, edit=edit)
    synced = sync(vendor, stream.name, start_date="2015-01-01")
    assert synced.failures == {FailureType.system_error}
    assert synced.status(stream.name) is INCOMPLETE
    assert "but not for all pages" in synced.failure(stream.name)
    for emitted, state in synced.checkpoints(stream.name):
        assert len(set(emitted)) <= 31
        assert state[stream.cursor_attribute] < "2026-05-31"


@each(GUARDED)
def test_a_refused_key_is_no_reason_to_fall_back(org, sync, stream):
    vendor = org({stream.query_context: 9}, search_refusal=403)
    synced = sync(vendor, stream.name)
    assert synced.failures == {FailureType.config_error}
    assert stream.role in synced.failure(stream.name)


@each(WITH_LIST)
def test_a_list_that_is_refused_names_its_own_role(org, sync, requests_mock, stream):
    vendor = org({stream.query_context: 9}, undocumented="refused")
    requests_mock.get(
        f"https://api.kustomerapp.com/v1/{stream.fallback.endpoint}",
        status_code=403,
        json={"errors": [{"title": "Missing required role"}]},
    )
    synced = sync(vendor, stream.name)
    assert synced.failures == {FailureType.config_error}
    assert stream.fallback.role in synced.failure(stream.name)


@each(GUARDED)
@pytest.mark.parametrize("total", ["capped", "missing", -3])
def test_an_empty_page_is_believed_whatever_the_vendor_counts(org, sync, time, stream, total):
    vendor = org({stream.query_context: 40})
    first = sync(vendor, stream.name, start_date="2015-01-01")
    vendor.switch(total=total)
    time.tick(60)
    vendor.insert(stream.query_context)
    state = {stream.name: first.state(stream.name)}
    second = sync(vendor, stream.name, state=state, start_date="2015-01-01")
    assert second.status(stream.name) is COMPLETE
    assert fallbacks(second) == []


@each(GUARDED)
def test_pages_that_are_too_large_prove_the_attribute_too(org, sync, stream):
    vendor = org({stream.query_context: 150}, row_bytes=80_000)
    synced = sync(vendor, stream.name, start_date="2015-01-01")
    assert sorted(synced.ids(stream.name)) == ids(vendor, stream)
    assert fallbacks(synced) == []


@each(GUARDED)
def test_one_odd_page_is_fetched_again(org, sync, stream):
    def edit(body, request, number):
        if number == 1:
            body["data"].reverse()

    vendor = org({stream.query_context: 90}, page_size_max=30, edit=edit)
    synced = sync(vendor, stream.name, start_date="2015-01-01")
    assert sorted(synced.ids(stream.name)) == ids(vendor, stream)
    assert fallbacks(synced) == []


def without_criteria(answer):
    """An edit of answers to searches that name no attribute."""

    def edit(body, request, number):
        if request.method == "POST" and "and" not in orjson.loads(request.body):
            return answer(body)
        return None

    return edit


@each(GUARDED)
def test_an_empty_search_without_an_attribute_hides_nothing(org, sync, time, stream):
    edit = without_criteria(lambda body: body.update(data=[], meta={}))
    vendor = org({stream.query_context: 50}, edit=edit)
    first = sync(vendor, stream.name, start_date="2015-01-01")
    assert sorted(first.ids(stream.name)) == ids(vendor, stream)
    time.tick(3600)
    state = {stream.name: first.state(stream.name)}
    second = sync(vendor, stream.name, state=state, start_date="2015-01-01")
    assert second.status(stream.name) is COMPLETE
    assert second.ids(stream.name) == []
    vendor.switch(undocumented="empty")
    third = sync(vendor, stream.name, start_date="2015-01-01")
    if stream in WITH_LIST:
        assert sorted(third.ids(stream.name)) == ids(vendor, stream)


@each(WITH_LIST)
def test_a_search_without_an_attribute_that_is_refused_leads_to_the_list(org, sync, time, stream):
    edit = without_criteria(lambda _: Reply(400, {}, b'{"errors": []}'))
    vendor = org({stream.query_context: 50}, edit=edit)
    first = sync(vendor, stream.name, start_date="2015-01-01")
    assert fallbacks(first) == []
    time.tick(3600)
    state = {stream.name: first.state(stream.name)}
    second = sync(vendor, stream.name, state=state, start_date="2015-01-01")
    assert second.status(stream.name) is COMPLETE
    assert second.ids(stream.name) == []
    assert len(fallbacks(second)) == 1


@each([stream for stream in WITH_LIST if stream.has_archive])
def test_every_window_must_prove_the_attribute(org, sync, stream):
    """The filters are ignored, the order is kept, and all records are in the youngest window."""

    def edit(body, request, number):
        if request.method == "POST" and "/archive/" not in request.path:
            everything = sorted(
                vendor.records(stream.query_context), key=lambda one: one.updated_ms
            )
            body["data"] = [orjson.loads(one.raw()) for one in everything]
            body["meta"].pop("total")

    vendor = org({stream.query_context: 20}, years=0.5, edit=edit)
    synced = sync(vendor, stream.name, start_date="2015-01-01")
    assert sorted(synced.ids(stream.name)) == ids(vendor, stream)
    assert synced.status(stream.name) is COMPLETE


@each(GUARDED)
@pytest.mark.parametrize("counted", [True, False])
def test_a_search_that_filters_but_does_not_sort_is_not_believed(org, sync, stream, counted):
    """Its first page ascends by chance: few records were changed since they were created."""
    name = "createdAt" if stream.cursor_attribute == "created_at" else "updatedAt"

    def edit(body, request, number):
        if request.method != "POST" or "/archive/" in request.path:
            return
        asked = orjson.loads(request.body)
        bounds = [item for criteria in asked.get("and", []) for item in criteria.values()]
        rows = [orjson.loads(one.raw()) for one in in_order]
        for bound in bounds:
            rows = [
                row
                for row in rows
                if row["attributes"][name] >= bound.get("gte", "")
                and row["attributes"][name] < bound.get("lt", "9")
            ]
        page, size = int(request.params["page"]), min(int(request.params["pageSize"]), 30)
        body["data"] = rows[(page - 1) * size : page * size]
        body["meta"] = {"total": len(rows)} if counted else {}
        body["links"] = {}

    vendor = org({stream.query_context: 100}, years=0.5, edit=edit)
    in_order = sorted(
        vendor.records(stream.query_context),
        key=lambda one: one.created_ms if name == "createdAt" else one.updated_ms,
    )
    in_order.insert(29, in_order.pop(98))
    synced = sync(vendor, stream.name, start_date="2015-01-01")
    if stream in WITH_LIST:
        assert sorted(synced.ids(stream.name)) == ids(vendor, stream)
        assert synced.status(stream.name) is COMPLETE
    else:
        assert synced.status(stream.name) is INCOMPLETE
        assert synced.states(stream.name) == []


# Work items: if not by updated_at, then by the moment of completion

COMPLETED = ("work_item_handle_completed_at", "work_item_created_at")


def completed(vendor):
    return sorted(one.id for one in vendor.records("work_item") if one.completed_ms > 0)


@pytest.mark.parametrize("undocumented", ["refused", "ignored", "empty"])
@both_modes
def test_completed_items_are_read_when_items_cannot_be_searched_by_their_change(
    org, sync, time, undocumented, mode
):
    vendor = org(
        {"work_item": 60}, undocumented=undocumented, supported=COMPLETED, page_size_max=20
    )
    first = sync(vendor, "work_items", mode=mode, start_date="2015-01-01")
    assert sorted(first.ids("work_items")) == completed(vendor)
    assert first.status("work_items") is COMPLETE
    (said,) = fallbacks(first)
    assert "work_item_handle_completed_at is used instead" in said
    assert "only the items that an agent has completed" in said
    assert first.state("work_items") == {"handle_completed_at": "2026-05-31T23:58:00.000Z"}
    time.tick(3600)
    changed = vendor.touch("work_item", completed(vendor)[3]).id
    time.tick(3600)
    state = {"work_items": first.state("work_items")}
    second = sync(vendor, "work_items", state=state, start_date="2015-01-01")
    assert second.ids("work_items") == [changed]
    assert [line for line in second.logs if "the saved state counts" in line] == []


def test_work_items_begin_anew_when_another_attribute_is_counted_and_say_so(org, sync, time):
    vendor = org({"work_item": 40})
    everything = ids(vendor, WorkItems)
    first = sync(vendor, "work_items", start_date="2015-01-01")
    assert first.state("work_items") == {"updated_at": "2026-05-31T23:58:00.000Z"}
    time.tick(3600)
    vendor.switch(undocumented="refused", supported=COMPLETED)
    state = {"work_items": first.state("work_items")}
    second = sync(vendor, "work_items", state=state, start_date="2015-01-01")
    assert sorted(second.ids("work_items")) == completed(vendor)
    (said,) = [line for line in second.logs if "the saved state counts" in line]
    assert "counts updated_at, but this sync counts handle_completed_at" in said
    time.tick(3600)
    vendor.switch(undocumented="supported")
    state = {"work_items": second.state("work_items")}
    third = sync(vendor, "work_items", state=state, start_date="2015-01-01")
    assert sorted(third.ids("work_items")) == everything
    (said,) = [line for line in third.logs if "the saved state counts" in line]
    assert "counts handle_completed_at, but this sync counts updated_at" in said
    state = {"work_items": third.state("work_items")}
    fourth = sync(vendor, "work_items", state=state, start_date="2015-01-01")
    assert fourth.ids("work_items") == []


def test_items_of_which_none_is_completed_are_no_rows_and_no_failure(org, sync):
    vendor = org(undocumented="refused", supported=COMPLETED)
    while len(vendor.records("work_item")) < 3:
        vendor.insert("work_item", indexed=True)
    for record in vendor.records("work_item"):
        if record.completed_ms > 0:
            vendor.delete("work_item", record.id)
    synced = sync(vendor, "work_items", start_date="2015-01-01")
    assert synced.rows("work_items") == []
    assert synced.status("work_items") is COMPLETE


def test_an_empty_search_is_not_believed_when_many_items_are_open_and_none_is_seen_completed(
    org, sync
):
    def edit(body, request, number):
        for row in body["data"]:
            row["attributes"].pop("handle")

    vendor = org(
        {"work_item": 30},
        undocumented="empty",
        supported=("work_item_created_at",),
        page_size_max=20,
        edit=edit,
    )
    synced = sync(vendor, "work_items", start_date="2015-01-01")
    assert synced.status("work_items") is INCOMPLETE
    assert synced.states("work_items") == []
    assert "handle.completedAt" in synced.failure("work_items")


# What the proofs themselves run into


def when_sorted_descending(answer):
    """An edit of the answer to the search for the last record."""

    def edit(body, request, number):
        asked = orjson.loads(request.body) if request.method == "POST" else {}
        if "desc" in str(asked.get("sort")):
            return answer(body)
        return None

    return edit


@each(WITH_LIST)
@pytest.mark.parametrize("reply", [Reply(400, {}, b"{}"), None])
def test_a_search_that_shows_no_last_record_leads_to_the_list(org, sync, stream, reply):
    edit = when_sorted_descending(lambda body: reply or body.update(data=[], meta={}))
    vendor = org({stream.query_context: 50}, edit=edit)
    synced = sync(vendor, stream.name, start_date="2015-01-01")
    assert sorted(synced.ids(stream.name)) == ids(vendor, stream)
    assert len(fallbacks(synced)) == 1


@each(GUARDED)
def test_a_refused_key_in_the_middle_of_a_proof_is_a_config_error(org, sync, stream):
    edit = when_sorted_descending(lambda _: Reply(403, {}, b'{"errors": [{"message": "No"}]}'))
    vendor = org({stream.query_context: 50}, edit=edit)
    synced = sync(vendor, stream.name, start_date="2015-01-01")
    assert synced.failures == {FailureType.config_error}
    vendor = org({stream.query_context: 0}, edit=without_criteria(lambda _: Reply(403, {}, b"{}")))
    synced = sync(vendor, stream.name, start_date="2015-01-01", include_deleted=True)
    assert synced.failures == {FailureType.config_error}


@each(WITH_LIST)
@pytest.mark.parametrize(
    ("faults", "status"),
    [({"refused": True}, COMPLETE), ({"status": 503}, INCOMPLETE), ({"large": True}, INCOMPLETE)],
)
def test_an_empty_table_is_believed_when_its_list_cannot_contradict(
    org, sync, requests_mock, stream, faults, status
):
    endpoint = f"https://api.kustomerapp.com/v1/{stream.fallback.endpoint}"
    vendor = org(refused=(stream.query_context,) if "refused" in faults else ())
    if "status" in faults:
        requests_mock.get(endpoint, status_code=503)
    if "large" in faults:
        requests_mock.get(endpoint, content=b"{" + b" " * 7_000_000)
    synced = sync(vendor, stream.name, start_date="2015-01-01")
    assert synced.status(stream.name) is status
    assert synced.rows(stream.name) == []
