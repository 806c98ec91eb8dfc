"""`--state` files in every shape that this or the retired source wrote, and in unknown shapes."""

import json
from datetime import datetime, timedelta

import pytest
from airbyte_cdk.models import AirbyteStreamStatus, FailureType
from airbyte_cdk.test import entrypoint_wrapper

from source_kustomer import SourceKustomer

COMPLETE, INCOMPLETE = AirbyteStreamStatus.COMPLETE, AirbyteStreamStatus.INCOMPLETE
BORDER = "2026-02-02T02:02:02.222Z"
CUTOFF = "2026-05-31T23:58:00.000Z"


def of_stream(stream, state):
    descriptor = {"name": stream}
    return {
        "type": "STREAM",
        "stream": {"stream_descriptor": descriptor, "stream_state": state},
    }


def bookmarks(at):
    return {"bookmarks": {"customers": at, "tags": at}}


def in_global(at):
    states = [of_stream(name, {"updated_at": at})["stream"] for name in ("customers", "tags")]
    return [{"type": "GLOBAL", "global": {"stream_states": states}}]


SHAPES = {
    "ours": lambda at: [of_stream(name, {"updated_at": at}) for name in ("customers", "tags")],
    "ours, one after another": lambda at: [
        of_stream("customers", {"updated_at": "2025-05-05T05:05:05.555Z"}),
        *(of_stream(name, {"updated_at": at}) for name in ("tags", "customers")),
    ],
    "bookmarks": bookmarks,
    "bookmarks while syncing": lambda at: bookmarks(at) | {"currently_syncing": "customers"},
    "bookmarks after syncing": lambda at: bookmarks(at) | {"currently_syncing": None},
    "LEGACY message": lambda at: [{"type": "LEGACY", "data": bookmarks(at)}],
    "LEGACY message without type": lambda at: [{"data": bookmarks(at)}],
    "LEGACY message, bare": lambda at: {"type": "LEGACY", "data": bookmarks(at)},
    "STREAM messages that hold bookmarks": lambda at: [
        of_stream(name, bookmarks(at)) for name in ("customers", "tags")
    ],
    "one timestamp for all": lambda at: {"updated_at": at},
    "object by stream": lambda at: {
        "customers": {"updated_at": at},
        "tags": {"updated_at": at},
        "invoices": {"updated_at": at},
    },
    "timestamp by stream": lambda at: {"customers": at, "tags": at},
    "lines of the output": lambda at: [
        {"type": "STATE", "state": of_stream(name, {"updated_at": at})}
        for name in ("customers", "tags")
    ],
    "line of the retired output": lambda at: {"type": "STATE", "state": {"data": bookmarks(at)}},
    "GLOBAL message": in_global,
}


def vendor_of_two(org):
    return org({"customer": 60, "note": 20}, list_rows={"tag": 60, "team": 5}, page_size_max=20)


def due(vendor, kind, border):
    return sorted(record.id for record in vendor.records(kind) if record.updated_at >= border)


@pytest.mark.parametrize("spelling", [BORDER, "2026-02-02T02:02:02.222000Z"])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_reading_goes_on_at_the_state_when_it_has_a_known_shape(org, sync, shape, spelling):
    vendor = vendor_of_two(org)
    synced = sync(vendor, "customers", "tags", state_file=shape(spelling))
    assert 0 < len(due(vendor, "customer", BORDER)) < 60
    assert 0 < len(due(vendor, "tag", BORDER)) < 60
    assert sorted(synced.ids("customers")) == due(vendor, "customer", BORDER)
    assert sorted(synced.ids("tags")) == due(vendor, "tag", BORDER)
    assert synced.state("customers") == synced.state("tags") == {"updated_at": CUTOFF}


def test_a_line_of_the_output_resumes_the_sync_when_it_is_saved_as_the_state(org, sync):
    vendor = org({"note": 1300})
    first = sync(vendor, "notes", mode="full_refresh")
    line = {"type": "STATE", "state": of_stream("notes", first.states("notes")[0])}
    resumed = sync(vendor, "notes", mode="full_refresh", state_file=line)
    assert 0 < len(resumed.ids("notes")) < 1300
    assert resumed.ids("notes") == first.ids("notes")[-len(resumed.ids("notes")) :]


