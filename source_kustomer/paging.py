"""Reads a Kustomer search completely. Pure: the caller passes the function that fetches pages.

A search guarantees little. It serves one page at a time, ascending by the cursor attribute (such as
`updated_at`), at most 100 pages and 10,000 rows deep. Many records may share one cursor value, and
their order may differ on every request. A record that changes moves to the end of the timeline.

The algorithm relies on one assumption, and checks every page for it: a page is a part of the sorted
result without gaps, as the result was at one moment. So a page proves that every record strictly
between its first and its last cursor value was seen. A first page also proves everything before.

`docs/reading.md` explains the algorithm. The comments (A) to (E) here mark its steps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import ceil
from typing import Any, NamedTuple

from http_source.body import PageTooLargeError
from http_source.instants import LATEST, EpochMs, format_instant, parse_instant
from source_kustomer.rows import camel_case

# The largest page that search grants (https://developer.kustomer.com/docs/concepts/search).
PAGE_SIZE = 500
# "There is a hard limit of 100 for the maximum number of pages": Kustomer's OpenAPI.
MAX_PAGES = 100
# The depth to which a query can be read. AWS Glue's documentation says 10,000 rows, for any page
# size.
MAX_ROWS = 10_000
# How many rows two neighbouring pages of step (B) share. They prove that the pages are adjacent,
# even if records leave in between. If more records leave, or if a tie is at the border, one more
# request is needed. Each row of overlap costs a tenth of a page per 10,000 rows.
OVERLAP = 5
# How often an empty page is fetched again if it contradicts an earlier page.
_MAX_FETCHES_AGAIN = 3
# The smallest page of step (B), as a share of the first page's size.
_SMALLEST = 0.8
# Ties are divided into parts that fill 70 % of a page on average. Parts differ in size, and a part
# that is larger than a page must be divided again.
_FILL = 0.7
# Ties that no attribute separates are read by page number, in rounds, until the vendor's count is
# reached. If the order is shuffled on every request, 10,000 rows need about ten rounds (this is the
# coupon collector's problem).
MAX_ROUNDS = 40
# Without a reliable count, three rounds without a new row are enough. Nine are needed if a row came
# twice in them: such a round misses a given row with a probability of about 1/e.
_CLEAN_ROUND = 3
_IDLE_ENOUGH = 9


# Pages are requested with as many rows as weigh this much in memory. A heavier page costs memory
# without a gain. 500 rows of 1.5 kB weigh two thirds of it, so only unusual rows make smaller pages
# (`make bench`, scenario large-rows). For the weight see `weight` in http_source/body.py.
PAGE_WEIGHT = 12 * 1024 * 1024


class UnreadableError(Exception):
    """The vendor makes it impossible to read everything. The text names the records."""


@dataclass(frozen=True)
class Query:
    """One search request: [lower, upper) of the cursor. For ties also bounds of the tiebreak."""

    lower: EpochMs
    upper: EpochMs | None
    tiebreak_from: EpochMs | None = None
    tiebreak_to: EpochMs | None = None
    page: int = 1
    size: int = PAGE_SIZE

    @property
    def offset(self) -> int:
        """How many rows of the result come before this page."""
        return (self.page - 1) * self.size


class Record(NamedTuple):
    """One record as the search returned it, with its cursor value."""

    id: str
    cursor: EpochMs
    resource: Mapping[str, Any]

    def instant(self, name: str) -> EpochMs | None:
        """An attribute such as `createdAt`, or None. Raises ValueError or TypeError if broken."""
        value = self.resource["attributes"].get(name)
        return None if value is None else parse_instant(value)


@dataclass(frozen=True)
class Page:
    """One answer, ascending by cursor. What it says about further rows is a hint, not a proof.

    `size` is the page size that the vendor says it granted. `weight` is the estimated memory of the
    page in bytes.
    """

    records: Sequence[Record]
    total: int | None
    size: int | None
    promises_more: bool
    weight: int = 0


@dataclass(frozen=True)
class RecordBatch:
    """Records to emit. After that, all records with a cursor below `watermark` are emitted.

    `left` is how many records come after them, by the vendor's last count.
    """

    records: list[Record]
    watermark: EpochMs
    left: int | None = None


# Yields the page of each query in order, or None for a page that the vendor does not serve. It may
# prefetch pages. It raises PageTooLargeError.
FetchPages = Callable[[Sequence[Query]], Iterator[Page | None]]


@dataclass
class _Position:
    """How far a window was read: all below `at` is emitted, and of the records at `at`, `seen`."""

    at: EpochMs
    seen: set[str]
    # How many records come after the last page, by the vendor's count.
    left: int = 0

    def take(self, records: Sequence[Record]) -> list[Record]:
        """Return the records that were not emitted before. The position moves to the last one."""
        fresh = [
            record
            for record in records
            if record.cursor > self.at or (record.cursor == self.at and record.id not in self.seen)
        ]
        if records and records[-1].cursor >= self.at:
            last = records[-1].cursor
            ids = {record.id for record in records if record.cursor == last}
            self.seen = ids if last > self.at else self.seen | ids
            self.at = last
        return fresh

    def pass_to(self, instant: EpochMs) -> None:
        """Note that all records below `instant` are emitted."""
        if instant > self.at:
            self.at, self.seen, self.left = instant, set(), 0


@dataclass
class _Found:
    """The IDs that rounds have shown, and the vendor's count. A new count clears the IDs."""

    ids: set[str] = field(default_factory=set)
    total: int | None = None
    changes: int = 0

    def add(self, ids: Sequence[str], total: int | None) -> None:
        """Add a page's records and its count."""
        if total != self.total:
            self.total, self.ids = total, set()
            self.changes += 1
        self.ids.update(ids)

    @property
    def is_counted_higher(self) -> bool:
        """Whether the vendor counts more records than it has shown."""
        return self.total is not None and self.total > len(self.ids)


