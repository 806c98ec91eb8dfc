"""`source-courier doctor`: each line where everything holds, and where one thing is broken."""

import json
from datetime import UTC, datetime, timedelta

import freezegun
import pytest

from fake_vendor import Courier
from http_source.process import launch
from source_courier import SourceCourier
from unit_tests.conftest import Report

BREAKAGES = [
    ("paging.more *", {"more_as_text": True}),
    ("the cursor is respected *", {"cursor_ignored": True}),
    ("the same cursor, the same rows *", {"cursor_drifts": True}),
    ("nothing cut without a word *", {"boundary_gap": 1}),
    ("nothing cut without a word *", {"boundary_gap": 3}),
    ("the end *", {"more_without_end": True}),
    ("cursor on the last page", {"last_cursor": "repeated"}),
    ("order", {"row_order": "oldest_on_page"}),
    ("page size", {"page_size": 7}),
    ("limit is ignored", {"limit": "honoured"}),
    ("form of cursors", {"cursor_form": "opaque"}),
    ("a cursor that Courier did not send", {"unknown_cursor": "ignored"}),
    ("enqueued_after in milliseconds", {"enqueued_after": "iso_only"}),
    ("enqueued_after in ISO 8601", {"enqueued_after": "ms_only"}),
    ("clock skew", {"clock_skew_seconds": 45}),
    ("clock skew", {"clock_skew_seconds": -45}),
    ("rate-limit headers", {"limit_headers": True}),
]
NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture(autouse=True)
def time():
    with freezegun.freeze_time(NOW, ignore=["_pytest.timing"]) as frozen:
        yield frozen


@pytest.fixture
def vendor(requests_mock, answer):
    """A workspace in which everything can be seen, and holds."""
    made = Courier(rows=0)
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
    assert len(vendor.journal.entries) <= 30
    assert all(entry.method == "GET" for entry in vendor.journal.entries)


@pytest.mark.parametrize(
    ("line", "switches"), BREAKAGES, ids=[f"{line} {switches}" for line, switches in BREAKAGES]
)
def test_exactly_one_line_does_not_hold_when_one_thing_is_broken(vendor, doctor, line, switches):
    vendor.switch(**switches)
    report = doctor(vendor)
    assert report.lines("does not hold") == {line}
    assert report.lines("could not be seen") == set()
    assert report.code == (1 if line.endswith(" *") else 0)


def test_every_line_has_a_breakage_but_those_of_rows(vendor, doctor):
    broken = {line for line, _ in BREAKAGES}
    # Each of them has a test of its own below; without the right to read there is no table.
    assert set(doctor(vendor).verdicts) - broken == {
        "id and enqueued",
        "status",
        "may read messages",
    }


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


def test_neither_the_key_nor_content_of_messages_is_printed(vendor, doctor):
    said = doctor(vendor).out
    assert vendor.key not in said
    assert "@" not in said
    for message in vendor.messages():
        texts = [value for value in message.row().values() if isinstance(value, str)]
        assert message.id in texts
        assert not [text for text in texts if text in said]


def test_help_tells_what_it_does(capsys):
    with pytest.raises(SystemExit) as ended:
        launch(SourceCourier(), ["doctor", "-h"])
    assert ended.value.code == 0
    assert "read-only" in capsys.readouterr().out
