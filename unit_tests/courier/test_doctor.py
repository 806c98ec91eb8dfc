"""`source-courier doctor`: each line where everything holds, and where one thing is broken."""

import json
from datetime import UTC, datetime, timedelta

import freezegun
import pytest

from fake_vendor import Courier
from fake_vendor.courier import TABLES
from http_source.process import launch
from source_courier import SourceCourier
from source_courier.streams import STREAMS
from unit_tests.conftest import Report

pytestmark = [pytest.mark.slow, pytest.mark.thorough]

BREAKAGES = [
    ("paging.more *", {"more_as_text": True}),
    ("the cursor is respected *", {"cursor_ignored": True}),
    ("the same cursor, the same rows *", {"cursor_drifts": True}),
    ("nothing cut without a word *", {"boundary_gap": 1}),
    ("nothing cut without a word *", {"boundary_gap": 3}),
    ("order of messages *", {"oldest_first": ["messages"], "row_order": "oldest_on_page"}),
    ("the end *", {"more_without_end": True}),
    ("cursor on the last page", {"last_cursor": "repeated"}),
    ("order", {"row_order": "oldest_on_page"}),
    ("page size", {"page_size": 7}),
    ("page size granted", {"limit": "refused"}),
    ("form of cursors", {"cursor_form": "opaque"}),
    ("form of cursors", {"cursor_form": "signed"}),
    ("the row of a cursor", {"cursor_row": "inclusive"}),
    ("a cursor that Courier did not send", {"unknown_cursor": "ignored"}),
    ("a built cursor of a known row", {"built_cursor": "between_only"}),
    ("a built cursor between two rows", {"built_cursor": "row_only"}),
    ("enqueued_after in milliseconds", {"enqueued_after": "iso_only"}),
    ("enqueued_after in ISO 8601", {"enqueued_after": "ms_only"}),
    ("nothing hidden by enqueued_after *", {"enqueued_after": "hiding"}),
    ("archived=true", {"archived": "alone"}),
    ("filter by status", {"status_filter": "ignored"}),
    ("clock skew", {"clock_skew_seconds": 45}),
    ("clock skew", {"clock_skew_seconds": -45}),
    ("rate-limit headers", {"limit_headers": True}),
    ("order of journey_runs *", {"oldest_first": ["journey_runs"]}),
    ("order of automation_runs *", {"oldest_first": ["automation_runs"]}),
    ("order of preference_logs *", {"oldest_first": ["preference_logs"]}),
    ("preference_logs by since", {"since": "ignored"}),
    ("bound of preference_logs by since", {"since": "exclusive"}),
    ("nothing hidden in preference_logs by since *", {"since": "hiding"}),
]
# What is only looked at if no line before it fails that complete reads rest on, or if cursors have
# the published form.
DEPENDENT = {
    "the row of a cursor",
    "a built cursor of a known row",
    "a built cursor between two rows",
    "nothing hidden by enqueued_after *",
    "archived=true",
}
SPAN = "by start_date and end_date"
# Lines of journey_runs. Those of automation_runs are the same.
RUN_BREAKAGES = [
    (f"{{}} {SPAN}", {"runs_filter": "ignored"}),
    (f"bounds of {{}} {SPAN}", {"runs_filter": "exclusive"}),
    (f"nothing hidden in {{}} {SPAN} *", {"runs_filter": "hiding"}),
    ("{} without created_at", {"undated_runs": "shown"}),
]
RUNS = ("journey_runs", "automation_runs")
VERSIONS = {"version of journeys", "version of automations"}
# Streams whose rows are parts of the rows of another stream's list.
PARTS = {
    "preference_topics": "preference_sections",
    "digest_schedules": "preference_sections",
    "tenant_preferences": "tenants",
}
LISTS = [
    stream.name
    for stream in STREAMS
    if stream.name != "messages" and stream.name not in PARTS and "{id}" not in stream.endpoint
]
CHILDREN = [stream.name for stream in STREAMS if "{id}" in stream.endpoint]
KEYS = {
    stream.parent.name: stream.parent.key[0]
    for stream in STREAMS
    if stream.name in CHILDREN and stream.parent.name != "messages"
}
PARENTS = {stream.name: stream.parent.name for stream in STREAMS if stream.name in CHILDREN}
NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def time():
    with freezegun.freeze_time(NOW, ignore=["_pytest.timing"]) as frozen:
        yield frozen


