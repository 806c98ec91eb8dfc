"""The verb `windows`: it proposes windows of about equal size, from the vendor's counts."""

import bisect
import json
import re
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from http_source.arguments import parse_arguments
from http_source.instants import parse_instant
from http_source.process import launch
from http_source.verbs import run_verb
from source_kustomer import SourceKustomer
from source_kustomer.backfill import COUNT_CAP, MAX_COUNTS, CountedSearch, borders, survey
from source_kustomer.config import KustomerConfig

# `make unit` leaves these out: tries very many cases.
pytestmark = pytest.mark.slow

CUTOFF = "2026-05-31T23:58:00Z"
HORIZON = datetime(2024, 6, 1, tzinfo=UTC)
DOCUMENTED = ("conversations", "customers", "kobjects", "messages", "notes")
WINDOW = re.compile(
    r'^Window \d+: (?:about|at least) ([\d,]+) rows, [\d,]+ min\n  ("start_date": .*)\n  (.*)$',
    re.MULTILINE,
)


class Proposal:
    """The text of the verb, and the windows in it as pairs of dates."""

    def __init__(self, code, captured):
        self.code, self.text, self.error = code, captured.out, captured.err
        found = WINDOW.findall(self.text)
        self.configs = [json.loads(f"{{{dates}}}") for _, dates, _ in found]
        self.windows = [(one["start_date"], one["end_date"]) for one in self.configs]
        self.rows = [int(rows.replace(",", "")) for rows, _, _ in found]
        self.by_stream = [
            {
                name: int(count.replace(",", ""))
                for name, count in (part.split(" ") for part in line.split(", "))
            }
            for _, _, line in found
        ]


@pytest.fixture
def propose(tmp_path, capsys):
    def propose(vendor, windows, *more, **config):
        path = tmp_path / "config.json"
        path.write_text(
            json.dumps({"api_token": vendor.token, "start_date": "2015-01-01"} | config)
        )
        source = SourceKustomer()
        args = ["windows", "--config", str(path), "--windows", str(windows), *more]
        parsed = parse_arguments(source.verbs(), args)
        code = run_verb(source, parsed.verb, parsed)
        return Proposal(code, capsys.readouterr())

    return propose


def shares(vendor, proposal, *kinds):
    """How many records of the vendor are in each window."""
    moments = [parse_instant(one.updated_at) for kind in kinds for one in vendor.records(kind)]
    return [
        sum(parse_instant(lower) <= moment < parse_instant(upper) for moment in moments)
        for lower, upper in proposal.windows
    ]


def is_partition(proposal, start, end=CUTOFF):
    assert proposal.windows[0][0] == start
    assert proposal.windows[-1][1] == end
    assert all(one[1] == other[0] for one, other in pairwise(proposal.windows))
    assert all(parse_instant(lower) < parse_instant(upper) for lower, upper in proposal.windows)
    return True


@pytest.mark.parametrize("count", [1, 2, 4, 7])
def test_windows_of_skewed_data_have_equal_shares(org, propose, count):
    # Nothing in the first years, and then more in each year.
    vendor = org({"conversation": 900, "customer": 300, "kobject": 200, "message": 1600}, years=6)
    proposal = propose(vendor, count)
    assert proposal.code == 0
    assert is_partition(proposal, "2015-01-01T00:00:00Z")
    counts = shares(vendor, proposal, "conversation", "customer", "kobject", "message")
    assert len(counts) == count
    assert sum(counts) == 3000
    assert all(abs(one - 3000 / count) <= 0.2 * 3000 / count for one in counts)
    # The told figures are near the true ones.
    assert all(
        abs(one - told) <= 0.1 * 3000 / count + 5
        for one, told in zip(counts, proposal.rows, strict=True)
    )
    assert [sum(one.values()) for one in proposal.by_stream] == proposal.rows


def test_the_answer_says_what_a_user_needs(org, propose):
    vendor = org({"message": 3000}, years=3)
    proposal = propose(vendor, 4, "--streams", "messages, customers")
    requests = len(vendor.journal.entries)
    assert proposal.text.startswith(
        "Counting messages, customers from 2015-01-01T00:00:00Z to 2026-05-31T23:58:00Z, with at "
        f"most {4 * MAX_COUNTS + 1} searches.\n"
    )
    assert f"Kustomer was asked {requests} times." in proposal.text
    assert "In all: about 3,000 rows." in proposal.text
    assert "100 searches a minute per key, 500 rows a search" in proposal.text
    assert "docs/backfill.md" in proposal.text
    assert [set(one) for one in proposal.by_stream] == [{"messages", "customers"}] * 4
    for dates in proposal.configs:
        assert KustomerConfig.from_mapping({"api_token": "abcdefgh", **dates}).end


