"""Backfills in windows of `[start_date, end_date)`, and an incremental connection after them."""

import random
from datetime import UTC, datetime, timedelta

import pytest
from airbyte_cdk.models import AirbyteStreamStatus, FailureType

from source_kustomer import SourceKustomer
from source_kustomer.lists import IncrementalListStream
from source_kustomer.search import SearchStream

COMPLETE = AirbyteStreamStatus.COMPLETE
CUTOFF = "2026-05-31T23:58:00.000Z"
BORDERS = ["2018-01-01", "2024-03-01", "2024-06-15T12:00:00Z", "2025-09-01", "2026-05-30T01:02:03Z"]
SEARCHES = {
    stream.name: stream.query_context
    for stream in SourceKustomer.stream_classes
    if issubclass(stream, SearchStream) and stream.cursor_attribute == "updated_at"
}
LISTS = {
    stream.name: stream.endpoint.removesuffix("s")
    for stream in SourceKustomer.stream_classes
    if issubclass(stream, IncrementalListStream)
}
every_stream = pytest.mark.parametrize(("stream", "kind"), (SEARCHES | LISTS).items())
both_modes = pytest.mark.parametrize("mode", ["incremental", "full_refresh"])


def org_of(org, kind, rows=200, **options):
    group = "list_rows" if kind in LISTS.values() else "rows"
    return org(**{group: {kind: rows}}, years=6, page_size_max=40, **options)


def is_reachable(stream, record):
    """Whether a search without an archive can find the record."""
    classes = {one.name: one for one in SourceKustomer.stream_classes}
    has_archive = getattr(classes[stream], "has_archive", True)
    return has_archive or record.updated_at >= "2024-06-01"


def within(vendor, stream, kind, lower, upper):
    return sorted(
        record.id
        for record in vendor.records(kind)
        if lower <= record.updated_at < upper and is_reachable(stream, record)
    )


@every_stream
@both_modes
def test_a_window_emits_exactly_its_rows(org, sync, stream, kind, mode):
    vendor = org_of(org, kind)
    border = datetime(2025, 9, 1, tzinfo=UTC)
    for step in (-1, 0, 1):
        vendor.insert(kind, at=border + timedelta(milliseconds=step))
    synced = sync(vendor, stream, mode=mode, start_date="2023-05-05", end_date="2025-09-01")
    assert sorted(synced.ids(stream)) == within(vendor, stream, kind, "2023-05-05", "2025-09-01")
    assert synced.status(stream) is COMPLETE
    assert synced.state(stream) == {"updated_at": "2025-09-01T00:00:00.000Z"}


@every_stream
def test_a_state_at_or_beyond_the_end_reads_nothing(org, sync, stream, kind):
    vendor = org_of(org, kind)
    for moment in ("2025-09-01T00:00:00.000Z", "2026-01-01T00:00:00.000Z"):
        state = {stream: {"updated_at": moment}}
        synced = sync(vendor, stream, state=state, start_date="2023-05-05", end_date="2025-09-01")
        assert synced.ids(stream) == []
        assert synced.state(stream) == {"updated_at": moment}
    assert vendor.journal.entries == []


@every_stream
@both_modes
def test_an_end_that_is_still_to_come_leaves_the_last_minutes_to_the_next_sync(
    org, sync, stream, kind, mode
):
    vendor = org_of(org, kind, 20)
    young = vendor.insert(kind, at=datetime(2026, 5, 31, 23, 59, 59, tzinfo=UTC)).id
    synced = sync(vendor, stream, mode=mode, start_date="2015-01-01", end_date="2026-07-01")
    assert synced.state(stream) == {"updated_at": CUTOFF}
    # A full refresh replaces the table, so it reads what is there, to the end date.
    is_whole = kind in LISTS.values() or mode == "full_refresh"
    assert (young in synced.ids(stream)) is is_whole


@pytest.mark.parametrize("stream", SEARCHES)
def test_a_full_refresh_to_an_end_that_is_to_come_has_what_changes_meanwhile(org, sync, stream):
    def edit(body, request, number):
        if "/search" in request.path:
            moved.update(record.id for record in vendor.touch_random(2, (SEARCHES[stream],)))

    moved = set()
    vendor = org({SEARCHES[stream]: 200}, years=1, page_size_max=20, edit=edit)
    synced = sync(
        vendor, stream, mode="full_refresh", start_date="2015-01-01", end_date="2027-01-01"
    )
    assert moved
    assert set(synced.ids(stream)) == {record.id for record in vendor.records(SEARCHES[stream])}
    assert synced.state(stream) == {"updated_at": CUTOFF}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("stream", ["customers", "companies", "tags"])
def test_windows_and_the_sync_behind_them_bring_exactly_the_vendors_records(
    org, sync, time, stream, seed
):
    """Records change meanwhile, and the windows are read in any order."""
    kind = (SEARCHES | LISTS)[stream]
    vendor = org_of(org, kind, ties=(60,) if kind in SEARCHES.values() else ())
    chance = random.Random(seed)
    last_of_all = {record.id: record.updated_at for record in vendor.records(kind)}
    windows = list(zip(BORDERS, [*BORDERS[1:], "2026-06-01"], strict=True))
    last = windows.pop()
    chance.shuffle(windows)
    copy, state = {}, None

    def take(synced):
        assert synced.status(stream) is COMPLETE
        for row in synced.rows(stream):
            if row["updated_at"] >= copy.get(row["id"], ""):
                copy[row["id"]] = row["updated_at"]

    for start, end in (*windows, last):
        time.tick(1800)
        for ident in chance.sample(sorted(last_of_all), 5):
            vendor.touch(kind, ident)
        vendor.insert(kind)
        synced = sync(vendor, stream, start_date=start, end_date=end)
        take(synced)
        if (start, end) == last:
            state = {stream: synced.state(stream)}
    time.tick(600)
    take(sync(vendor, stream, state=state, start_date=BORDERS[0]))
    assert copy == {record.id: record.updated_at for record in vendor.records(kind)}


def test_full_refresh_lists_know_no_end(org, sync):
    vendor = org(setting_rows={"brand": 5})
    synced = sync(
        vendor, "brands", mode="full_refresh", start_date="2015-01-01", end_date="2015-02-01"
    )
    assert len(synced.ids("brands")) == 5


@pytest.mark.parametrize(
    "end_date", ["yesterday", "2024-02-30", "2025-01-01", "2024-12-31T23:59:59Z"]
)
def test_an_end_that_is_no_date_or_not_after_the_start_is_a_config_error(org, sync, end_date):
    synced = sync(org({"note": 3}), "notes", start_date="2025-01-01", end_date=end_date)
    assert synced.failures == {FailureType.config_error}
    message = synced.output.errors[-1].trace.error.message
    assert "end_date" in message or end_date in message
