"""Tests that every stream of Courier must pass. A new stream gets them by being listed.

The workspace of these tests serves every table. A list of its own answers where a family of paging
is to be broken.
"""

import jsonschema
import pytest
from airbyte_cdk.models import FailureType, SyncMode

from fake_vendor.courier import SECRET_MARK, TABLES
from fake_vendor.wire import json_reply
from source_courier import SourceCourier
from source_courier.children import ChildStream
from source_courier.lists import CourierListStream
from source_courier.masking import MASK, masked
from source_courier.message_children import MessageChildStream
from source_courier.newest_first import NewestFirstStream
from source_courier.paging import CursorAlone, HasMore, MoreAndCursor, NextCursor
from source_courier.runs import RunStepStream, RunStream
from source_courier.streams import STREAMS
from unit_tests.courier.conftest import HOST

# Very many cases.
pytestmark = pytest.mark.slow

FINISHED = {"__ab_full_refresh_sync_complete": True}
SCHEMAS = {
    stream.name: stream.get_json_schema()
    for stream in SourceCourier().streams({"api_key": "made-up"})
}


def each(*kinds, but=()):
    """A test of every stream of these kinds."""
    chosen = [one for one in STREAMS if issubclass(one, kinds) and one.name not in but]
    assert chosen
    return pytest.mark.parametrize("stream", chosen, ids=lambda stream: stream.name)


every_stream = each(object)
every_list = each(CourierListStream, NewestFirstStream)


def many(stream, rows):
    """So many rows of a table. Messages are no table of the fake vendor."""
    return {stream.name: rows} if stream.name in TABLES else None


def key_of(stream, row):
    return tuple(row[name] for name in stream.key)


def keys(stream, rows):
    return sorted(key_of(stream, row) for row in rows)


def shown(row):
    """A row as the connector prints it: without nulls, and without what it adds."""
    return {
        name: value
        for name, value in row.items()
        if value is not None and name != "additional_attributes"
    }


def is_same(sent, shown):
    """Whether a value is shown as it was sent: without credentials, and to fit its column."""
    return masked(sent) == masked(shown) or shown == {"id": sent}


@every_stream
def test_a_full_refresh_brings_every_row_as_it_is_and_ends_complete(workspace, sync, stream):
    vendor = workspace(rows=40, page_size=4)
    output = sync(vendor, stream.name, include_profiles=True)
    assert output.is_complete(stream.name), output.errors(stream.name)
    wanted = {key_of(stream, row): shown(row) for row in vendor.rows(stream.name)}
    rows = output.rows(stream.name)
    assert len(rows) == len(wanted)
    for row in rows:
        jsonschema.validate(row, SCHEMAS[stream.name])
        sent, rest = wanted[key_of(stream, row)], row.get("additional_attributes", {})
        for name, value in sent.items():
            assert is_same(value, rest[name] if name in rest else row.get(name)), name
    assert SECRET_MARK not in str(rows)


@every_stream
@pytest.mark.parametrize("kind", ["429", "reset", "no_data"])
def test_a_fault_in_passing_costs_no_row(workspace, sync, stream, kind):
    vendor = workspace(rows=25)
    vendor.switch(faults=[{"kind": kind, "at": (2, 5)}])
    output = sync(vendor, stream.name)
    assert output.is_complete(stream.name), output.errors(stream.name)
    assert keys(stream, output.rows(stream.name)) == keys(stream, vendor.rows(stream.name))


# The table whose endpoint a derived table is read from.
READ_FROM = {
    "preference_topics": "preference_sections",
    "digest_schedules": "preference_sections",
    "tenant_preferences": "tenants",
}


@every_stream
@pytest.mark.parametrize(("status", "words"), [(402, "plan"), (403, "plan"), (401, "API key")])
def test_a_refusal_fails_one_stream_with_a_config_error(workspace, sync, stream, status, words):
    other = "brands" if stream.name != "brands" else "lists"
    refused = READ_FROM.get(stream.name, stream.name)
    vendor = workspace(rows=25, refused=(f"{refused}={status}",))
    output = sync(vendor, stream.name, other)
    assert not output.is_complete(stream.name)
    ((failure, message),) = output.errors(stream.name)
    assert failure is FailureType.config_error
    if stream.name != "messages":
        assert words in message
    assert FINISHED not in output.states(stream.name)
    assert output.is_complete(other)
    assert len(output.rows(other)) == len(vendor.rows(other))


@each(CourierListStream)
def test_a_list_that_does_not_exist_is_a_config_error(workspace, sync, stream):
    vendor = workspace(refused=(f"{stream.name}=404",))
    output = sync(vendor, stream.name)
    ((failure, message),) = output.errors(stream.name)
    assert failure is FailureType.config_error
    assert "Not every region" in message


