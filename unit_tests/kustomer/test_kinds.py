"""Tests that every stream must pass because of its kind. Every stream of the source runs them.

For a kind that no stream of the source has yet, this file defines a stream.
"""

from datetime import UTC, datetime, timedelta

import pytest
from airbyte_cdk.models import AirbyteStreamStatus, FailureType

from fake_vendor import Fault
from fake_vendor.data import (
    CHILD_KINDS,
    CHILD_LISTS,
    EVENT_PATHS,
    LIST_KINDS,
    LIST_PAGE_SIZES,
    PATHS,
    SEARCH_KINDS,
    SETTING_KINDS,
)
from source_kustomer import SourceKustomer
from source_kustomer.children import ChildStream
from source_kustomer.events import EventLogStream
from source_kustomer.included import IncludedStream
from source_kustomer.lists import FullRefreshListStream, IncrementalListStream
from source_kustomer.metadata import MetadataStream
from source_kustomer.search import SearchStream
from source_kustomer.stream import FullRefreshStream
from source_kustomer.streams import Conversations

# `make unit` leaves these out: every test runs for every stream.
pytestmark = pytest.mark.slow

LISTS = (*LIST_KINDS, *SETTING_KINDS)
COMPLETE, INCOMPLETE = AirbyteStreamStatus.COMPLETE, AirbyteStreamStatus.INCOMPLETE
NOW = datetime(2026, 6, 1, tzinfo=UTC)
CUTOFF = "2026-05-31T23:58:00.000Z"
NO_STATE = {"__ab_no_cursor_state_message": True}
SCHEMA = {
    "type": "object",
    "properties": {
        name: {"type": ["null", "string"]}
        for name in ("id", "name", "updated_at", "created_at", "conversation_id")
    },
}


class Labels(FullRefreshListStream):
    """Tags, as if they had no `updated_at`."""

    name = "labels"
    endpoint = "tags"
    role = "org.permission.tag.read"

    def load_schema(self):
        return SCHEMA


class MessagesByCreation(SearchStream):
    """Messages, searched by `created_at`."""

    name = "messages_by_creation"
    query_context = "message"
    cursor_attribute = "created_at"
    has_archive = False

    def load_schema(self):
        return SCHEMA


class ConversationMessages(ChildStream):
    """The messages of each conversation, one list per conversation."""

    name = "conversation_messages"
    endpoint = "conversations/{id}/messages"
    role = "org.permission.message.read"
    parent = Conversations
    parent_name = "conversation"
    parent_role = "org.permission.conversation.read"

    def load_schema(self):
        return SCHEMA


LISTED = SourceKustomer.stream_classes
KINDS = {
    FullRefreshListStream: Labels,
    IncrementalListStream: None,
    SearchStream: MessagesByCreation,
    ChildStream: ConversationMessages,
    IncludedStream: None,
    MetadataStream: None,
    EventLogStream: None,
}
MADE_UP = tuple(stream for stream in KINDS.values() if stream is not None)


class Source(SourceKustomer):
    """The source with the streams of this file."""

    stream_classes = (*LISTED, *MADE_UP)


def of_kind(*kinds):
    streams = [stream for stream in Source.stream_classes if issubclass(stream, kinds)]
    return pytest.mark.parametrize("stream", streams, ids=lambda stream: stream.name)


both_modes = pytest.mark.parametrize("mode", ["incremental", "full_refresh"])
every_stream = of_kind(object)


@pytest.fixture
def read(sync):
    def read(vendor, stream, **options):
        return sync(vendor, stream.name, source_class=Source, **options)

    return read


def modes_of(stream):
    return ["full_refresh"] + ["incremental"] * (not issubclass(stream, FullRefreshStream))


MODES = [
    pytest.param(stream, mode, id=f"{stream.name}-{mode}")
    for stream in Source.stream_classes
    for mode in modes_of(stream)
]
every_mode = pytest.mark.parametrize(("stream", "mode"), MODES)


