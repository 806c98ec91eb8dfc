"""`source-kustomer doctor`: each line where everything holds, and where one thing is broken."""

import json
import re
from datetime import UTC, datetime, timedelta

import freezegun
import pytest
import requests

from fake_vendor import Kustomer, KustomerSwitches
from fake_vendor.journal import Journal
from fake_vendor.limits import Limiter
from http_source.process import launch
from source_kustomer import SourceKustomer
from source_kustomer.source import STREAMS
from unit_tests.conftest import Report

# `make unit` leaves these out: each test makes some seventy requests.
pytestmark = [pytest.mark.slow, pytest.mark.thorough]

# The moment of the fixture `time`.
NOW = datetime(2026, 6, 1, tzinfo=UTC)
SEARCHED = ("company", "conversation_time", "work_session", "work_item")
ROWS = (
    {"customer": 13_600}
    | dict.fromkeys(("conversation", "message", "note", "kobject"), 300)
    | dict.fromkeys(SEARCHED, 150)
)
UNDOCUMENTED = (
    *("company_updated_at", "company_created_at", "conversation_time_created_at"),
    *("work_session_updated_at", "work_session_created_at"),
    *("work_item_updated_at", "work_item_created_at", "work_item_handle_completed_at"),
)


def but(name):
    """All undocumented attributes except one."""
    return tuple(one for one in UNDOCUMENTED if one != name)


BREAKAGES = [
    ("lower bound, search *", {"ignored_bounds": ("search:customer_updated_at:gte",)}),
    ("lower bound, search *", {"shifted_bounds": ("search:customer_updated_at:gte",)}),
    ("lower bound, search *", {"ignored_bounds": ("search:message_updated_at:gte",)}),
    ("upper bound, search *", {"ignored_bounds": ("search:customer_updated_at:lt",)}),
    ("upper bound, search *", {"shifted_bounds": ("search:customer_updated_at:lt",)}),
    ("upper bound, search *", {"ignored_bounds": ("search:note_updated_at:lt",)}),
    ("ascending order, search *", {"reversed_orders": ("search:customer_updated_at",)}),
    ("ascending order, search *", {"reversed_orders": ("search:message_updated_at",)}),
    ("ascending order, search *", {"refused_orders": ("search:note_updated_at",)}),
    ("nothing cut without a word, search *", {"gaps": ("search:customer",)}),
    ("lower bound, archive *", {"ignored_bounds": ("archive_search:customer_updated_at:gte",)}),
    ("lower bound, archive *", {"shifted_bounds": ("archive_search:customer_updated_at:gte",)}),
    ("upper bound, archive *", {"ignored_bounds": ("archive_search:customer_updated_at:lt",)}),
    ("upper bound, archive *", {"shifted_bounds": ("archive_search:conversation_updated_at:lt",)}),
    ("ascending order, archive *", {"reversed_orders": ("archive_search:customer_updated_at",)}),
    ("nothing cut without a word, archive *", {"gaps": ("archive_search:customer",)}),
    ("customer_created_at *", {"ignored_bounds": ("search:customer_created_at:gte",)}),
    ("customer_created_at *", {"ignored_bounds": ("search:customer_created_at:lt",)}),
    ("customer_created_at *", {"shifted_bounds": ("search:customer_created_at:gte",)}),
    ("seam between search and archive *", {"archive_gap_days": 6}),
    ("where the archive begins", {"archive_scope": "all"}),
    ("order of ties", {"tie_order": "shuffled"}),
    ("page size granted", {"page_size_max": 300}),
    ("what the count says", {"total": "missing"}),
    ("what the count says", {"total": "capped"}),
    ("what the count says", {"total": 7}),
    ("links at the end", {"next_links": "null"}),
    ("links at the end", {"next_links": "missing"}),
    ("depth limit by page", {"page_cap": 150}),
    ("depth limit by row", {"row_cap": 20_000}),
    ("depth limit by row", {"row_cap": 5_000}),
    ("clock skew", {"clock_skew_seconds": -45}),
    ("rate-limit headers", {"limit_form": "text"}),
    ("rate-limit headers", {"org_limit": None, "search_limit": None}),
    ("form of x-ratelimit-reset", {"reset_when": "always", "reset_form": "delta"}),
    ("form of x-ratelimit-reset", {"reset_when": "always", "reset_form": "epoch_ms"}),
    ("deleted records found", {"deleted": "ignored"}),
    ("deleted records left out", {"deleted": "always"}),
    *((name, {"undocumented": "ignored", "supported": but(name)}) for name in UNDOCUMENTED),
    ("company_updated_at", {"undocumented": "refused", "supported": but("company_updated_at")}),
    ("work_item_created_at", {"undocumented": "refused", "supported": but("work_item_created_at")}),
    ("work_item_updated_at", {"undocumented": "empty", "supported": but("work_item_updated_at")}),
    ("company_created_at", {"undocumented": "empty", "supported": but("company_created_at")}),
    ("kobject_<klass> by kobject_updated_at", {"klass_search": "refused"}),
    ("kobject_<klass> by kobject_updated_at", {"klass_search": "ignored"}),
    ("GET /v1/companies", {"missing_lists": ("companies",)}),
    ("GET /v1/routing/work-sessions", {"missing_lists": ("routing/work-sessions",)}),
    ("GET /v1/kb/articles", {"missing_lists": ("kb/articles",)}),
    ("GET /v1/slas?versions=all", {"missing_lists": ("slas",)}),
    ("GET /v1/slas?versions=all", {"included": "none"}),
    ("GET /v1/klasses?status=", {"ignored_parameters": ("klass:status",)}),
    ("GET /v1/sub-statuses?resourceType=", {"ignored_parameters": ("sub_status:resourceType",)}),
    ("audit-logs: filter[start], filter[end]", {"log_filters": False}),
    ("audit-logs: before", {"log_before": "ignored"}),
]