def test_minutes_follow_the_share_of_the_rate_limit(org, propose):
    # 60,000 rows are 120 searches.
    vendor = org({"note": 60_000}, years=1)
    whole = propose(vendor, 1, "--streams", "notes", start_date="2025-01-01")
    assert "Window 1: about 60,000 rows, 2 min" in whole.text
    half = propose(vendor, 1, "--streams", "notes", start_date="2025-01-01", rate_limit_share=50)
    assert "Window 1: about 60,000 rows, 3 min" in half.text
    assert "50 searches a minute per key" in half.text


@pytest.mark.parametrize("total", ["honest", "capped"])
def test_few_searches_are_sent_and_they_are_small(org, propose, total):
    vendor = org(dict.fromkeys(("conversation", "message"), 15_000), years=8, total=total)
    proposal = propose(vendor, 5)
    requests = len(vendor.journal.entries)
    assert requests <= 9 * MAX_COUNTS + 1
    if total == "honest":
        assert requests <= 120
    assert {one.page_size for one in vendor.journal.entries} == {1}
    assert {one.endpoint for one in vendor.journal.entries} == {"search", "archive_search"}
    counts = shares(vendor, proposal, "conversation", "message")
    assert all(abs(one - 6000) <= 1200 for one in counts)


def test_counts_stay_within_the_rate_limit(org, propose, time, monkeypatch):
    waits = []

    def wait(condition, seconds):
        waits.append(seconds)
        time.tick(seconds)

    # The rate budget waits for the next minute here. The verb itself starts no threads.
    monkeypatch.setattr(threading.Condition, "wait", wait)
    rows = dict.fromkeys(("message", "customer", "note"), 11_000)
    vendor = org(rows, years=8, total="capped", search_limit=100)
    propose(vendor, 20)
    assert len(vendor.journal.entries) > 100
    assert {one.status for one in vendor.journal.entries} == {200}
    assert 55 < sum(waits) < 65 * len(vendor.journal.entries) / 100


def test_rows_of_the_archive_count(org, propose):
    vendor = org({"customer": 2000, "note": 500}, years=8)
    old = [one for one in vendor.records("customer") if one.updated_at < "2024-06-01"]
    proposal = propose(vendor, 4, "--streams", "customers,notes")
    totals = Counter()
    for one in proposal.by_stream:
        totals.update(one)
    assert abs(totals["customers"] - 2000) <= 4
    # Notes have no archive, so a sync does not read old ones.
    young = sum(one.updated_at >= "2024-06-01" for one in vendor.records("note"))
    assert abs(totals["notes"] - young) <= 4
    vendor.journal.entries.clear()
    without = propose(vendor, 4, "--streams", "customers", include_archived=False)
    assert abs(sum(without.rows) - (2000 - len(old))) <= 4
    assert is_partition(without, "2015-01-01T00:00:00Z")
    assert {one.endpoint for one in vendor.journal.entries} == {"search"}


def test_an_archive_that_also_has_young_records_does_not_count_them_twice(org, propose):
    vendor = org({"customer": 1000}, years=8, archive_scope="all")
    assert abs(sum(propose(vendor, 4, "--streams", "customers").rows) - 1000) <= 4


@pytest.mark.parametrize("size", [300, 900])
def test_a_tie_that_is_larger_than_a_window_is_in_one_window(org, propose, size):
    vendor = org({"message": 1000}, years=1, ties=(size,))
    proposal = propose(vendor, 5, "--streams", "messages")
    counts = shares(vendor, proposal, "message")
    assert is_partition(proposal, "2015-01-01T00:00:00Z")
    assert 2 <= len(counts) <= 5
    # No window has more than the tie and a share.
    assert size <= max(counts) <= size + 200
    if size == 900:
        assert "fewer windows than 5" in proposal.text


def test_fewer_rows_than_windows(org, propose):
    vendor = org({"message": 3}, years=1)
    proposal = propose(vendor, 10)
    assert is_partition(proposal, "2015-01-01T00:00:00Z")
    assert len(proposal.windows) <= 3
    assert sum(shares(vendor, proposal, "message")) == 3
    assert "fewer windows than 10" in proposal.text


def test_an_empty_org_has_one_window(org, propose):
    proposal = propose(org(), 4)
    assert proposal.code == 0
    assert proposal.windows == [("2015-01-01T00:00:00Z", CUTOFF)]
    assert proposal.rows == [0]