@each(CourierListStream, but=("journeys", "automations"))
def test_a_list_goes_on_behind_the_page_of_a_saved_state(workspace, sync, stream):
    vendor = workspace(page_size=4, tables=many(stream, 130))
    whole = sync(vendor, stream.name)
    rows = whole.rows(stream.name)
    states = whole.states(stream.name)
    assert states[-1] == FINISHED
    assert len(states) >= 2
    for saved in (states[0], states[-2]):
        rest = sync(vendor, stream.name, states={stream.name: saved}).rows(stream.name)
        assert 0 < len(rest) < len(rows)
        assert rest == rows[-len(rest) :]
    assert sync(vendor, stream.name, states={stream.name: FINISHED}).rows(stream.name) == rows


@each(CourierListStream)
def test_both_variants_go_on_behind_a_saved_state(workspace, sync, stream):
    if len(stream.variants) == 1:
        return
    vendor = workspace(page_size=4)
    whole = sync(vendor, stream.name)
    rows, states = whole.rows(stream.name), whole.states(stream.name)
    for number, saved in enumerate(states[:-1]):
        rest = sync(vendor, stream.name, states={stream.name: saved}).rows(stream.name)
        assert rest == rows[-len(rest) :], number
    assert any("variant" in state for state in states)


@each(CourierListStream, but=("audit_events",))
def test_a_list_that_ignores_its_variants_comes_once(
    workspace, sync, requests_mock, answer, stream
):
    vendor = workspace(page_size=4)

    class Ignoring:
        clock = vendor.clock

        def handle(self, request):
            request.params.pop("version", None)
            return vendor.handle(request)

    answer(requests_mock, HOST, Ignoring())
    found = [row["id"] for row in sync(vendor, stream.name).rows(stream.name)]
    assert len(found) == len(set(found))


PARTS = {
    MoreAndCursor: ("paging",),
    HasMore: ("has_more",),
    CursorAlone: (),
    NextCursor: (),
}
BROKEN = {
    MoreAndCursor: {"paging": {"more": True}},
    HasMore: {"has_more": True, "cursor": None},
    CursorAlone: {"cursor": 7},
    NextCursor: {"next_cursor": ["x"]},
}


class Breaking:
    """A vendor whose nth answer of an endpoint is changed, as often as it is fetched."""

    def __init__(self, vendor, path, edit, page=2):
        self.vendor, self.path, self.edit, self.page = vendor, path, edit, page
        self.clock = vendor.clock
        self.seen = []

    def handle(self, request):
        """Answer one request."""
        reply = self.vendor.handle(request)
        if request.path.strip("/") != self.path:
            return reply
        asked = dict(request.params)
        if asked not in self.seen:
            self.seen.append(asked)
        if self.seen.index(asked) + 1 != self.page:
            return reply
        body = reply.json()
        self.edit(body)
        return json_reply(reply.status, body)


def rename(body, stream):
    """Put the rows under another name."""
    (name,) = [key for key in stream.rows_keys if key in body]
    body["renamed"] = body.pop(name)


def no_identity(body, stream):
    """Take the id from a row."""
    (name,) = [key for key in stream.rows_keys if key in body]
    del body[name][0][stream.id_keys[0]]


def no_paging(body, stream):
    """Take away what the family of paging needs, or spoil it."""
    for part in PARTS[stream.paging]:
        body.pop(part)
    if not PARTS[stream.paging]:
        body.update(BROKEN[stream.paging])


def broken_paging(body, stream):
    """Say that there is more, without a cursor."""
    body.update(BROKEN[stream.paging])


@every_list
@pytest.mark.parametrize("page", [1, 2])
@pytest.mark.parametrize("edit", [rename, no_identity, no_paging, broken_paging])
def test_an_envelope_that_is_not_the_familys_is_a_broken_contract(
    workspace, sync, requests_mock, answer, stream, page, edit
):
    vendor = workspace(page_size=4, tables=many(stream, 130))
    broken = Breaking(vendor, stream.endpoint, lambda body: edit(body, stream), page)
    answer(requests_mock, HOST, broken)
    output = sync(vendor, stream.name, parallel_walks=1)
    assert not output.is_complete(stream.name)
    ((failure, message),) = output.errors(stream.name)
    assert failure is FailureType.system_error
    assert "breaks the contract" in message
    assert FINISHED not in output.states(stream.name)
    assert (len(output.rows(stream.name)) > 0) == (page > 1)


@each(ChildStream)
def test_parents_that_are_gone_are_left_out_and_counted(workspace, sync, stream):
    vendor = workspace()
    column = stream.parent_id
    parents = sorted({row[column] for row in vendor.rows(stream.name)})
    vendor.switch(gone=tuple(parents[:2]))
    output = sync(vendor, stream.name)
    assert output.is_complete(stream.name)
    assert {row[column] for row in output.rows(stream.name)} == set(parents[2:])
    assert output.says("2 of ")


