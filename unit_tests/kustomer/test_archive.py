"""Records older than two years: they come from the archive, and the seam loses none."""

from datetime import UTC, datetime, timedelta

import pytest
from airbyte_cdk.models import AirbyteStreamStatus, FailureType

NOW = datetime(2026, 6, 1, tzinfo=UTC)
HORIZON = datetime(2024, 6, 1, tzinfo=UTC)
CUTOFF = "2026-05-31T23:58:00.000Z"
START = "2015-01-01"
MILLISECOND, DAY = timedelta(milliseconds=1), timedelta(days=1)
COMPLETE, INCOMPLETE = AirbyteStreamStatus.COMPLETE, AirbyteStreamStatus.INCOMPLETE
ARCHIVED = {
    "conversations": "conversation",
    "customers": "customer",
    "kobjects": "kobject",
    "messages": "message",
}
every_archive = pytest.mark.parametrize(("stream", "kind"), ARCHIVED.items(), ids=ARCHIVED)
every_scope = pytest.mark.parametrize("scope", ["old", "all"])
both_modes = pytest.mark.parametrize("mode", ["incremental", "full_refresh"])


def ids(vendor, kind):
    records = sorted(vendor.records(kind), key=lambda record: (record.updated_ms, record.order))
    return [record.id for record in records]


def asked(vendor, endpoint):
    return [entry for entry in vendor.journal.entries if entry.endpoint == endpoint]


def bounds(entry):
    """Return the bounds of a request's updated_at, lower bound first."""
    found = {}
    for criterion in entry.criteria["and"]:
        ((attribute, condition),) = criterion.items()
        if attribute.endswith("_updated_at"):
            found |= condition
    return found.get("gte"), found.get("lt")


@pytest.mark.slow
@both_modes
@every_scope
@every_archive
def test_every_row_is_emitted_once_and_ascending_when_most_are_archived(
    org, sync, stream, kind, scope, mode
):
    vendor = org({kind: 330}, years=10, ties=(40,), page_size_max=50, archive_scope=scope)
    synced = sync(vendor, stream, mode=mode, start_date=START)
    assert synced.status(stream) is COMPLETE
    assert sorted(synced.ids(stream)) == sorted(ids(vendor, kind))
    updated = [row["updated_at"] for row in synced.rows(stream)]
    assert updated == sorted(updated)
    assert min(updated) < "2018"
    assert len(asked(vendor, "archive_search")) >= 5
    assert synced.state(stream) == {"updated_at": CUTOFF}


@every_scope
def test_every_row_is_emitted_once_when_rows_lie_around_the_border(org, sync, scope):
    vendor = org(archive_scope=scope, page_size_max=4)
    for days in (-8, -7, -6, -1, 0, 1, 6, 7, 8):
        for step in (-1, 0, 0, 0, 0, 0, 1):
            vendor.insert("customer", at=HORIZON + days * DAY + step * MILLISECOND)
    synced = sync(vendor, "customers", start_date=START)
    assert sorted(synced.ids("customers")) == sorted(ids(vendor, "customer"))
    updated = [row["updated_at"] for row in synced.rows("customers")]
    assert updated == sorted(updated)


@every_scope
@pytest.mark.parametrize("distance", [-3 * DAY, -MILLISECOND, 0 * DAY, 3 * DAY])
def test_every_row_is_emitted_once_when_ties_lie_in_the_seam(org, sync, scope, distance):
    vendor = org({"customer": 60}, years=4, archive_scope=scope, page_size_max=20)
    for number in range(90):
        born = HORIZON - 90 * DAY + number * timedelta(minutes=7)
        vendor.insert("customer", at=HORIZON + distance, created=born)
    synced = sync(vendor, "customers", start_date=START)
    assert sorted(synced.ids("customers")) == sorted(ids(vendor, "customer"))


def test_every_row_is_emitted_when_rows_pass_into_the_archive_while_it_is_read(org, sync, time):
    def hours_pass(body, request, number):
        time.tick(3 * 3600)

    vendor = org({"customer": 60}, years=5, page_size_max=10, edit=hours_pass)
    for minutes in range(0, 4 * 24 * 60, 60):
        vendor.insert("customer", at=HORIZON + timedelta(minutes=minutes))
    before = ids(vendor, "customer")
    synced = sync(vendor, "customers", start_date=START, mode="full_refresh")
    assert set(before) <= set(synced.ids("customers"))
    assert synced.status("customers") is COMPLETE


