"""Tests that every Courier list must pass. Every stream of the source runs them.

This file defines a list with another envelope, because no stream of the source has one yet.
"""

import pytest
from airbyte_cdk.models import AirbyteStreamStatus, FailureType, SyncMode
from airbyte_cdk.test.catalog_builder import CatalogBuilder
from airbyte_cdk.test.entrypoint_wrapper import read
from airbyte_cdk.test.state_builder import StateBuilder

from fake_vendor.wire import json_reply
from http_source.body import BrokenBodyError
from source_courier import SourceCourier
from source_courier.lists import CourierListStream
from source_courier.paging import MoreAndCursor, Paging

HOST = "https://api.courier.com"
COMPLETE, INCOMPLETE = AirbyteStreamStatus.COMPLETE, AirbyteStreamStatus.INCOMPLETE
FINISHED = {"__ab_full_refresh_sync_complete": True}


class CursorOnTop(Paging):
    """`{"cursor": str, "has_more": bool}`: a family of paging for tests."""

    @staticmethod
    def next_cursor(body):
        if not isinstance(body.get("has_more"), bool):
            msg = "expected true or false under 'has_more'"
            raise BrokenBodyError(msg)
        return body["cursor"] if body["has_more"] else None


class Tenants(CourierListStream):
    """A list with its paging at the top level and its rows under another key."""

    name = "tenants"
    endpoint = "tenants"
    paging = CursorOnTop
    rows_key = "items"

    def load_schema(self):
        return {"properties": {"id": {"type": ["null", "string"]}}}


class Source(SourceCourier):
    """The source with the stream of this file."""

    stream_classes = (*SourceCourier.stream_classes, Tenants)


every_stream = pytest.mark.parametrize(
    "stream", Source.stream_classes, ids=lambda stream: stream.name
)
# Builds the envelope of a page of each family from the cursor of the next page.
ENVELOPES = {
    MoreAndCursor: lambda cursor: {"paging": {"more": cursor is not None, "cursor": cursor}},
    CursorOnTop: lambda cursor: {"has_more": cursor is not None, "cursor": cursor},
}


class Pages:
    """A vendor with one list, four rows per page."""

    def __init__(self, stream, rows=23, edit=lambda body, number: None):
        self.stream, self.edit = stream, edit
        self.ids = [f"1-{number:04d}" for number in range(rows)]
        self.asked = []

    def handle(self, request):
        """Answer one request."""
        assert request.path == f"/{self.stream.endpoint}"
        start = int(request.params.get("cursor", 0))
        self.asked.append(start)
        following = start + 4 if start + 4 < len(self.ids) else None
        rows = [{"id": one} for one in self.ids[start : start + 4]]
        cursor = None if following is None else str(following)
        body = {self.stream.rows_key: rows, **ENVELOPES[self.stream.paging](cursor)}
        self.edit(body, start // 4 + 1)
        return json_reply(200, body)


@pytest.fixture
def run(requests_mock, answer):
    def run(vendor, state=None):
        answer(requests_mock, HOST, vendor)
        name = vendor.stream.name
        catalog = CatalogBuilder().with_stream(name, SyncMode.full_refresh).build()
        saved = StateBuilder().with_stream_state(name, state).build() if state else None
        return read(Source(), {"api_key": "made-up-key"}, catalog, saved)

    return run


def ids(output):
    return [record.record.data["id"] for record in output.records]


def states(output):
    return [message.state.stream.stream_state.__dict__ for message in output.state_messages]


def failure(output):
    return output.errors[0].trace.error


@every_stream
@pytest.mark.parametrize("rows", [0, 1, 4, 5, 23])
def test_a_list_ends_complete_with_every_row_once_and_a_state_a_page(run, stream, rows):
    vendor = Pages(stream, rows)
    output = run(vendor)
    assert ids(output) == vendor.ids
    assert output.get_stream_statuses(stream.name)[-1] is COMPLETE
    assert vendor.asked == list(range(0, max(1, rows), 4))
    assert states(output) == [{"cursor": str(start)} for start in vendor.asked[1:]] + [FINISHED]


@every_stream
@pytest.mark.parametrize("after", [1, 3, 5])
def test_a_list_goes_on_behind_the_page_of_a_saved_state(run, stream, after):
    vendor = Pages(stream)
    saved = states(run(vendor))[after - 1]
    assert ids(run(vendor, saved)) == vendor.ids[4 * after :]


@every_stream
def test_a_finished_state_makes_the_next_run_read_anew(run, stream):
    vendor = Pages(stream)
    assert ids(run(vendor, FINISHED)) == vendor.ids


@every_stream
@pytest.mark.parametrize("page", [1, 3])
@pytest.mark.parametrize(
    "part",
    ["rows", "rows that are none", "a row without an id", "the envelope"],
)
def test_an_envelope_that_is_not_the_familys_is_a_broken_contract(run, stream, page, part):
    def edit(body, number):
        if number != page:
            return
        if part == "rows":
            body["renamed"] = body.pop(stream.rows_key)
        elif part == "rows that are none":
            body[stream.rows_key] = None
        elif part == "a row without an id":
            body[stream.rows_key][0].pop("id")
        else:
            for key in ENVELOPES[stream.paging](None):
                del body[key]

    vendor = Pages(stream, edit=edit)
    output = run(vendor)
    assert failure(output).failure_type is FailureType.system_error
    assert "breaks the contract" in failure(output).message
    assert output.get_stream_statuses(stream.name)[-1] is INCOMPLETE
    assert ids(output) == vendor.ids[: 4 * (page - 1)]
    assert FINISHED not in states(output)


@every_stream
@pytest.mark.parametrize(
    ("status", "words"), [(401, "refused the API key"), (402, "plan does not include")]
)
def test_a_refusal_is_a_config_error_that_says_what_to_do(
    run, requests_mock, stream, status, words
):
    class Refusing(Pages):
        def handle(self, request):
            return json_reply(status, {"message": "made-up words"})

    output = run(Refusing(stream))
    assert failure(output).failure_type is FailureType.config_error
    assert words in failure(output).message


@every_stream
def test_discover_says_that_a_list_can_be_resumed(stream):
    (found,) = [
        one.as_airbyte_stream()
        for one in Source().streams({"api_key": "made-up"})
        if one.name == stream.name
    ]
    assert [mode.value for mode in found.supported_sync_modes] == ["full_refresh"]
    assert found.is_resumable is True
    assert found.source_defined_primary_key == [["id"]]