class Slow:
    """An org whose answers take a second each."""

    def __init__(self, vendor, time):
        self._vendor, self._time = vendor, time
        self.clock = vendor.clock

    def handle(self, request):
        self._time.tick(1)
        return self._vendor.handle(request)


SWITCHES = KustomerSwitches(org_limit=1000, search_limit=100)


def grown():
    """Make an org in which everything can be seen, and holds."""
    made = Kustomer(
        ROWS,
        list_rows=5,
        setting_rows=6,
        child_rows=20,
        event_rows=60,
        years=3,
        ties=(4,) * 30,
        switches=SWITCHES,
    )
    now = made.clock.now()
    for seconds in (5, 60, 200):
        made.insert("conversation", at=now - timedelta(seconds=seconds))
    gone = made.records("customer")[0].id
    made.delete("customer", gone, at=now - timedelta(days=1))
    deletion = {"eventVerb": "delete", "objectType": "customer", "objectId": gone}
    made.insert("audit_log", at=now, resource={"attributes": deletion})
    return made


@pytest.fixture
def vendor(requests_mock, answer, time):
    """An org in which everything can be seen, and holds."""
    made = grown()
    answer(requests_mock, "https://api.kustomerapp.com", Slow(made, time))
    return made


@pytest.fixture(scope="module")
def common():
    """One org for all tests that change nothing but its switches."""
    with freezegun.freeze_time(NOW):
        return grown()


@pytest.fixture
def steady(requests_mock, answer, time, common):
    """The common org, with its first switches and no request counted."""
    common.switches, common.journal = SWITCHES, Journal()
    common._org_limiter, common._search_limiter = Limiter(), Limiter()
    answer(requests_mock, "https://api.kustomerapp.com", Slow(common, time))
    return common


@pytest.fixture
def doctor(tmp_path, capsys):
    """Run the command: `doctor(vendor)`."""

    def doctor(vendor, **config):
        path = tmp_path / "config.json"
        whole = {"api_token": vendor.token, "start_date": "2025-01-01"} | config
        path.write_text(json.dumps(whole))
        with pytest.raises(SystemExit) as ended:
            launch(SourceKustomer(), ["doctor", "--config", str(path)])
        said = capsys.readouterr()
        return Report(ended.value.code, said.out, said.err)

    return doctor


def test_everything_holds_for_an_org_that_behaves_as_the_docs_say(steady, doctor, waits):
    report = doctor(steady)
    assert report.lines("holds") == set(report.verdicts)
    assert {f"may read {stream.name}" for stream in STREAMS} <= set(report.verdicts)
    assert (report.code, report.err) == (0, "")
    assert waits == []
    assert all(entry.method == "GET" or "search" in entry.path for entry in steady.journal.entries)