def test_capped_counts_of_a_peak_are_divided_until_they_are_exact(org, propose):
    vendor = org({"customer": 500}, years=8, total="capped")
    peak = datetime(2025, 9, 1, tzinfo=UTC)
    for number in range(12_000):
        vendor.insert("customer", at=peak + timedelta(minutes=number))
    proposal = propose(vendor, 4, "--streams", "customers")
    counts = shares(vendor, proposal, "customer")
    assert all(abs(one - 3125) <= 0.2 * 3125 for one in counts)
    assert abs(sum(proposal.rows) - 12_500) <= 4
    assert "counts no further" not in proposal.text


def test_capped_counts_that_cannot_be_divided_are_told_as_lower_bounds(org, propose):
    vendor = org({"note": 13_000}, years=1, ties=(12_000,), total="capped")
    proposal = propose(vendor, 3, "--streams", "notes")
    assert is_partition(proposal, "2015-01-01T00:00:00Z")
    assert "at least" in proposal.text
    assert "lower bounds" in proposal.text


def test_capped_counts_of_a_large_org_are_estimated_from_samples():
    """Two million rows, more in each year: no part of a 64th can be counted."""
    start, end = parse_instant("2015-01-01"), parse_instant("2026-06-01")
    span = end - start

    def true(moment):
        return int(2_000_000 * ((moment - start) / span) ** 2)

    search = CountedSearch("x", start, end, lambda a, b: min(COUNT_CAP, true(b) - true(a)))
    parts = survey([search], 4)
    assert search.requests <= MAX_COUNTS
    assert {part.certainty for part in parts} <= {"counted", "sampled"}
    assert abs(sum(part.rows for part in parts) - 2_000_000) < 100_000
    for lower, upper in pairwise(borders(parts, start, end, 4)):
        assert abs(true(upper) - true(lower) - 500_000) < 50_000