@each(ChildStream)
def test_the_children_come_in_the_order_of_the_parents(workspace, sync, stream):
    vendor = workspace()
    column = stream.parent_id
    order = list(dict.fromkeys(row[column] for row in sync(vendor, stream.name).rows(stream.name)))
    listed = [
        row[stream.parent.child_columns[0]]
        for row in sync(vendor, stream.parent.name).rows(stream.parent.name)
    ]
    assert order == [one for one in dict.fromkeys(listed) if one in order]


@each(ChildStream, MessageChildStream, but=("message_output",))
def test_the_stream_fails_when_no_parent_is_known(workspace, sync, stream):
    vendor = workspace(rows=12)
    parents = vendor.rows(stream.parent.name)
    names = [row[stream.parent.key[0]] for row in parents]
    vendor.switch(gone=tuple(names))
    output = sync(vendor, stream.name)
    assert not output.is_complete(stream.name)
    ((failure, message),) = output.errors(stream.name)
    assert failure is FailureType.system_error
    assert "Courier knows none of" in message


def test_one_walk_of_the_parents_serves_all_children_of_a_sync(workspace, sync):
    vendor = workspace(rows=30)
    names = ("message_info", "message_history", "message_output")
    output = sync(vendor, *names, "tenant_users", "tenant_preferences", "tenant_templates")
    for name in (*names, "tenant_users", "tenant_preferences", "tenant_templates"):
        assert len(output.rows(name)) == len(vendor.rows(name))
    endpoints = [entry.endpoint for entry in vendor.journal.entries]
    assert endpoints.count("messages") == 3
    assert endpoints.count("tenants") == 1


def test_one_request_serves_the_tables_of_sections(workspace, sync):
    vendor = workspace()
    names = ("preference_sections", "preference_topics", "digest_schedules", "digest_instances")
    output = sync(vendor, *names)
    assert all(output.is_complete(name) for name in names)
    endpoints = [entry.path for entry in vendor.journal.entries]
    assert endpoints.count("/preferences/sections") == 1


@every_list
@pytest.mark.parametrize("limit", ["honoured", "refused", "ignored"])
def test_a_page_size_is_asked_for_and_left_out_if_it_is_refused(workspace, sync, stream, limit):
    vendor = workspace(rows=120, page_size=10, limit=limit, tables=many(stream, 130))
    output = sync(vendor, stream.name, parallel_walks=1)
    assert keys(stream, output.rows(stream.name)) == keys(stream, vendor.rows(stream.name))
    refusals = [entry for entry in vendor.journal.entries if entry.status == 400]
    assert len(refusals) <= 1
    if limit == "honoured":
        assert len(vendor.journal.entries) <= 6


@every_list
def test_a_cursor_that_leads_back_is_an_error(workspace, sync, stream):
    vendor = workspace(rows=530, page_size=4, repeat_cursor_every=3, tables=many(stream, 530))
    output = sync(vendor, stream.name, parallel_walks=1)
    assert not output.is_complete(stream.name)
    assert output.errors(stream.name)[0][0] is FailureType.system_error


@each(ChildStream, MessageChildStream, RunStepStream)
def test_identifiers_are_encoded_in_paths(workspace, sync, stream):
    vendor = workspace(rows=12)
    sync(vendor, stream.name)
    for entry in vendor.journal.entries:
        assert " " not in entry.path
        assert entry.status != 404 or "/output" in entry.path, entry.path


def test_profiles_come_only_when_they_are_asked_for_and_without_credentials(workspace, sync):
    vendor = workspace()
    plain = sync(vendor, "tenants", "tenant_users")
    assert not any("user_profile" in row for row in plain.rows("tenants"))
    assert not any("profile" in row for row in plain.rows("tenant_users"))
    asked = sync(vendor, "tenants", "tenant_users", include_profiles=True)
    profiles = [row.get("user_profile") for row in asked.rows("tenants")]
    profiles += [row.get("profile") for row in asked.rows("tenant_users")]
    assert MASK in str(profiles)
    for output in (plain, asked):
        assert SECRET_MARK not in str([one.record for one in output.output.records])


@every_list
def test_discover_says_which_lists_can_be_resumed(stream):
    (found,) = [
        one.as_airbyte_stream()
        for one in SourceCourier().streams({"api_key": "made-up"})
        if one.name == stream.name
    ]
    modes = {SyncMode.full_refresh}
    if issubclass(stream, NewestFirstStream):
        modes.add(SyncMode.incremental)
    assert set(found.supported_sync_modes) == modes
    assert found.is_resumable is True
    assert found.source_defined_primary_key == [[name] for name in stream.key]
    assert issubclass(stream, RunStream) == (stream.key == ("run_id",))