@pytest.mark.parametrize(
    ("line", "switches"), BREAKAGES, ids=[f"{line} {switches}" for line, switches in BREAKAGES]
)
def test_exactly_one_line_does_not_hold_when_one_thing_is_broken(steady, doctor, line, switches):
    steady.switch(**switches)
    report = doctor(steady)
    assert report.lines("does not hold") == {line}
    assert report.lines("could not be seen") == set()
    assert report.code == (1 if line.endswith(" *") else 0)


def test_every_line_has_a_breakage_but_those_of_rights(steady, doctor):
    broken = {line for line, _ in BREAKAGES}
    rest = {line for line in doctor(steady).verdicts if not line.startswith("may read ")} - broken
    # Each of them has a test of its own below.
    assert rest == {
        "archive allowed",
        "index lag of the newest rows",
        "GET /v1/metadata/customer",
    }


def test_rows_that_become_visible_too_late_are_noticed(vendor, doctor):
    vendor.switch(index_lag_seconds=30)
    vendor.insert("conversation", at=vendor.clock.now() - timedelta(seconds=200))
    report = doctor(vendor)
    assert report.lines("does not hold") == {"index lag of the newest rows"}
    assert report.code == 0


def test_rows_that_become_visible_a_little_late_are_within_the_lag(vendor, doctor):
    vendor.switch(index_lag_seconds=30)
    vendor.insert("conversation", at=vendor.clock.now() - timedelta(seconds=20))
    report = doctor(vendor)
    assert report.lines("does not hold") == set()
    assert "late" in report.seen["index lag of the newest rows"]


def test_metadata_without_attributes_is_noticed(vendor, doctor):
    del vendor.metadata["customer"]
    report = doctor(vendor)
    assert report.lines("does not hold") == {"GET /v1/metadata/customer"}
    assert report.code == 0


@pytest.mark.parametrize("status", [401, 403, 404])
def test_lines_of_the_archive_cannot_be_seen_when_it_is_refused(steady, doctor, status):
    steady.switch(archive_refusal=status)
    report = doctor(steady)
    assert report.lines("does not hold") == {"archive allowed"}
    assert report.lines("could not be seen") == {
        *(line for line in report.verdicts if line.endswith(", archive *")),
        "seam between search and archive *",
        "where the archive begins",
    }
    assert report.code == 0


def test_search_lines_cannot_be_seen_when_the_key_may_not_search(steady, doctor):
    steady.switch(search_refusal=403)
    report = doctor(steady)
    assert "org.permission.search.create" in report.seen["lower bound, search *"]
    assert report.verdicts["lower bound, search *"] == "could not be seen"
    assert report.verdicts["may read customers"] == "does not hold"
    assert report.verdicts["may read tags"] == "holds"
    assert report.verdicts["GET /v1/companies"] == "holds"
    assert report.code == 0


@pytest.mark.parametrize(
    ("endpoint", "streams", "lines"),
    [
        ("tag", {"tags"}, set()),
        ("sla", {"slas", "sla_versions"}, {"GET /v1/slas?versions=all"}),
        ("klass", {"klasses"}, {"GET /v1/klasses?status="}),
        ("metadata", {"custom_attributes"}, {"GET /v1/metadata/customer"}),
        ("company", set(), {"GET /v1/companies"}),
        ("conversation_attachment", {"attachments"}, set()),
        (
            "audit_log",
            {"audit_logs"},
            {"audit-logs: filter[start], filter[end]", "audit-logs: before"},
        ),
    ],
)
def test_a_missing_role_is_named_and_its_lines_cannot_be_seen(
    steady, doctor, endpoint, streams, lines
):
    steady.switch(refused=(endpoint,))
    report = doctor(steady)
    refused = {f"may read {stream}" for stream in streams}
    assert report.lines("does not hold") == refused
    assert report.lines("could not be seen") == lines
    assert all("role" in report.seen[line] or "org." in report.seen[line] for line in lines)
    assert report.code == 0


def test_a_search_that_ends_early_without_a_word_is_noticed(steady, doctor):
    steady.switch(silent_cuts=("search:customer",))
    report = doctor(steady)
    assert report.verdicts["nothing cut without a word, search *"] == "does not hold"
    assert report.code == 1