def test_samples_are_told_as_such(org, propose):
    """A vendor that counts ten rows in each minute, and shows none of them."""

    def edit(body, request, number):
        bounds = {}
        for condition in json.loads(request.body)["and"]:
            bounds |= condition["customer_updated_at"]
        if "lt" in bounds:
            length = parse_instant(bounds["lt"]) - parse_instant(bounds["gte"])
            body["meta"]["total"] = min(COUNT_CAP, length // 6000)
            resource = vendor.records("customer")[0].raw()
            body["data"] = [json.loads(resource)]
            body["data"][0]["attributes"]["updatedAt"] = bounds["gte"]

    vendor = org({"customer": 1}, edit=edit)
    proposal = propose(
        vendor, 3, "--streams", "customers", start_date="2025-06-01", end_date="2026-05-31"
    )
    assert "estimated from samples" in proposal.text
    assert "at least" not in proposal.text
    share = 364 * 24 * 600 / 3
    assert all(abs(rows - share) < share / 100 for rows in proposal.rows)
    assert len(vendor.journal.entries) <= MAX_COUNTS + 1


def test_without_counts_the_dates_must_be_chosen_by_hand(org, propose):
    proposal = propose(org({"message": 20}, total="missing"), 4, "--streams", "messages")
    assert proposal.code == 1
    assert "messages" in proposal.error
    assert "by hand" in proposal.error
    assert "docs/backfill.md" in proposal.error
    assert proposal.windows == []


@pytest.mark.parametrize(
    ("start", "end", "shown"),
    [
        ("2025-01-01", "2026-01-01", ("2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z")),
        (
            "2025-01-01T00:00:00.123Z",
            "2026-01-01T02:00:00.5+02:00",
            ("2025-01-01T00:00:00.123Z", "2026-01-01T00:00:00.500Z"),
        ),
        ("2025-01-01", "2030-01-01", ("2025-01-01T00:00:00Z", CUTOFF)),
        ("2018-01-01", "2020-01-01", ("2018-01-01T00:00:00Z", "2020-01-01T00:00:00Z")),
    ],
)
def test_windows_reach_from_the_start_date_to_the_end_date(org, propose, start, end, shown):
    vendor = org({"message": 200, "note": 50}, years=9)
    proposal = propose(vendor, 3, start_date=start, end_date=end)
    assert is_partition(proposal, *shown)
    assert len(proposal.windows) == 3


def test_kustomers_clock_sets_the_end(org, propose, time):
    vendor = org({"message": 200})
    vendor.clock.advance(-3600)
    assert propose(vendor, 2).windows[-1][1] == "2026-05-31T22:58:00Z"


def test_a_start_date_after_the_cutoff_is_an_error(org, propose):
    proposal = propose(org({"message": 20}), 2, start_date="2026-05-31T23:59:00Z")
    assert proposal.code == 1
    assert "nothing to divide" in proposal.error


@pytest.mark.parametrize("streams", ["tags", "attachments", "messages,cats", ","])
def test_streams_that_no_search_finds_are_an_error(org, propose, streams):
    vendor = org({"message": 20})
    proposal = propose(vendor, 2, "--streams", streams)
    assert proposal.code == 1
    assert "conversations, customers" in proposal.error
    assert vendor.journal.entries == []


def test_guarded_streams_are_counted_if_the_search_respects_their_cursor(org, propose):
    vendor = org({"company": 400}, years=3)
    assert abs(sum(propose(vendor, 2, "--streams", "companies").rows) - 400) <= 2
    vendor.switch(undocumented="refused")
    proposal = propose(vendor, 2, "--streams", "messages,companies")
    assert proposal.code == 1
    assert "does not support" in proposal.error
    assert "Leave out of --streams: companies." in proposal.error


@pytest.mark.parametrize("windows", ["0", "-1", "101", "many"])
def test_a_senseless_number_of_windows_is_refused(org, propose, windows):
    with pytest.raises(SystemExit) as ended:
        propose(org(), windows)
    assert ended.value.code == 2


def test_a_key_that_kustomer_refuses_is_told_in_one_sentence(org, propose):
    proposal = propose(org({"message": 20}, expired=True), 2)
    assert proposal.code == 1
    assert proposal.error.startswith("The API key has expired.")
    assert proposal.error.count("\n") == 1


def test_the_command_line_prints_the_windows(org, tmp_path, capsys):
    vendor = org({"message": 100})
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"api_token": vendor.token, "start_date": "2025-01-01"}))
    with pytest.raises(SystemExit) as ended:
        launch(SourceKustomer(), ["windows", "--config", str(path), "--windows", "2"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert len(WINDOW.findall(out)) == 2
    assert vendor.token not in out


def test_the_proposed_windows_and_the_sync_behind_them_bring_exactly_the_vendors_records(
    org, sync, propose, time
):
    kinds = {"conversations": "conversation", "messages": "message"}
    vendor = org(dict.fromkeys(kinds.values(), 400), years=6, ties=(60,), page_size_max=40)
    proposal = propose(vendor, 4, "--streams", ",".join(kinds))
    assert len(proposal.windows) == 4
    copy = {stream: {} for stream in kinds}
    state = {}

    def take(synced):
        for stream in kinds:
            for row in synced.rows(stream):
                kept = copy[stream].get(row["id"], "")
                copy[stream][row["id"]] = max(row["updated_at"], kept)

    for dates in proposal.configs:
        time.tick(1800)
        vendor.touch_random(5, tuple(kinds.values()))
        synced = sync(vendor, *kinds, **dates)
        take(synced)
        state = {stream: synced.state(stream) for stream in kinds}
    time.tick(600)
    take(sync(vendor, *kinds, state=state, start_date=proposal.windows[0][0]))
    assert copy == {
        stream: {one.id: one.updated_at for one in vendor.records(kind)}
        for stream, kind in kinds.items()
    }


MOMENTS = st.integers(0, 400_000) | st.sampled_from([0, 1, 999, 1000, 5000, 77_777])


@given(
    start=st.integers(0, 5000),
    length=st.integers(1, 400_000),
    wanted=st.integers(1, 30),
    tables=st.lists(st.lists(MOMENTS, max_size=60), min_size=1, max_size=3),
    copies=st.sampled_from([1, 1, 900]),
)
def test_the_windows_always_partition_the_time(start, length, wanted, tables, copies):
    end = start + length

    def asking(table):
        moments = sorted(table * copies)
        return lambda lower, upper: min(
            COUNT_CAP, bisect.bisect_left(moments, upper) - bisect.bisect_left(moments, lower)
        )

    middle = start + length // 3
    searches = [
        CountedSearch(f"stream {number}", lower, upper, asking(table))
        for number, table in enumerate(tables)
        for lower, upper in ((start, middle), (middle, end))
        if lower < upper
    ]
    parts = survey(searches, wanted)
    found = borders(parts, start, end, wanted)
    assert (found[0], found[-1]) == (start, end)
    assert all(lower < upper for lower, upper in pairwise(found))
    assert 2 <= len(found) <= wanted + 1
    assert all(border % 1000 == 0 for border in found[1:-1])
    assert sum(search.requests for search in searches) <= MAX_COUNTS * len(searches)
    # The parts of a search have neither gaps nor overlaps.
    for search in searches:
        own = sorted((part.lower, part.upper) for part in parts if part.search is search)
        assert (own[0][0], own[-1][1]) == (search.lower, search.upper)
        assert all(one[1] == other[0] for one, other in pairwise(own))