def kind_of(stream):
    """Return the kind of record that the fake vendor serves for a stream."""
    if issubclass(stream, SearchStream):
        return stream.query_context
    if issubclass(stream, ChildStream):
        return CHILD_LISTS[list_of(stream)][1]
    if issubclass(stream, IncludedStream):
        return stream.included_type
    if issubclass(stream, EventLogStream):
        return EVENT_PATHS[stream.endpoint]
    return next(kind for kind in LISTS if PATHS[kind] == stream.endpoint)


def list_of(stream):
    """Return the fake vendor's name of the list of a child stream."""
    parents, _, children = stream.endpoint.split("/")
    return f"{parents.removesuffix('s')}_{children.removesuffix('s')}"


@pytest.fixture
def vendor_of(org, monkeypatch):
    """Make an org with rows of one stream, on several pages."""

    def vendor_of(stream, rows=23, **options):
        for kind in (*LISTS, *CHILD_LISTS):
            monkeypatch.setitem(LIST_PAGE_SIZES, kind, 5)
        if issubclass(stream, MetadataStream):
            vendor = org(setting_rows={"klass": rows}, **options)
            vendor.metadata = vendor.metadata if rows else {"customer": {}}
            return vendor
        if issubclass(stream, IncludedStream):
            container = kind_of(stream.container)
            counts = {container: 11 if rows else 0, stream.included_type: rows}
            return org(setting_rows=counts, **options)
        if issubclass(stream, EventLogStream):
            monkeypatch.setattr(stream, "page_size", 5)
            return org(event_rows=rows, **options)
        kind = kind_of(stream)
        if issubclass(stream, ChildStream):
            parents = {"conversation": 11 if rows else 0}
            searched = {kind: rows} if kind in SEARCH_KINDS else {}
            below = {kind: rows} if kind in CHILD_KINDS else {}
            return org(parents | searched, child_rows=below, page_size_max=5, **options)
        if issubclass(stream, SearchStream):
            return org({kind: rows}, page_size_max=5, **options)
        group = "list_rows" if kind in LIST_KINDS else "setting_rows"
        return org(**{group: {kind: rows}}, **options)

    return vendor_of


def ids(vendor, stream):
    if issubclass(stream, MetadataStream):
        return sorted(f"{kind}.{name}" for kind, names in vendor.metadata.items() for name in names)
    return sorted(record.id for record in vendor.records(kind_of(stream)))


def test_every_kind_has_a_stream_that_is_tested():
    for kind in KINDS:
        assert any(issubclass(stream, kind) for stream in Source.stream_classes)
    for stream in LISTED:
        assert [kind for kind in KINDS if issubclass(stream, kind)], f"{stream} is of no kind"


# Every kind


@every_mode
def test_a_stream_ends_complete_with_every_row_once(vendor_of, read, stream, mode):
    vendor = vendor_of(stream)
    synced = read(vendor, stream, mode=mode, start_date="2015-01-01")
    assert sorted(synced.ids(stream.name)) == ids(vendor, stream)
    assert synced.status(stream.name) is COMPLETE
    assert len(vendor.journal.entries) < 60


@every_mode
def test_a_stream_without_rows_ends_complete_with_its_state(vendor_of, read, stream, mode):
    synced = read(vendor_of(stream, 0), stream, mode=mode)
    assert synced.rows(stream.name) == []
    assert synced.status(stream.name) is COMPLETE
    assert len(synced.states(stream.name)) == 1


@every_mode
def test_a_second_full_refresh_with_the_first_ones_state_reads_everything(
    vendor_of, read, stream, mode
):
    vendor = vendor_of(stream)
    first = read(vendor, stream, mode=mode, start_date="2015-01-01")
    state = {stream.name: first.state(stream.name)}
    second = read(vendor, stream, mode="full_refresh", state=state, start_date="2015-01-01")
    assert sorted(second.ids(stream.name)) == ids(vendor, stream)