@pytest.mark.parametrize(
    ("at", "border"),
    [
        ("2026-02-02T02:02:02Z", "2026-02-02T02:02:02.000Z"),
        ("2026-02-02T02:02:02", "2026-02-02T02:02:02.000Z"),
        ("2026-02-02T02:02:02.222+00:00", BORDER),
        ("2026-02-02T04:02:02.222+02:00", BORDER),
        ("2026-02-02", "2026-02-02T00:00:00.000Z"),
    ],
)
def test_reading_goes_on_at_the_state_when_its_timestamp_is_spelled_otherwise(
    org, sync, at, border
):
    vendor = org()
    edge = datetime.fromisoformat(border)
    vendor.insert("customer", at=edge - timedelta(milliseconds=1))
    wanted = [vendor.insert("customer", at=edge).id]
    assert sync(vendor, "customers", state_file={"updated_at": at}).ids("customers") == wanted


@pytest.mark.parametrize(
    "nothing",
    [
        [],
        {},
        [{}],
        {"bookmarks": {}},
        {"bookmarks": {"customers": None}},
        {"bookmarks": {"tags": BORDER}},
        {"tags": {"updated_at": BORDER}},
        {"customers": {}},
        [of_stream("customers", {})],
        [of_stream("tags", {"updated_at": BORDER})],
        [of_stream("invoices", {"page": 4})],
        [{"type": "LEGACY", "data": {}}],
    ],
    ids=json.dumps,
)
def test_everything_is_read_when_the_state_says_nothing_of_a_stream(org, sync, nothing):
    vendor = vendor_of_two(org)
    synced = sync(vendor, "customers", state_file=nothing)
    assert synced.status("customers") is COMPLETE
    assert sorted(synced.ids("customers")) == due(vendor, "customer", "")


@pytest.mark.parametrize("at", ["2010-01-01T00:00:00.000Z", "2026-01-31T23:59:59.999Z"])
@pytest.mark.parametrize("stream", ["customers", "tags"])
def test_rows_before_the_start_date_are_left_out_when_the_state_is_older(org, sync, stream, at):
    vendor = vendor_of_two(org)
    synced = sync(vendor, stream, start_date="2026-02-01", state_file={"updated_at": at})
    kind = stream.removesuffix("s")
    assert 0 < len(due(vendor, kind, "2026-02-01")) < 60
    assert sorted(synced.ids(stream)) == due(vendor, kind, "2026-02-01")


def test_the_state_never_moves_back_when_it_is_younger_than_what_is_settled(org, sync):
    vendor = vendor_of_two(org)
    state = {"updated_at": "2026-05-31T23:59:30.000Z"}
    synced = sync(vendor, "customers", "tags", state_file=state)
    assert synced.state("customers") == synced.state("tags") == state
    assert synced.ids("customers") == synced.ids("tags") == []


GARBAGE = [
    "yesterday",
    "2026-13-01T00:00:00Z",
    "",
    "2027-01-01T00:00:00.000Z",
    "9999-12-31T23:59:59Z",
    1780272000,
    1.5,
    True,
    ["2026-01-01T00:00:00Z"],
    [],
    {},
    {"page": 7},
]


@pytest.mark.parametrize("value", GARBAGE, ids=json.dumps)
@pytest.mark.parametrize("stream", ["customers", "tags"])
def test_one_stream_fails_quoting_its_state_and_others_finish_when_a_bookmark_is_garbage(
    org, sync, stream, value
):
    vendor = vendor_of_two(org)
    state = {"bookmarks": {stream: value, "notes": BORDER}, "currently_syncing": stream}
    synced = sync(vendor, stream, "notes", "teams", state_file=state)
    assert synced.failures == {FailureType.config_error}
    assert synced.status(stream) is INCOMPLETE
    assert synced.ids(stream) == []
    assert stream in synced.failure(stream)
    assert str(value) in synced.failure(stream)
    assert sorted(synced.ids("notes")) == due(vendor, "note", BORDER)
    assert len(synced.ids("teams")) == 5