@pytest.fixture
def vendor(requests_mock, answer):
    """A workspace in which everything can be seen, and holds."""
    made = Courier(rows=0)
    made.switch(built_cursor="honoured")
    for number in range(40):
        status = ("DELIVERED", "OPENED", "SENT")[number % 3]
        made.insert(NOW - timedelta(minutes=number), status=status)
    answer(requests_mock, "https://api.courier.com", made)
    return made


@pytest.fixture
def doctor(tmp_path, capsys):
    """Run the command: `doctor(vendor)`."""

    def doctor(vendor, **config):
        path = tmp_path / "config.json"
        path.write_text(json.dumps({"api_key": vendor.key} | config))
        with pytest.raises(SystemExit) as ended:
            launch(SourceCourier(), ["doctor", "--config", str(path)])
        said = capsys.readouterr()
        return Report(ended.value.code, said.out, said.err)

    return doctor


def test_everything_holds_for_a_workspace_that_behaves_as_the_docs_say(vendor, doctor, waits):
    report = doctor(vendor)
    assert report.lines("holds") == set(report.verdicts)
    assert (report.code, report.err) == (0, "")
    assert waits == []
    assert len(vendor.journal.entries) <= 60
    assert all(entry.method == "GET" for entry in vendor.journal.entries)


@pytest.mark.parametrize(
    ("line", "switches"), BREAKAGES, ids=[f"{line} {switches}" for line, switches in BREAKAGES]
)
def test_exactly_one_line_does_not_hold_when_one_thing_is_broken(vendor, doctor, line, switches):
    of_lists = {"more_as_text", "more_without_end", "cursor_ignored"} & switches.keys()
    vendor.switch(**switches, only=["messages"] if of_lists else [])
    report = doctor(vendor)
    assert report.lines("does not hold") == {line}
    assert report.lines("could not be seen") <= DEPENDENT
    assert report.code == (1 if line.endswith(" *") else 0)


@pytest.mark.parametrize(("line", "switches"), RUN_BREAKAGES)
def test_the_line_of_both_lists_of_runs_fails_when_their_filter_is_broken(
    vendor, doctor, line, switches
):
    vendor.switch(**switches)
    report = doctor(vendor)
    assert report.lines("does not hold") == {line.format(runs) for runs in RUNS}
    assert report.lines("could not be seen") == set()
    assert report.code == (1 if line.endswith(" *") else 0)


def test_a_version_that_is_ignored_is_noticed(vendor, doctor):
    vendor.switch(version_filter="ignored")
    report = doctor(vendor)
    assert report.lines("does not hold") == VERSIONS
    assert {report.seen[version] for version in VERSIONS} == {"all values show the same rows"}
    assert report.code == 0


@pytest.mark.parametrize("stream", [*LISTS, *CHILDREN])
def test_exactly_the_line_of_a_stream_fails_when_its_envelope_is_broken(vendor, doctor, stream):
    vendor.switch(faults=[{"kind": "no_data", "every": 1, "endpoint": stream}])
    report = doctor(vendor)
    parts = {part for part, whole in PARTS.items() if whole == stream}
    assert report.lines("does not hold") == {f"stream {one}" for one in {stream, *parts}}
    assert report.code == 0


@pytest.mark.parametrize("status", [402, 403])
@pytest.mark.parametrize("streams", [LISTS, CHILDREN])
def test_lists_that_the_plan_or_the_key_does_not_show_are_told_as_such(
    vendor, doctor, streams, status
):
    vendor.switch(refused=[f"{stream}={status}" for stream in streams])
    report = doctor(vendor)
    assert report.lines("does not hold") == set()
    for stream in streams:
        assert report.verdicts[f"stream {stream}"] == "could not be seen"
        words = f"HTTP {status}: the plan or the key does not show it"
        assert report.seen[f"stream {stream}"] == words
    assert report.code == 0


def test_lists_that_are_not_served_fail_their_lines(vendor, doctor):
    vendor.switch(refused=[f"{stream}=404" for stream in LISTS])
    report = doctor(vendor)
    assert report.lines("does not hold") == {f"stream {one}" for one in {*LISTS, *PARTS}}
    assert {report.seen[f"stream {stream}"] for stream in LISTS} == {"HTTP 404"}
    assert report.seen["stream tenant_users"] == "no row of tenants is known"
    assert report.code == 0