@every_stream
def test_discover_tells_of_the_kind_what_it_can(stream):
    (found,) = [
        one.as_airbyte_stream()
        for one in Source().streams({"api_token": "made-up", "start_date": "2024-01-01"})
        if one.name == stream.name
    ]
    modes = [mode.value for mode in found.supported_sync_modes]
    assert sorted(modes) == sorted(modes_of(stream))
    assert found.is_resumable is not issubclass(stream, FullRefreshStream)
    assert bool(found.default_cursor_field) is ("incremental" in modes)


@every_mode
def test_a_stream_that_fails_claims_no_more_than_it_emitted(vendor_of, read, stream, mode):
    """A lasting fault hits a page in the middle."""
    rows = 60
    clean = vendor_of(stream, rows)
    read(clean, stream, mode=mode, start_date="2015-01-01")
    two_thirds = len(clean.journal.entries) * 2 // 3
    vendor = vendor_of(stream, rows)
    vendor.switch(faults=(Fault("503", at=tuple(range(two_thirds, 1000))),))
    synced = read(vendor, stream, mode=mode, start_date="2015-01-01")
    assert synced.failures == {FailureType.transient_error}
    assert synced.status(stream.name) is INCOMPLETE
    states = synced.states(stream.name)
    if issubclass(stream, (FullRefreshStream, IncrementalListStream)):
        assert states == []
    else:
        assert states
        assert synced.ids(stream.name)
    vendor.switch(faults=())
    saved = {stream.name: states[-1]} if states else None
    rest = read(vendor, stream, mode=mode, state=saved, start_date="2015-01-01")
    assert set(synced.ids(stream.name)) | set(rest.ids(stream.name)) == set(ids(vendor, stream))


@every_stream
def test_a_refused_key_is_a_config_error_that_names_the_role(vendor_of, read, stream):
    vendor = vendor_of(stream)
    synced = read(vendor, stream, mode="full_refresh", api_token="another-made-up-token")
    assert synced.failures == {FailureType.config_error}
    role = stream.role
    if issubclass(stream, ChildStream):
        role = Conversations.role
    assert role in synced.failure(stream.name)


# All streams without a moment of change


@of_kind(FullRefreshStream)
def test_a_full_refresh_emits_rows_of_every_age(vendor_of, read, stream):
    vendor = vendor_of(stream)
    synced = read(vendor, stream, mode="full_refresh", start_date="2026-05-30")
    assert sorted(synced.ids(stream.name)) == ids(vendor, stream)
    assert synced.states(stream.name) == [NO_STATE]


# Full-refresh lists


@of_kind(FullRefreshListStream)
def test_a_list_without_a_cursor_ends_after_its_pages_with_a_state_that_says_nothing(
    vendor_of, read, stream
):
    vendor = vendor_of(stream)
    synced = read(vendor, stream, mode="full_refresh")
    if not stream.variants:
        # Five pages, and all except the last one again.
        assert len(vendor.journal.entries) == 9
    assert synced.states(stream.name) == [NO_STATE]


@of_kind(FullRefreshListStream, IncrementalListStream)
def test_a_list_of_one_page_costs_one_request(vendor_of, read, stream):
    vendor = vendor_of(stream, 4)
    assert len(read(vendor, stream, mode="full_refresh").ids(stream.name)) == 4
    assert len(vendor.journal.entries) == 1 + len(getattr(stream, "variants", ()))


@of_kind(FullRefreshListStream, IncrementalListStream)
@pytest.mark.parametrize("emptied", [1, 2])
def test_a_page_that_comes_empty_in_passing_is_no_end_of_a_list(
    vendor_of, read, monkeypatch, stream, emptied
):
    """Its answers have no links, so nothing else speaks of its rows."""
    met = []

    def edit(body, request, number):
        del body["links"]
        if request.params["page"] == str(emptied) and not met:
            met.append(request)
            body["data"] = []
            body.pop("included", None)

    vendor = vendor_of(stream, 8, edit=edit)
    monkeypatch.setattr(stream, "page_size", 5)
    synced = read(vendor, stream, mode="full_refresh", start_date="2015-01-01")
    assert met
    assert sorted(synced.ids(stream.name)) == ids(vendor, stream)


