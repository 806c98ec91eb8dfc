"""Searches by attributes that Kustomer does not document: proved, or replaced by a whole list."""

import pytest
from airbyte_cdk.models import AirbyteStreamStatus, FailureType

from source_kustomer import SourceKustomer
from source_kustomer.guarded import GuardedSearchStream

COMPLETE, INCOMPLETE = AirbyteStreamStatus.COMPLETE, AirbyteStreamStatus.INCOMPLETE
GUARDED = [one for one in SourceKustomer.stream_classes if issubclass(one, GuardedSearchStream)]
WITH_LIST = [stream for stream in GUARDED if stream.fallback is not None]
WITHOUT_LIST = [stream for stream in GUARDED if stream.fallback is None]
unheeded = pytest.mark.parametrize("undocumented", ["refused", "ignored", "empty"])
both_modes = pytest.mark.parametrize("mode", ["incremental", "full_refresh"])


def each(streams):
    return pytest.mark.parametrize("stream", streams, ids=lambda stream: stream.name)


def ids(vendor, stream):
    return sorted(record.id for record in vendor.records(stream.query_context))


def fallbacks(synced):
    return [line for line in synced.logs if "does not heed" in line]


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
@unheeded
@both_modes
def test_the_list_is_read_whole_when_the_attribute_is_not_heeded(
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
@unheeded
def test_a_second_sync_emits_what_changed_when_the_attribute_is_not_heeded(
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
    for undocumented in ("refused", "heeded", "ignored", "heeded"):
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
@unheeded
def test_the_stream_fails_when_the_attribute_is_not_heeded_and_there_is_no_list(
    org, sync, stream, undocumented
):
    vendor = org({stream.query_context: 40, "note": 3}, undocumented=undocumented)
    synced = sync(vendor, stream.name, "notes", start_date="2015-01-01")
    assert synced.failures == {FailureType.system_error}
    assert f"{stream.query_context}_{stream.cursor_attribute}" in synced.failure(stream.name)
    assert synced.rows(stream.name) == synced.states(stream.name) == []
    assert synced.status("notes") is COMPLETE


@each(GUARDED)
def test_the_stream_fails_and_keeps_its_state_when_only_the_first_page_is_heeded(org, sync, stream):
    def edit(body, request, number):
        if request.params["page"] == "2":
            body["data"].reverse()

    vendor = org({stream.query_context: 90}, page_size_max=30, edit=edit)
    synced = sync(vendor, stream.name, start_date="2015-01-01")
    assert synced.failures == {FailureType.system_error}
    assert synced.status(stream.name) is INCOMPLETE
    assert "not for all of its pages" in synced.failure(stream.name)
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
