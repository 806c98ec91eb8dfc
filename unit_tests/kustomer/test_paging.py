"""paging.py against a model of the vendor, which does everything that a search is allowed to do."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from http_source.instants import format_instant
from source_kustomer.paging import Page, Query, Record, SearchPaginator, UnreadableError

START, CUTOFF, NOW = 1_000, 2_000, 2_100
MAX_ROWS = 40


def within(instant: int, lower: int | None, upper: int | None) -> bool:
    return (lower is None or lower <= instant) and (upper is None or instant < upper)


@dataclass
class Vendor:
    """A search over a few records, with small limits. Records change between requests."""

    records: dict[str, tuple[int, int]]
    seed: int = 0
    clamp: int = 7
    tie_order: str = "stable"
    total: str = "honest"
    links: str = "honest"
    size_told: str = "honest"
    depth: str = "refused"
    churn: float = 0.0
    late: float = 0.0
    # Pages are cut short at this weight. Every fifth row weighs 5, all others weigh 1.
    cut: int | None = None
    requests: int = 0
    untouched: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.untouched = set(self.records)
        self.clock = NOW
        self.spare = 0

    def ask(self, queries: Sequence[Query]) -> Iterator[Page | None]:
        """Answer like a pool of threads: a few requests at once, in any order."""
        waiting = list(enumerate(queries))
        answers: dict[int, Page | None] = {}
        for wanted in range(len(queries)):
            while wanted not in answers:
                under_way = waiting[:4]
                index, query = self.random.choice(under_way)
                waiting.remove((index, query))
                answers[index] = self.answer(query)
            yield answers.pop(wanted)

    def answer(self, query: Query) -> Page | None:
        self.requests += 1
        self.change()
        rows = [
            Record(name, updated, {"attributes": {"createdAt": format_instant(created)}})
            for name, (updated, created) in self.records.items()
            if within(updated, query.lower, query.upper)
            and within(created, query.tiebreak_from, query.tiebreak_to)
        ]
        if self.tie_order == "shuffled":
            self.random.shuffle(rows)
        else:
            rows.sort(
                key=(lambda row: row.instant("createdAt")) if self.tie_order == "created" else None
            )
        rows.sort(key=lambda row: row.cursor)
        size = min(query.size, self.clamp)
        offset = (query.page - 1) * size
        too_deep = query.page > 1 and offset + size > MAX_ROWS
        if too_deep and self.depth == "refused":
            return None
        shown = [] if too_deep else rows[offset : offset + size]
        more = offset + size < len(rows)
        if self.cut is not None:
            whole, shown, weight = shown, [], 0
            for row in whole:
                weight += 5 if sum(map(ord, row.id)) % 5 == 0 else 1
                if shown and weight > self.cut:
                    more = True
                    break
                shown.append(row)
        return Page(
            shown,
            {
                "honest": len(rows),
                "capped": min(len(rows), MAX_ROWS),
                "missing": None,
                "high": len(rows) + 9,
                "zero": 0,
            }[self.total],
            {"honest": size, "asked": query.size, "missing": None}[self.size_told],
            {"honest": more, "missing": False, "always": True}[self.links],
        )

    def change(self) -> None:
        self.clock += 1
        if self.random.random() < self.churn and self.records:
            name = self.random.choice(sorted(self.records))
            self.untouched.discard(name)
            if self.random.random() < 0.3:
                del self.records[name]
                self.deleted.add(name)
            else:
                self.records[name] = (self.clock, self.records[name][1])
        if self.random.random() < self.late:
            # A record that is indexed late, but within the index lag: never below the cutoff.
            self.spare += 1
            at = self.random.randint(CUTOFF, self.clock)
            self.records[f"late{self.spare}"] = (at, at)


def reader(vendor: Vendor) -> SearchPaginator:
    return SearchPaginator(vendor.ask, overlap=2, max_rows=MAX_ROWS)


groups = st.lists(
    st.tuples(
        st.integers(START, CUTOFF - 1),  # updated_at
        st.sampled_from([1, 1, 1, 2, 3, 8, 20, 60]),  # records that share it
        st.sampled_from(["spread", "spread", "few", "one"]),  # their created_at
    ),
    max_size=12,
)


def records(spec: list[tuple[int, int, str]]) -> dict[str, tuple[int, int]]:
    made = {}
    for group, (updated, count, creation) in enumerate(spec):
        for number in range(count):
            created = {"spread": number * 3, "few": number % 4, "one": 0}[creation]
            made[f"{number * 7 % 61:02d}-{group}-{number}"] = (updated, created)
    return made


def unsplittable(rows: dict[str, tuple[int, int]]) -> int:
    instants = list(rows.values())
    return max((instants.count(instant) for instant in set(instants)), default=0)


def impossible(spec: list[tuple[int, int, str]], kind: dict[str, object]) -> bool:
    """Whether ties can only be read by page number, without a count that shows when one leaves."""
    countless = kind["total"] in ("missing", "zero")
    shown = kind["clamp"] if kind["cut"] is None else 1
    return countless and unsplittable(records(spec)) > shown


def guesswork(spec: list[tuple[int, int, str]], kind: dict[str, object]) -> bool:
    """The same, with pages that are cut short and shuffled. Here the reader does its best."""
    cut_and_shuffled = kind["cut"] is not None and kind["tie_order"] == "shuffled"
    return cut_and_shuffled and impossible(spec, kind)


def may_be_refused(spec: list[tuple[int, int, str]], kind: dict[str, object]) -> bool:
    """Whether an error is allowed: see the docstring of `SearchPaginator._read_by_number`."""
    made = records(spec)
    # A vendor that counts more than it shows may withhold a record.
    return kind["total"] == "high" or unsplittable(made) > kind["clamp"]


vendors = st.fixed_dictionaries(
    {
        "seed": st.integers(0, 2**16),
        "clamp": st.integers(3, 20),
        "tie_order": st.sampled_from(["stable", "created", "shuffled"]),
        "total": st.sampled_from(["honest", "capped", "missing", "high", "zero"]),
        "links": st.sampled_from(["honest", "missing", "always"]),
        "size_told": st.sampled_from(["honest", "asked", "missing"]),
        "depth": st.sampled_from(["refused", "empty"]),
        "cut": st.sampled_from([None, None, 6, 11]),
    }
)
full_size = settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.slow
@full_size
@given(groups, vendors, st.sampled_from([0.0, 0.2, 0.7]), st.sampled_from([0.0, 0.3]))
def test_all_that_stays_is_emitted_in_order_and_before_its_checkpoint(spec, kind, churn, late):
    assume(not (churn and impossible(spec, kind)))
    assume(not guesswork(spec, kind))
    vendor = Vendor(records(spec), churn=churn, late=late, **kind)
    excusable = may_be_refused(spec, kind)
    emitted: list[Record] = []
    refused = None
    try:
        for batch in reader(vendor).read(START, CUTOFF, ahead=True):
            emitted.extend(batch.records)
            done = {record.id for record in emitted}
            below = {
                name
                for name in vendor.untouched & set(vendor.records)
                if vendor.records[name][0] < batch.watermark
            }
            assert below <= done, "a checkpoint claims what was not emitted"
    except UnreadableError as error:
        refused = str(error)
    if refused is not None:
        # An error is allowed in two cases: ties that neither a search nor a page number separates,
        # and a vendor that counts more than it shows.
        assert excusable
        assert "updated_at" in refused
        assert "1970-01-01T00:00:0" in refused
        return
    assert vendor.untouched <= {record.id for record in emitted}
    updated = [record.cursor for record in emitted]
    assert updated == sorted(updated)
    assert all(START <= instant < CUTOFF for instant in updated)
    assert vendor.requests <= 60 + 30 * len(spec) + 20 * sum(count for _, count, _ in spec)


@pytest.mark.slow
@full_size
@given(groups, vendors, st.sampled_from([0.2, 0.7]))
def test_a_record_that_moves_during_a_full_refresh_is_still_in_it(spec, kind, churn):
    assume(not impossible(spec, kind))
    vendor = Vendor(records(spec), churn=churn, **kind)
    existing = set(vendor.records)
    emitted: set[str] = set()
    reading = reader(vendor)
    try:
        for upper in (CUTOFF, None):
            lower = START if upper else CUTOFF
            for batch in reading.read(lower, upper, ahead=upper is not None):
                emitted |= {record.id for record in batch.records}
            vendor.churn = vendor.churn / 2 if upper is None else vendor.churn
    except UnreadableError:
        assert may_be_refused(spec, kind)
        return
    assert existing - vendor.deleted <= emitted


@pytest.mark.slow
@full_size
@given(groups, vendors)
def test_a_quiet_vendor_repeats_nothing_and_two_syncs_meet_exactly(spec, kind):
    assume(not guesswork(spec, kind))
    vendor = Vendor(records(spec), **kind)
    middle = START + 500
    emitted: list[str] = []
    reading = reader(vendor)
    try:
        for lower, upper in ((START, middle), (middle, CUTOFF)):
            for batch in reading.read(lower, upper, ahead=True):
                emitted += [record.id for record in batch.records]
    except UnreadableError:
        assert may_be_refused(spec, kind)
        return
    assert sorted(emitted) == sorted(vendor.records)


def test_ties_that_nothing_tells_apart_fail_with_their_timestamp_and_count():
    vendor = Vendor(records([(1500, 60, "one")]), clamp=10)
    with pytest.raises(
        UnreadableError, match=r"60 records share updated_at 1970-01-01T00:00:01\.500Z"
    ):
        list(reader(vendor).read(START, CUTOFF, ahead=True))


def test_a_first_page_that_is_not_served_is_an_error_and_not_an_end():
    refusing = SearchPaginator(lambda queries: iter([None] * len(queries)))
    with pytest.raises(UnreadableError, match="refused to serve the first page"):
        list(refusing.read(START, CUTOFF, ahead=True))


def test_ties_that_have_no_tiebreak_are_read_by_number_and_named_without_one():
    rows = records([(1500, 30, "spread")])
    vendor = Vendor(rows, clamp=10)
    paginator = SearchPaginator(
        vendor.ask, cursor="created_at", tiebreak="created_at", overlap=2, max_rows=MAX_ROWS
    )
    found = [record.id for batch in paginator.read(START, CUTOFF, ahead=True)
             for record in batch.records]  # fmt: skip
    assert sorted(found) == sorted(rows)
    deep = Vendor(records([(1500, 60, "spread")]), clamp=10)
    paginator = SearchPaginator(
        deep.ask, cursor="created_at", tiebreak="created_at", overlap=2, max_rows=MAX_ROWS
    )
    with pytest.raises(UnreadableError, match=r"60 records share created_at 1970\S+; "):
        list(paginator.read(START, CUTOFF, ahead=True))


def test_an_honest_vendor_is_asked_for_hardly_more_pages_than_there_are():
    quiet = {f"{number:04d}": (START + number % 900, number) for number in range(450)}
    vendor = Vendor(dict(sorted(quiet.items(), key=lambda item: item[1])), clamp=500)
    list(SearchPaginator(vendor.ask, overlap=2).read(START, CUTOFF, ahead=True))
    assert vendor.requests == 1