# Lists with updated_at


@of_kind(IncrementalListStream)
def test_an_incremental_list_has_one_state_at_its_end(vendor_of, read, stream):
    synced = read(vendor_of(stream), stream)
    assert synced.checkpoints(stream.name) == [
        (synced.ids(stream.name), {"updated_at": CUTOFF}),
    ]


# Searches


@of_kind(SearchStream)
@both_modes
def test_a_search_ascends_by_its_cursor_and_states_count_it(vendor_of, read, stream, mode):
    vendor = vendor_of(stream)
    synced = read(vendor, stream, mode=mode)
    cursor = stream.cursor_attribute
    values = [row[cursor] for row in synced.rows(stream.name)]
    assert values == sorted(values)
    assert synced.state(stream.name) == {cursor: CUTOFF}
    for emitted, state in synced.checkpoints(stream.name):
        due = {
            record.id
            for record in vendor.records(kind_of(stream))
            if iso_of(record, cursor) < state[cursor] and iso_of(record, cursor) >= "2025-01-01"
        }
        assert due <= set(emitted)


def iso_of(record, attribute):
    moment = record.updated_ms if attribute == "updated_at" else record.created_ms
    return datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="milliseconds")[:23] + "Z"


@of_kind(SearchStream)
def test_a_second_search_emits_what_is_new_and_nothing_else(vendor_of, read, time, stream):
    vendor = vendor_of(stream)
    kind = kind_of(stream)
    first = read(vendor, stream)
    time.tick(3600)
    added = [vendor.insert(kind).id for _ in range(7)]
    time.tick(3600)
    second = read(vendor, stream, state={stream.name: first.state(stream.name)})
    assert sorted(second.ids(stream.name)) == sorted(added)
    third = read(vendor, stream, state={stream.name: second.state(stream.name)})
    assert third.ids(stream.name) == []


@of_kind(SearchStream)
@pytest.mark.parametrize("order", ["stable", "shuffled"])
def test_a_search_reads_every_tie_of_its_cursor(vendor_of, read, stream, order):
    vendor = vendor_of(stream, 6, tie_order=order)
    at = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    for number in range(40):
        # All records share one cursor value. The other attribute differs.
        other = at + timedelta(seconds=number)
        by_creation = stream.cursor_attribute == "created_at"
        vendor.insert(
            kind_of(stream),
            at=other if by_creation else at,
            created=at if by_creation else at - timedelta(seconds=number),
            indexed=True,
        )
    synced = read(vendor, stream, start_date="2015-01-01")
    assert sorted(synced.ids(stream.name)) == ids(vendor, stream)
    assert synced.status(stream.name) is COMPLETE


@of_kind(SearchStream)
def test_a_state_of_another_cursor_is_refused_with_a_sentence(vendor_of, read, stream):
    other = "modified_at"
    vendor = vendor_of(stream)
    synced = read(vendor, stream, state={stream.name: {other: "2026-01-01T00:00:00.000Z"}})
    assert synced.failures == {FailureType.config_error}
    assert f"it has no '{stream.cursor_attribute}'" in synced.failure(stream.name)


@of_kind(SearchStream)
def test_states_of_a_full_refresh_stay_at_the_cutoff_in_the_open_end(vendor_of, read, stream):
    vendor = vendor_of(stream)
    young = [
        vendor.insert(
            kind_of(stream), at=NOW - timedelta(seconds=number), created=NOW - timedelta(seconds=60)
        ).id
        for number in range(12)
    ]
    synced = read(vendor, stream, mode="full_refresh", start_date="2015-01-01")
    assert set(young) <= set(synced.ids(stream.name))
    assert {state[stream.cursor_attribute] for state in synced.states(stream.name)}
    for state in synced.states(stream.name):
        assert state[stream.cursor_attribute] <= CUTOFF


# Children