@pytest.mark.parametrize(
    "value",
    [
        {"updated_at": "yesterday"},
        {"updated_at": "2027-01-01T00:00:00.000Z"},
        {"updated_at": 1780272000},
        {"updated_at": None},
        {"updated_at": ["2026-01-01"]},
        {"updated_at": {"at": "2026-01-01"}},
        {"page": 7},
        {"bookmarks": 7},
        {"bookmarks": [{"customers": BORDER}]},
    ],
    ids=json.dumps,
)
@pytest.mark.parametrize("mode", ["incremental", "full_refresh"])
def test_a_state_that_is_garbage_fails_its_stream_alone_and_a_full_refresh_does_without(
    org, sync, value, mode
):
    vendor = vendor_of_two(org)
    state = [of_stream("customers", value), of_stream("tags", {"updated_at": BORDER})]
    synced = sync(vendor, "customers", "tags", mode=mode, state_file=state)
    wanted = due(vendor, "tag", BORDER if mode == "incremental" else "")
    assert sorted(synced.ids("tags")) == wanted
    if mode == "full_refresh":
        assert synced.failures == set()
        assert sorted(synced.ids("customers")) == due(vendor, "customer", "")
        return
    assert synced.failures == {FailureType.config_error}
    assert synced.status("customers") is INCOMPLETE
    assert str(next(iter(value.values()))) in synced.failure("customers")


@pytest.mark.parametrize("at", ["2027-01-01T00:00:00.000Z", "yesterday"])
def test_a_full_refresh_begins_anew_when_its_own_unfinished_state_is_of_no_use(org, sync, at):
    vendor = vendor_of_two(org)
    state = [of_stream("customers", {"updated_at": at, "full_refresh": "unfinished"})]
    synced = sync(vendor, "customers", mode="full_refresh", state_file=state)
    assert sorted(synced.ids("customers")) == due(vendor, "customer", "")


def test_the_sentence_says_that_a_state_lies_in_the_future(org, sync):
    state = [of_stream("customers", {"updated_at": "2027-01-01T00:00:00.000Z"})]
    synced = sync(vendor_of_two(org), "customers", state_file=state)
    assert "is in the future" in synced.failure("customers")
    assert "cannot be understood" not in synced.failure("customers")


@pytest.mark.parametrize(
    "state",
    [
        ["2026-01-01"],
        [7],
        7,
        "2026-01-01T00:00:00Z",
        True,
        [[]],
        {"invoices": {"updated_at": BORDER}},
        {"type": "LEGACY", "data": 7},
        {"type": "LEGACY", "data": {"cursor": "abc"}},
        {"type": "CHECKPOINT", "position": 7},
        {"type": "STREAM", "stream": {"stream_state": {"updated_at": BORDER}}},
        {"type": "STREAM", "stream": "customers"},
        [{"type": "SOMETHING", "stream": {"stream_descriptor": {"name": "customers"}}}],
        {"type": "GLOBAL", "global": 7},
    ],
    ids=json.dumps,
)
def test_the_sync_fails_as_a_config_error_when_the_whole_state_is_garbage(org, sync, state):
    vendor = vendor_of_two(org)
    synced = sync(vendor, "customers", "tags", state_file=state)
    assert synced.failures == {FailureType.config_error}
    assert "state" in synced.output.errors[-1].trace.error.message
    assert synced.ids("customers") == []
    assert vendor.journal.entries == []


@pytest.mark.parametrize("text", ["{", "", "updated_at: 2026-01-01", '{"updated_at": 2026-01-01}'])
def test_the_sync_fails_as_a_config_error_when_the_state_file_is_no_json(tmp_path, org, text):
    vendor = vendor_of_two(org)
    files = {
        "config": {"api_token": vendor.token, "start_date": "2025-01-01"},
        "catalog": {"streams": []},
    }
    arguments = ["read"]
    for name, content in files.items():
        path = entrypoint_wrapper.make_file(tmp_path / f"{name}.json", json.dumps(content))
        arguments += [f"--{name}", path]
    arguments += ["--state", entrypoint_wrapper.make_file(tmp_path / "state.json", text)]
    output = entrypoint_wrapper._run_command(SourceKustomer(), arguments)
    kinds = {error.trace.error.failure_type for error in output.errors}
    assert kinds == {FailureType.config_error}