def test_lists_below_parents_that_are_gone_could_not_be_seen(vendor, doctor):
    vendor.switch(refused=[f"{stream}=404" for stream in CHILDREN])
    report = doctor(vendor)
    assert report.lines("does not hold") == set()
    assert report.lines("could not be seen") == {f"stream {stream}" for stream in CHILDREN}
    for stream in CHILDREN:
        assert report.seen[f"stream {stream}"] == f"HTTP 404 for 2 of {PARENTS[stream]}"


def test_another_parent_is_taken_if_the_first_one_is_gone(vendor, doctor):
    newest = vendor.insert(NOW + timedelta(seconds=30), status="SENT")
    firsts = [vendor.rows(parent)[0][key] for parent, key in KEYS.items()]
    vendor.switch(gone=[newest.id, *firsts])
    report = doctor(vendor)
    assert report.lines("holds") == set(report.verdicts)


def test_a_list_is_asked_without_limit_after_it_was_refused(vendor, doctor):
    vendor.switch(limit="refused")
    report = doctor(vendor)
    assert report.seen["stream brands"] == "10 rows, more to come; limit is refused"
    assert report.seen["page size granted"] == "refused: HTTP 400"


@pytest.mark.parametrize(
    ("limit", "words"),
    [
        ("honoured", "granted: 40 rows, 10 without it"),
        ("ignored", "ignored: 10 rows, 10 without it"),
    ],
)
def test_a_page_size_that_is_granted_or_ignored_is_told(vendor, doctor, limit, words):
    vendor.switch(limit=limit)
    report = doctor(vendor)
    assert report.lines("holds") == set(report.verdicts)
    assert report.seen["page size granted"] == words


@pytest.mark.parametrize("mode", ["refused", "from_the_top", "empty"])
def test_built_cursors_that_do_not_work_lose_nothing(vendor, doctor, mode):
    vendor.switch(built_cursor=mode)
    report = doctor(vendor)
    assert report.lines("does not hold") == {
        "a built cursor of a known row",
        "a built cursor between two rows",
    }
    assert report.code == 0


def test_a_filter_that_is_refused_is_noticed(vendor, doctor):
    vendor.switch(runs_filter="refused", since="refused", status_filter="refused")
    report = doctor(vendor)
    assert report.lines("does not hold") == {
        "filter by status",
        "preference_logs by since",
        *(f"{runs} {SPAN}" for runs in RUNS),
    }
    assert report.code == 0


@pytest.mark.parametrize(
    ("preferences", "words"),
    [
        (7, "a row holds its parts in another form"),
        ({"items": [{"status": "OPTED_IN"}]}, "0 of 1 with it"),
    ],
)
def test_a_row_that_holds_other_parts_fails_their_line(vendor, doctor, preferences, words):
    for number, tenant in enumerate(vendor.rows("tenants")):
        shown = None if number else preferences
        vendor.change("tenants", tenant["id"], default_preferences=shown)
    report = doctor(vendor)
    assert report.lines("does not hold") == {"stream tenant_preferences"}
    assert report.seen["stream tenant_preferences"] == words
    assert report.code == 0


def test_every_line_has_a_breakage_but_those_of_rows(vendor, doctor):
    broken = {line for line, _ in BREAKAGES} | VERSIONS
    broken |= {line.format(runs) for line, _ in RUN_BREAKAGES for runs in RUNS}
    broken |= {f"stream {name}" for name in (*LISTS, *CHILDREN, *PARTS)}
    # Each of them has a test of its own below; without the right to read there is no table.
    assert set(doctor(vendor).verdicts) - broken == {
        "id and enqueued",
        "status",
        "may read messages",
    }


def test_every_stream_has_a_line(vendor, doctor):
    streams = {stream.name for stream in STREAMS} - {"messages"}
    assert {f"stream {name}" for name in streams} <= set(doctor(vendor).verdicts)


@pytest.mark.parametrize(
    ("line", "fields"),
    [("id and enqueued", {"enqueued": "yesterday"}), ("status", {"status": "ESCALATED"})],
)
def test_a_row_that_is_not_as_the_docs_say_is_noticed(vendor, doctor, line, fields):
    vendor.insert(NOW - timedelta(seconds=90), **fields)
    report = doctor(vendor)
    assert report.lines("does not hold") == {line}
    assert report.code == 0