def in_order_of_parents(vendor, stream):
    parents = sorted(vendor.records("conversation"), key=lambda one: (one.updated_ms, one.order))
    return [child.id for parent in parents for child in vendor.children(list_of(stream), parent.id)]


@of_kind(ChildStream)
@both_modes
def test_children_come_in_their_parents_order_with_the_parents_id_and_state(
    vendor_of, read, stream, mode
):
    vendor = vendor_of(stream, 60)
    synced = read(vendor, stream, mode=mode, start_date="2015-01-01")
    assert synced.ids(stream.name) == in_order_of_parents(vendor, stream)
    column, cursor = f"{stream.parent_name}_id", f"{stream.parent_name}_updated_at"
    parents = {record.id: record for record in vendor.records("conversation")}
    child_list = list_of(stream)
    for row in synced.rows(stream.name):
        family = vendor.children(child_list, row[column])
        assert row["id"] in {child.id for child in family}
        moment = row.get(cursor) or row["additional_attributes"][cursor]
        assert moment == parents[row[column]].updated_at
    for emitted, state in synced.checkpoints(stream.name):
        for parent in parents.values():
            if parent.updated_at < state["updated_at"]:
                assert {child.id for child in vendor.children(child_list, parent.id)} <= set(
                    emitted
                )
    assert synced.state(stream.name) == {"updated_at": CUTOFF}
    assert len(synced.states(stream.name)) >= 3


@of_kind(ChildStream)
def test_only_the_children_of_changed_parents_are_read_again(vendor_of, read, time, stream):
    vendor = vendor_of(stream, 60)
    first = read(vendor, stream)
    time.tick(3600)
    changed = vendor.records("conversation")[3].id
    vendor.touch("conversation", changed)
    time.tick(3600)
    vendor.journal.clear()
    second = read(vendor, stream, state={stream.name: first.state(stream.name)})
    child_list = list_of(stream)
    family = [child.id for child in vendor.children(child_list, changed)]
    assert sorted(second.ids(stream.name)) == sorted(family)
    asked = {entry.path for entry in vendor.journal.entries if entry.endpoint == child_list}
    assert asked == {f"/v1/{stream.endpoint.format(id=changed)}"}


@of_kind(ChildStream)
def test_a_parent_that_is_gone_is_skipped_and_counted(vendor_of, read, stream):
    def edit(body, request, number):
        if "/search" in request.path and body["data"] and not gone:
            gone.extend(record.id for record in vendor.records("conversation")[:3])
            for ident in gone:
                vendor.delete("conversation", ident)

    gone = []
    vendor = vendor_of(stream, 60, edit=edit, hard_delete=True)
    vendor.switch(page_size_max=500)
    synced = read(vendor, stream, start_date="2015-01-01")
    assert synced.status(stream.name) is COMPLETE
    assert sorted(synced.ids(stream.name)) == sorted(in_order_of_parents(vendor, stream))
    said = [line for line in synced.logs if "parents no longer existed (404)" in line]
    assert said == [
        f"Stream {stream.name}: 3 parents no longer existed (404) when their children were read."
    ]


# Logs of events


@of_kind(EventLogStream)
@both_modes
def test_a_log_counts_no_event_that_may_still_be_missing(vendor_of, read, time, stream, mode):
    vendor = vendor_of(stream)
    late = vendor.insert(kind_of(stream)).id
    synced = read(vendor, stream, mode=mode, start_date="2015-01-01")
    assert (late in synced.ids(stream.name)) is (mode == "full_refresh")
    assert synced.state(stream.name) == {"created_at": "2026-05-31T23:45:00.000Z"}
    time.tick(3600)
    second = read(vendor, stream, state={stream.name: synced.state(stream.name)})
    assert second.ids(stream.name) == [late]
    third = read(vendor, stream, state={stream.name: second.state(stream.name)})
    assert third.ids(stream.name) == []
    assert len(vendor.journal.entries) < 60