class _Round(NamedTuple):
    """What one round showed: all pages of a query, read once."""

    rows: Sequence[str]
    last: int
    is_too_deep: bool
    shortest: int
    has_news: bool
    shows_each_once: bool


class SearchPaginator:
    """Reads windows of one search. It remembers which page sizes and depths the search grants."""

    def __init__(
        self,
        fetch_pages: FetchPages,
        *,
        cursor: str = "updated_at",
        tiebreak: str = "created_at",
        overlap: int = OVERLAP,
        max_rows: int = MAX_ROWS,
    ) -> None:
        """`cursor` orders the records. `tiebreak` separates records with the same cursor value."""
        self._fetch = fetch_pages
        self._cursor = cursor
        self._tiebreak = tiebreak
        self._overlap = overlap
        self._max_rows = max_rows
        self._max_pages = MAX_PAGES
        # The longest page so far. The vendor may grant fewer rows than requested.
        self._granted = 0
        # How many rows to request, so that a page has at most some megabytes.
        self._size = PAGE_SIZE

    def read(self, lower: EpochMs, upper: EpochMs | None, *, ahead: bool) -> Iterator[RecordBatch]:
        """Yield every record with a cursor in [lower, upper), ascending. No `upper` means no end.

        With `ahead`, several pages are fetched at once. Raises UnreadableError.
        """
        position = _Position(lower, set())
        while position.at <= LATEST and (upper is None or position.at < upper):
            # (A) The page from the current position. It proves all records before its last
            # timestamp.
            query, page = self._fetch_first(Query(position.at, upper))
            if not page.records:
                query, page = self._fetch_again(query, page, position)
            started_at = position.at
            fresh = position.take(page.records)
            if self._ends(page, query):
                yield RecordBatch(fresh, position.at if upper is None else upper, 0)
                return
            left = None if page.total is None else max(0, page.total - len(page.records))
            position.left = left or 0
            yield RecordBatch(fresh, position.at, left)
            del fresh
            if position.at == started_at:
                # (C) One timestamp fills the page, or the page shows nothing after it.
                del page
                for records in self._read_instant(position.at):
                    yield RecordBatch(position.take(records), position.at)
                position.pass_to(position.at + 1)
                yield RecordBatch([], position.at)
            elif ahead:
                behind = self._queries_ahead(query, page)
                del page  # free some megabytes, because step (B) does not need them
                if (yield from self._read_ahead(position, query, behind)):
                    return

    def _read_ahead(
        self, position: _Position, query: Query, behind: Sequence[Query]
    ) -> Generator[RecordBatch, None, bool]:
        """(B) Read the pages after a first page by number, several at once.

        Page numbers only find the rows. Cursor values prove that no row is missing. Returns True if
        the end of the window was read.
        """
        answers = self._fetch(behind)
        for ahead in behind:
            try:
                answer = next(answers)
            except PageTooLargeError:
                self._shrink_pages(ahead)
                return False
            if answer is None:
                self._max_pages = ahead.page - 1
                return False
            if not answer.records:
                return False
            self._learn_from(answer)
            first = answer.records[0].cursor
            if first >= position.at:
                # The page is not proved to be adjacent: records left, or a tie is at the border.
                yield from self._read_between(position, first + 1)
            yield RecordBatch(position.take(answer.records), position.at)
            if answer.total is not None:
                position.left = max(0, answer.total - ahead.offset - len(answer.records))
            if self._ends(answer, ahead):
                if query.upper is not None:
                    yield RecordBatch([], query.upper)
                return True
            del answer
        return False

    def _fetch_again(self, query: Query, page: Page, position: _Position) -> tuple[Query, Page]:
        """Fetch an empty page again if it should show at least the records that were just seen.

        All of these records may have changed meanwhile. But if the vendor counted more records
        after them, those would all have changed too, which is not plausible. Raises UnreadableError
        if the page stays empty.
        """
        for _ in range(_MAX_FETCHES_AGAIN):
            if page.records or not (position.seen and position.left):
                return query, page
            query, page = self._fetch_first(query)
        if not page.records:
            raise self._withheld(query, position.left)
        return query, page

    def _read_between(self, position: _Position, upper: EpochMs) -> Iterator[RecordBatch]:
        for batch in self.read(position.at, upper, ahead=False):
            fresh = position.take(batch.records)
            position.pass_to(batch.watermark)
            yield RecordBatch(fresh, position.at)

    def _queries_ahead(self, query: Query, page: Page) -> list[Query]:
        """Return pages 2, 3, ... of a query whose first page is `page`. Neighbouring pages overlap.

        A page number only reaches multiples of the page size. So each page is a little smaller than
        the one before it. Then it starts at least `overlap` rows before the end of that page.
        """
        queries: list[Query] = []
        rows = end = len(page.records)
        if page.total is None or not self._is_full(query, page):
            return queries
        reach = min(page.total, self._max_rows)
        while end < reach and len(queries) + 1 < self._max_pages:
            number = len(queries) + 2
            size = (end - self._overlap) // (number - 1)
            end = number * size
            # The overlap would take much of a small page, so step (A) starts a new query instead.
            if size <= 2 * self._overlap or size < _SMALLEST * rows or end > self._max_rows:
                break
            queries.append(replace(query, page=number, size=size))
        return queries

    def _is_full(self, query: Query, page: Page) -> bool:
        return len(page.records) >= min(self._granted, query.size)

    def _ends(self, page: Page, query: Query) -> bool:
        """(D) Whether the page is the last one. Everything that the vendor says must agree.

        Raises UnreadableError if a first page is empty although the vendor counts or links to rows.
        """
        rows = len(page.records)
        end = query.offset + rows
        if not rows and query.page == 1:
            if page.total or (page.promises_more and self._has_rows_behind(query, page)):
                raise self._withheld(query, page.total)
            return True
        # The vendor may cap its count, so a count at this depth proves nothing.
        if page.total != end or end >= self._max_rows:
            return False
        if rows >= min(query.size, page.size or query.size):
            return False
        return not page.promises_more or not self._has_rows_behind(query, page)

    def _has_rows_behind(self, query: Query, page: Page) -> bool:
        # The vendor may have cut the first page short, so the next one starts after its rows.
        rows = len(page.records) if query.page == 1 else 0
        size = rows or query.size
        behind = next(self._fetch([replace(query, page=query.page + 1, size=size)]))
        return behind is not None and bool(behind.records)

    def _read_instant(self, instant: EpochMs) -> Iterator[Sequence[Record]]:
        """(C) Yield all records of a timestamp that fills a page.

        Records without a tiebreak value are in no part. If the vendor counts more records than the
        parts contained, all records are read by page number too.
        """
        query, page = self._fetch_first(Query(instant, instant + 1))
        found = {record.id for record in page.records}
        yield page.records
        if self._is_whole(query, page):
            return
        for records in self._read_parts(query, page):
            found.update(record.id for record in records)
            yield records
        if page.total is not None and len(found) < page.total:
            counted = self._fetch_first(query)[1].total
            if counted is not None and len(found) < counted:
                yield from self._read_by_number(query)

    def _read_parts(self, query: Query, page: Page) -> Iterator[Sequence[Record]]:
        """(C) Yield all records of a query for one timestamp. `page` contains some of them.

        The query is divided by the tiebreak until each part fits a page. This is exact for any
        order, and even if records leave, because each part is one complete answer.
        """
        parts = self._cut(query, page)
        if not parts:
            yield from self._read_by_number(query)
            return
        for part, answer in self._fetch_each(parts):
            yield answer.records
            if not self._is_whole(part, answer):
                yield from self._read_parts(part, answer)

    def _fetch_each(self, queries: Sequence[Query]) -> Iterator[tuple[Query, Page]]:
        """Yield each query with its page, in order. A page that is too large is fetched smaller."""
        left = deque(queries)
        while left:
            try:
                for answer in self._fetch(list(left)):
                    if answer is None:
                        raise self._refused()
                    yield left.popleft(), answer
            except PageTooLargeError:
                self._shrink_pages(left[0])
                left = deque(replace(query, size=min(query.size, self._size)) for query in left)

    def _is_whole(self, query: Query, page: Page) -> bool:
        """Whether the page contains all records of the query.

        The page must be short, and the count and the link must agree. Without these, a page that
        the vendor cut short looks the same. Then two more pages are fetched: nothing may follow the
        page, and afterwards it must show the same records. If one of them had left meanwhile,
        another record could have moved up without being seen.
        """
        rows = len(page.records)
        if self._is_full(query, page) or (page.total is not None and page.total > rows):
            return False
        if page.total == rows and not page.promises_more:
            return True
        if self._has_rows_behind(query, page):
            return False
        _, again = self._fetch_first(query)
        return {record.id for record in again.records} == {record.id for record in page.records}

    def _read_by_number(self, query: Query) -> Iterator[Sequence[Record]]:
        """(E) Yield records that no attribute separates. All pages are read by number, in rounds.

        The records are complete when the number of different ones equals the vendor's count. If the
        count changes, counting starts again. If the count is missing or too low, the records are
        complete when further rounds show no new one. Raises UnreadableError if the vendor counts
        more than it shows, or if the records are deeper than a search can be read.
        """
        found = _Found()
        idle = 0
        for _ in range(MAX_ROUNDS):
            round_ = yield from self._read_round(query, found)
            # At this depth, the vendor may have capped the count.
            if len(found.ids) == found.total and not (
                round_.is_too_deep and found.total >= self._max_rows
            ):
                return
            if round_.shortest < query.size:
                # The vendor cut a page short. The page numbers count the rows that it cut off too.
                # Smaller pages are not cut.
                query = replace(query, size=round_.shortest)
                continue
            if round_.has_news:
                idle = 0
                continue
            # If a round shows a row twice, the order was shuffled. Such a round proves less.
            idle += _CLEAN_ROUND if round_.shows_each_once else 1
            if round_.is_too_deep and idle >= _CLEAN_ROUND:
                break
            if idle >= _IDLE_ENOUGH:
                if found.is_counted_higher:
                    break
                if query.size == 1 or not self._shows_more(query, round_.rows):
                    return
                # The vendor cut the last page short too.
                query, idle = replace(query, size=min(query.size - 1, round_.last)), 0
        raise self._unreadable(query, found.total, len(found.ids))

    def _read_round(self, query: Query, found: _Found) -> Generator[Sequence[Record], None, _Round]:
        """Yield all pages of a query by number, once each."""
        known, changes = len(found.ids), found.changes
        rows: list[str] = []
        shortest, last = query.size, 1
        for number in range(1, MAX_PAGES + 1):
            query, page = self._fetch_numbered(query, number)
            if page is None:
                break
            ids = [record.id for record in page.records]
            found.add(ids, page.total)
            rows.extend(ids)
            yield page.records
            if not ids:
                break
            last = len(ids)
            if len(ids) < min(query.size, page.size or query.size):
                says_more = page.promises_more or (page.total or 0) > len(rows)
                if not says_more and not self._is_full(query, page):
                    break
                shortest = min(shortest, len(ids))
        return _Round(
            rows,
            last,
            # At this depth, an empty page may be a refusal.
            page is None or number == MAX_PAGES or len(rows) + self._granted > self._max_rows,
            shortest,
            has_news=len(found.ids) > known or found.changes > changes,
            shows_each_once=len(set(rows)) == len(rows),
        )

    def _shows_more(self, query: Query, rows: Sequence[str]) -> bool:
        """Whether more rows follow the last page of a round, which may have been cut short.

        A page starts at a multiple of its size. So the size is chosen so that a page starts where
        the round ended, or a little before.
        """
        number = len(rows)
        sizes = range(-(-number // (MAX_PAGES - 1)), min(number, self._size) + 1)
        if not rows:
            return False
        if not sizes:
            return True  # no page starts there, so nobody can know. The rounds fail in the end
        size = min(sizes, key=lambda size: (number % size, size))
        page = next(self._fetch([replace(query, page=number // size + 1, size=size)]))
        return page is not None and not {record.id for record in page.records} <= set(rows)

    def _fetch_numbered(self, query: Query, number: int) -> tuple[Query, Page | None]:
        """Fetch a page by its number. Returns the query with its actual size, and the page."""
        while True:
            try:
                return query, next(self._fetch([replace(query, page=number)]))
            except PageTooLargeError:
                self._shrink_pages(query)
                query = replace(query, size=self._size)
                if number > 1:
                    # The pages before it had another size. The next round reads the rows between.
                    return query, Page([], None, None, promises_more=True)

    def _unreadable(self, query: Query, total: int | None, seen: int) -> UnreadableError:
        shared = f"{self._cursor} {format_instant(query.lower)}"
        if self._has_tiebreak:
            shared = f"{shared} and one {self._tiebreak}"
        msg = (
            f"{total or 'Many'} records share {shared}; {seen} of them could be read. Kustomer "
            f"serves at most {self._max_rows} rows and {MAX_PAGES} pages of a search, and no "
            "narrower search separates them."
        )
        return UnreadableError(msg)

    @staticmethod
    def _refused() -> UnreadableError:
        msg = "Kustomer refused to serve the first page of a search."
        return UnreadableError(msg)

    def _withheld(self, query: Query, total: int | None) -> UnreadableError:
        counted = f"counts {total} records" if total else "links to more records"
        msg = (
            f"Kustomer {counted} with {self._cursor} from {format_instant(query.lower)} on, but "
            "shows none of them. The state stays, so that the next sync requests them again."
        )
        return UnreadableError(msg)

    def _fetch_first(self, query: Query) -> tuple[Query, Page]:
        """Fetch the page of a query. Returns the query with its actual size, and the page."""
        while True:
            query = replace(query, size=min(query.size, self._size))
            try:
                page = next(self._fetch([query]))
            except PageTooLargeError:
                self._shrink_pages(query)
                continue
            if page is None:
                raise self._refused()
            self._learn_from(page)
            return query, page

    def _learn_from(self, page: Page) -> None:
        rows = len(page.records)
        self._granted = max(self._granted, rows)
        if rows and page.weight:
            room = max(1, PAGE_WEIGHT * rows // page.weight)
            self._size = min(room, 2 * self._size, PAGE_SIZE)

    def _shrink_pages(self, query: Query) -> None:
        # A page of one row is never too large, so this ends.
        self._size = max(1, min(self._size, query.size) // 4)

    @property
    def _has_tiebreak(self) -> bool:
        return self._tiebreak != self._cursor

    def _cut(self, query: Query, page: Page) -> list[Query]:
        """Divide a query by the tiebreak into parts that should each fit a page.

        Returns [] if nothing divides it. If the page's records ascend by the tiebreak, the page
        says nothing about the records after it. Then the only cut is at its last value. Otherwise
        the page is taken as a sample of all records.
        """
        if not self._has_tiebreak:
            return []
        name = camel_case(self._tiebreak)
        values = [record.instant(name) for record in page.records]
        known = sorted(value for value in values if value is not None)
        is_one = query.tiebreak_from is not None and query.tiebreak_to == query.tiebreak_from + 1
        if is_one or not known or len(known) < len(values):
            return []
        if known[0] == known[-1]:
            # The page shows only one value. The other values are below or above it.
            cuts = [edge for edge in (known[0], known[0] + 1) if edge != query.tiebreak_from]
            cuts = [edge for edge in cuts if edge != query.tiebreak_to]
        elif values == known:
            cuts = [known[-1]]
        else:
            total = page.total or len(known)
            count = min(max(2, ceil(total / (_FILL * self._granted))), len(known))
            cuts = sorted({known[len(known) * i // count] for i in range(1, count)} - {known[0]})
            cuts = cuts or [known[-1]]
        edges = [query.tiebreak_from, *cuts, query.tiebreak_to]
        return [
            replace(query, tiebreak_from=lower, tiebreak_to=upper)
            for lower, upper in pairwise(edges)
        ]