def test_both_forms_of_a_filter_that_is_ignored_are_noticed(vendor, doctor):
    vendor.switch(enqueued_after="ignored")
    report = doctor(vendor)
    assert report.lines("does not hold") == {
        "enqueued_after in milliseconds",
        "enqueued_after in ISO 8601",
    }


@pytest.mark.parametrize("rows", [0, 1, 2, 10])
def test_nothing_fails_in_a_small_workspace(requests_mock, answer, doctor, rows):
    small = Courier(rows=rows)
    answer(requests_mock, "https://api.courier.com", small)
    report = doctor(small)
    assert report.lines("does not hold") == set()
    assert report.verdicts["the cursor is respected *"] == "could not be seen"
    assert report.code == 0


def test_nothing_fails_in_a_workspace_without_rows(requests_mock, answer, doctor):
    empty = Courier(rows=0, tables=dict.fromkeys(TABLES, 0))
    empty.switch(last_cursor="null")
    answer(requests_mock, "https://api.courier.com", empty)
    report = doctor(empty)
    assert report.lines("does not hold") == set()
    for stream in (*LISTS, *PARTS):
        assert report.verdicts[f"stream {stream}"] == "holds"
    for stream in CHILDREN:
        assert report.seen[f"stream {stream}"] == f"no row of {PARENTS[stream]} is known"
    assert report.code == 0


def test_a_message_that_is_archived_meanwhile_is_not_taken_for_a_hidden_one(
    vendor, doctor, monkeypatch
):
    handle = vendor.handle

    def archiving(request):
        if "enqueued_after" in request.params and len(vendor.messages()) == 40:
            vendor.archive(vendor.messages()[-2].id)
        return handle(request)

    monkeypatch.setattr(vendor, "handle", archiving)
    report = doctor(vendor)
    assert report.verdicts["nothing hidden by enqueued_after *"] == "holds"
    assert len(vendor.messages()) == 39


@pytest.mark.parametrize(("lists_key", "audit_target"), [("items", "object"), ("results", "text")])
def test_shapes_of_which_the_sources_tell_hold(vendor, doctor, lists_key, audit_target):
    vendor.switch(lists_key=lists_key, audit_target=audit_target)
    report = doctor(vendor)
    assert report.lines("holds") == set(report.verdicts)


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_is_one_sentence(vendor, doctor, status):
    vendor.switch(bad_key_status=status)
    report = doctor(vendor, api_key="another-key-of-mine")
    assert (report.code, report.out, report.err.count("\n")) == (1, "", 1)
    assert "refused the API key" in report.err
    assert "another-key-of-mine" not in report.err


def test_a_vendor_that_does_not_answer_is_one_sentence(vendor, doctor):
    vendor.switch(faults=["503:1"])
    report = doctor(vendor)
    assert (report.code, report.out, report.err.count("\n")) == (1, "", 1)
    assert "did not answer as it should" in report.err


def test_a_later_page_that_does_not_come_leaves_lines_that_cannot_be_seen(vendor, doctor):
    vendor.switch(faults=[{"kind": "bad_json", "at": list(range(2, 60)), "endpoint": "messages"}])
    report = doctor(vendor)
    assert report.lines("does not hold") == set()
    assert report.verdicts["the cursor is respected *"] == "could not be seen"
    assert report.code == 0


def test_neither_the_key_nor_content_of_rows_is_printed(vendor, doctor):
    said = doctor(vendor).out
    assert vendor.key not in said
    assert "@" not in said
    for message in vendor.messages():
        texts = [value for value in message.row().values() if isinstance(value, str)]
        assert message.id in texts
        assert not [text for text in texts if text in said]
    idents = [
        row[key] for name in STREAMS for row in vendor.rows(name.name)[:200] for key in name.key
    ]
    texts = {ident for ident in idents if isinstance(ident, str)} - {"published", "draft"}
    assert len(texts) > len(STREAMS)
    assert not [text for text in texts if text in said]


def test_help_tells_what_it_does(capsys):
    with pytest.raises(SystemExit) as ended:
        launch(SourceCourier(), ["doctor", "-h"])
    assert ended.value.code == 0
    assert "read-only" in capsys.readouterr().out