def test_an_archive_that_begins_later_than_the_seam_is_noticed(steady, doctor):
    steady.switch(horizon_days=700)
    report = doctor(steady)
    assert report.lines("does not hold") == {
        "seam between search and archive *",
        "where the archive begins",
    }
    assert report.code == 1


def test_a_record_that_changes_in_between_is_no_failure(vendor, doctor, monkeypatch):
    """A record leaves its place after the first page, so that the window cannot show it."""
    handle, searched = vendor.handle, []

    def changing(request):
        reply = handle(request)
        if request.path.endswith("customers/search") and not searched:
            rows = reply.json()["data"]
            searched.extend(rows)
            for row in rows[120:130]:
                vendor.touch("customer", row["id"])
        return reply

    monkeypatch.setattr(vendor, "handle", changing)
    report = doctor(vendor)
    assert report.lines("holds") == set(report.verdicts)


def test_an_org_without_records_shows_nothing_and_nothing_fails(
    requests_mock, answer, time, doctor
):
    empty = Kustomer(0, list_rows=0, setting_rows=0)
    answer(requests_mock, "https://api.kustomerapp.com", empty)
    report = doctor(empty)
    assert report.lines("does not hold") == {"rate-limit headers"}
    assert report.verdicts["lower bound, search *"] == "could not be seen"
    assert report.verdicts["order of ties"] == "could not be seen"
    assert report.code == 0


def test_a_wrong_key_is_one_sentence(steady, doctor):
    report = doctor(steady, api_token="another-key-of-mine")
    assert report.code == 1
    assert report.out == ""
    assert report.err.count("\n") == 1
    assert "refused the API key" in report.err
    assert "another-key-of-mine" not in report.err


def test_a_vendor_that_cannot_be_reached_is_one_sentence(requests_mock, steady, doctor):
    error = requests.ConnectionError("Name or service not known")
    requests_mock.register_uri("POST", re.compile("https://api.prod2"), exc=error)
    report = doctor(steady, region="eu")
    assert (report.code, report.out, report.err.count("\n")) == (1, "", 1)
    assert "did not answer as it should at https://api.prod2.kustomerapp.com" in report.err


def test_requests_that_fail_later_leave_lines_that_cannot_be_seen(steady, doctor):
    steady.switch(faults=["503:1:tag", "bad_json:1:archive_search", "html:1:metadata"])
    report = doctor(steady)
    assert report.verdicts["may read tags"] == "could not be seen"
    assert report.verdicts["archive allowed"] == "could not be seen"
    assert report.verdicts["lower bound, archive *"] == "could not be seen"
    assert report.verdicts["GET /v1/metadata/customer"] == "could not be seen"
    assert report.lines("does not hold") == set()


def test_no_request_is_sent_after_two_minutes(requests_mock, answer, steady, time, doctor):
    class VerySlow(Slow):
        def handle(self, request):
            self._time.tick(30)
            return self._vendor.handle(request)

    answer(requests_mock, "https://api.kustomerapp.com", VerySlow(steady, time))
    report = doctor(steady)
    assert len(steady.journal.entries) <= 5
    assert report.lines("does not hold") == set()
    assert report.verdicts["may read tags"] == "could not be seen"


@pytest.mark.parametrize("switches", [{}, {"undocumented": "ignored"}, {"deleted": "always"}])
def test_neither_the_key_nor_content_of_records_is_printed(steady, doctor, switches):
    steady.switch(**switches, expired=False)
    report = doctor(steady)
    said = report.out + report.err
    assert steady.token not in said
    assert not re.search(r"[0-9a-f]{24}", said)
    assert "@" not in said
    for kind in ("customer", "conversation", "message", "note", "company"):
        for record in steady.records(kind)[:50]:
            row = json.loads(record.raw())
            texts = [value for value in row["attributes"].values() if isinstance(value, str)]
            assert not [text for text in texts if len(text) > 8 and text in said]


def test_help_tells_what_it_does(capsys):
    with pytest.raises(SystemExit) as ended:
        launch(SourceKustomer(), ["doctor", "-h"])
    assert ended.value.code == 0
    assert "read-only" in capsys.readouterr().out