def test_no_archive_is_asked_when_the_start_date_is_young(org, sync):
    vendor = org({"customer": 20})
    sync(vendor, "customers", start_date="2025-01-01")
    assert asked(vendor, "archive_search") == []


@pytest.mark.parametrize("name", ["notes", "customers"])
def test_the_log_says_once_what_cannot_be_read_when_there_is_no_archive(org, sync, name):
    vendor = org({"note": 90, "customer": 90}, years=6, page_size_max=20)
    synced = sync(vendor, name, start_date=START, include_archived=name == "notes")
    kind = name.removesuffix("s")
    young = [one.id for one in vendor.records(kind) if one.updated_at >= "2024-06-01"]
    assert 0 < len(young) < 90
    assert sorted(synced.ids(name)) == sorted(young)
    assert asked(vendor, "archive_search") == []
    lines = [line for line in synced.logs if "2024-06-01" in line]
    assert len(lines) == 1
    assert name in lines[0]
    assert synced.status(name) is COMPLETE


def test_the_log_says_nothing_of_an_archive_when_none_is_needed(org, sync):
    vendor = org({"note": 9})
    assert not [line for line in sync(vendor, "notes").logs if "archive" in line]


@pytest.mark.parametrize("status", [401, 403, 404])
def test_the_stream_fails_and_names_the_option_when_the_archive_is_refused(org, sync, status):
    vendor = org({"customer": 90, "note": 20}, years=6, archive_refusal=status, list_rows=5)
    synced = sync(vendor, "customers", "notes", "tags", start_date=START)
    assert synced.failures == {FailureType.config_error}
    assert synced.status("customers") is INCOMPLETE
    assert "include_archived" in synced.failure("customers")
    assert vendor.token not in synced.everything_said
    assert synced.status("notes") is COMPLETE
    assert synced.status("tags") is COMPLETE
    assert len(synced.ids("tags")) == 5


@every_archive
def test_reading_goes_on_inside_the_archive_when_the_state_stands_there(org, sync, stream, kind):
    vendor = org({kind: 300}, years=10, page_size_max=50)
    resumed = "2020-02-02T02:02:02.222Z"
    synced = sync(vendor, stream, start_date=START, state={stream: {"updated_at": resumed}})
    rest = [one.id for one in vendor.records(kind) if one.updated_at >= resumed]
    assert 50 < len(rest) < 300
    assert sorted(synced.ids(stream)) == sorted(rest)
    assert min(bounds(entry)[0] for entry in asked(vendor, "archive_search")) == resumed


@pytest.mark.slow
@both_modes
def test_what_is_left_is_read_when_a_sync_is_resumed_from_any_of_its_states(org, sync, mode):
    vendor = org({"customer": 1700}, years=6, page_size_max=200, archive_scope="all")
    checkpoints = sync(vendor, "customers", mode=mode, start_date=START).checkpoints("customers")
    assert len(checkpoints) >= 3
    for emitted, state in checkpoints:
        below = {one.id for one in vendor.records("customer")
                 if one.updated_at < state["updated_at"]}  # fmt: skip
        assert below <= set(emitted)
        resumed = sync(vendor, "customers", mode=mode, start_date=START, state={"customers": state})
        assert set(emitted) | set(resumed.ids("customers")) == set(ids(vendor, "customer"))


def test_deleted_rows_are_emitted_from_the_archive_when_they_are_asked_for(org, sync):
    vendor = org({"customer": 40}, years=8)
    gone = ids(vendor, "customer")[0]
    vendor.delete("customer", gone, at=datetime(2019, 1, 1, tzinfo=UTC))
    without = sync(vendor, "customers", start_date=START)
    assert gone not in without.ids("customers")
    rows = sync(vendor, "customers", start_date=START, include_deleted=True).rows("customers")
    assert len(rows) == 40
    assert [row["deleted"] for row in rows if row["id"] == gone] == [True]