@of_kind(EventLogStream)
def test_a_log_states_claim_only_what_was_emitted(vendor_of, read, stream):
    vendor = vendor_of(stream, 60)
    synced = read(vendor, stream, start_date="2015-01-01")
    assert len(synced.states(stream.name)) > 3
    for emitted, state in synced.checkpoints(stream.name):
        due = {
            record.id
            for record in vendor.records(kind_of(stream))
            if iso_of(record, "created_at") < state["created_at"]
        }
        assert due <= set(emitted)


@of_kind(EventLogStream)
def test_a_busy_day_is_read_page_by_page(vendor_of, read, stream):
    vendor = vendor_of(stream, 0)
    at = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    for number in range(33):
        vendor.insert(kind_of(stream), created=at + timedelta(minutes=number // 4))
    synced = read(vendor, stream, start_date="2026-01-01")
    assert sorted(synced.ids(stream.name)) == ids(vendor, stream)


@of_kind(EventLogStream)
def test_a_page_may_begin_with_the_event_that_it_comes_behind(vendor_of, read, stream):
    vendor = vendor_of(stream, log_before="inclusive")
    synced = read(vendor, stream, start_date="2015-01-01")
    assert sorted(synced.ids(stream.name)) == ids(vendor, stream)
    assert len(set(synced.ids(stream.name))) == len(synced.ids(stream.name))


@of_kind(EventLogStream)
@pytest.mark.parametrize(
    ("switches", "sentence"),
    [
        ({"log_before": "ignored"}, "shows events of earlier pages again"),
        ({"log_filters": False}, "expected events from"),
    ],
)
def test_a_log_that_ignores_what_is_asked_fails(vendor_of, read, stream, switches, sentence):
    vendor = vendor_of(stream, **switches)
    synced = read(vendor, stream, start_date="2026-01-01")
    assert synced.status(stream.name) is INCOMPLETE
    assert sentence in synced.failure(stream.name)
    assert FailureType.config_error not in synced.failures


@of_kind(EventLogStream)
def test_a_page_that_comes_empty_in_passing_is_no_end_of_a_log(vendor_of, read, stream):
    emptied = []

    def edit(body, request, number):
        if body["data"] and len(emptied) < 3 and request.params.get("before") not in emptied:
            emptied.append(request.params.get("before"))
            body["data"] = []
            body["links"] = {}

    vendor = vendor_of(stream, 60, edit=edit)
    synced = read(vendor, stream, start_date="2015-01-01")
    assert emptied
    assert sorted(synced.ids(stream.name)) == ids(vendor, stream)


@of_kind(EventLogStream)
@pytest.mark.parametrize("change", ["one alone", "deep", "empty with a link"])
def test_a_log_takes_one_event_alone_and_refuses_other_shapes(vendor_of, read, stream, change):
    def edit(body, request, number):
        if change == "one alone" and len(body["data"]) == 1:
            (body["data"],) = body["data"]
        if change == "deep" and body["data"]:
            nested = []
            for _ in range(700):
                nested = [nested]
            body["data"][0]["attributes"]["changes"] = nested
        if change == "empty with a link":
            body["data"], body["links"] = [], {"next": "/v1/audit-logs?count=5&before=5a"}

    vendor = vendor_of(stream, 1, edit=edit)
    synced = read(vendor, stream, start_date="2015-01-01")
    if change == "one alone":
        assert synced.ids(stream.name) == ids(vendor, stream)
    else:
        assert synced.status(stream.name) is INCOMPLETE
        assert synced.rows(stream.name) == []


@of_kind(EventLogStream)
def test_a_log_ends_at_the_end_date(vendor_of, read, stream):
    vendor = vendor_of(stream, 40)
    synced = read(vendor, stream, start_date="2015-01-01", end_date="2026-01-01")
    wanted = [
        record.id
        for record in vendor.records(kind_of(stream))
        if iso_of(record, "created_at") < "2026-01-01"
    ]
    assert sorted(synced.ids(stream.name)) == sorted(wanted)
    assert 0 < len(wanted) < 40
    assert synced.state(stream.name) == {"created_at": "2026-01-01T00:00:00.000Z"}
