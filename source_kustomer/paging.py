"""Reading a Kustomer search completely. Pure: it asks for pages through a function it is given.

What search promises is little: one page at a time, ascending by `updated_at`, at most 100 pages
and 10,000 rows deep. Many records may share one `updated_at`, in an order that may differ on every
request; records leave for the end of the timeline when they change. What is relied on here is one
thing alone, and every page is checked for it: a page is a gapless piece of the sorted result as it
stood at that moment. So a page proves that every record strictly between its first and its last
timestamp has been seen, and a first page also everything before.

`docs/reading.md` draws the algorithm; the comments (A) to (E) here are its steps.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from math import ceil
from typing import Any, NamedTuple

from source_kustomer.timeline import LATEST, EpochMs, format_instant, parse_instant

# The largest page that search grants (https://developer.kustomer.com/docs/concepts/search).
PAGE_SIZE = 500
# "There is a hard limit of 100 for the maximum number of pages": Kustomer's OpenAPI.
MAX_PAGES = 100
# Rows deep that a query can be read. AWS Glue's documentation says 10,000, whatever the page size.
MAX_ROWS = 10_000
# Rows that a page fetched ahead shares with the one before it, so that the two prove to be
# adjacent although records leave in between. A tie at the border, or more records leaving, costs
# one more request, nothing else. Each row of overlap costs a tenth of a page per 10,000 rows.
OVERLAP = 5
# An empty answer that contradicts an earlier one is asked for again, so often.
_MOST_DOUBTS = 3
# The part of a first page's size that the pages behind it have at least.
_SMALLEST = 0.8
# How full the parts of a split group of ties shall be on average, so that few are too full.
_FILL = 0.7
# Ties that nothing splits are read by page number, again until the vendor's count is reached. An
# order that is shuffled on every request needs about ten rounds for 10,000 rows (coupon collector).
MAX_ROUNDS = 40
# If the count is not to be trusted: three rounds with nothing new are taken for all, or nine in
# which rows came twice (each of them overlooks a given row with a chance of about one in e).
_CLEAN_ROUND = 3
_IDLE_ENOUGH = 9


# A heavier page costs memory and gains nothing: 500 rows of 1.5 kB weigh two thirds of it, so only
# pages of unusual rows are cut (`make bench`, scenario large-rows). Weights: http_source/body.py.
PAGE_WEIGHT = 12 * 1024 * 1024


class UnreadableError(Exception):
    """The vendor makes it impossible to read everything; the text names the records."""


class PageTooLargeError(Exception):
    """A page for which there is no room; a smaller one is asked for."""


@dataclass(frozen=True)
class Query:
    """One search request: [lower, upper) of `updated_at`, narrowed by `created_at` among ties."""

    lower: EpochMs
    upper: EpochMs | None
    created_from: EpochMs | None = None
    created_to: EpochMs | None = None
    page: int = 1
    size: int = PAGE_SIZE

    @property
    def offset(self) -> int:
        """Rows of the result that come before this page."""
        return (self.page - 1) * self.size


class Record(NamedTuple):
    """One record as search returned it."""

    id: str
    updated: EpochMs
    resource: Mapping[str, Any]

    @property
    def created(self) -> EpochMs | None:
        """Its `created_at`, if it has one. Raises ValueError or TypeError if that is no date."""
        created = self.resource["attributes"].get("createdAt")
        return None if created is None else parse_instant(created)


@dataclass(frozen=True)
class Page:
    """One answer, ascending by `updated`. What it says of more is a hint, never relied on alone.

    `size` is the page size that the vendor says it granted, `weight` what the page takes in memory.
    """

    records: Sequence[Record]
    total: int | None
    size: int | None
    promises_more: bool
    weight: int = 0


@dataclass(frozen=True)
class RecordBatch:
    """Records to emit; once they are, all records below `watermark` have been.

    `left` is the vendor's count of what comes after them, where it has just told it.
    """

    records: list[Record]
    watermark: EpochMs
    left: int | None = None


# Answers queries in their order, None for a page that the vendor refuses to serve. It may fetch
# ahead, as far as the caller goes on asking for answers. It raises PageTooLargeError.
Ask = Callable[[Sequence[Query]], Iterator[Page | None]]


@dataclass
class _Position:
    """How far a read has come: all below `at` is emitted, and of `at` the records in `seen`."""

    at: EpochMs
    seen: set[str]
    # How many more records the vendor has counted behind the last page.
    left: int = 0

    def take(self, records: Sequence[Record]) -> list[Record]:
        """The records not emitted before; the position moves to the last one."""
        fresh = [
            record
            for record in records
            if record.updated > self.at
            or (record.updated == self.at and record.id not in self.seen)
        ]
        if records and records[-1].updated >= self.at:
            last = records[-1].updated
            ids = {record.id for record in records if record.updated == last}
            self.seen = ids if last > self.at else self.seen | ids
            self.at = last
        return fresh

    def pass_to(self, instant: EpochMs) -> None:
        """All below `instant` is emitted."""
        if instant > self.at:
            self.at, self.seen, self.left = instant, set(), 0


@dataclass
class _Found:
    """The records that rounds have shown, beside the vendor's count; anew whenever that changes."""

    ids: set[str] = field(default_factory=set)
    total: int | None = None
    changes: int = 0

    def add(self, ids: Sequence[str], total: int | None) -> None:
        """Take a page's records and its count."""
        if total != self.total:
            self.total, self.ids = total, set()
            self.changes += 1
        self.ids.update(ids)

    @property
    def is_counted_higher(self) -> bool:
        """Whether the vendor counts more records than it has shown."""
        return self.total is not None and self.total > len(self.ids)


class _Round(NamedTuple):
    """What one reading of all pages of a query told."""

    rows: Sequence[str]
    last: int
    is_too_deep: bool
    shortest: int
    has_news: bool
    shows_each_once: bool


class SearchPaginator:
    """Reads ranges of one search, with what it has learnt about how that search answers."""

    def __init__(self, ask: Ask, *, overlap: int = OVERLAP, max_rows: int = MAX_ROWS) -> None:
        self._ask = ask
        self._overlap = overlap
        self._max_rows = max_rows
        self._max_pages = MAX_PAGES
        # The longest page seen: the vendor may grant fewer rows than it is asked for.
        self._granted = 0
        # Rows to ask for, so that a page has some megabytes at most.
        self._size = PAGE_SIZE

    def read(self, lower: EpochMs, upper: EpochMs | None, *, ahead: bool) -> Iterator[RecordBatch]:
        """Every record with `updated_at` in [lower, upper), ascending; no upper: to the end.

        With `ahead`, pages are asked for before the ones in front of them have been answered.
        Raises UnreadableError.
        """
        position = _Position(lower, set())
        while position.at <= LATEST and (upper is None or position.at < upper):
            # (A) From where we are: the page proves everything up to its last timestamp.
            query, page = self._one(Query(position.at, upper))
            if not page.records:
                query, page = self._doubted(query, page, position)
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
                # (C) One instant fills the page, or nothing is shown behind it.
                del page
                for records in self._instant(position.at):
                    yield RecordBatch(position.take(records), position.at)
                position.pass_to(position.at + 1)
                yield RecordBatch([], position.at)
            elif ahead:
                behind = self._queries_behind(query, page)
                del page  # some megabytes, not to be kept while the others are read
                if (yield from self._read_ahead(position, query, behind)):
                    return

    def _read_ahead(
        self, position: _Position, query: Query, behind: Sequence[Query]
    ) -> Generator[RecordBatch, None, bool]:
        """(B) The pages behind a first one, by number, asked for at once. True if the end is read.

        Page numbers serve to find the rows; that none is missing is proved by timestamps.
        """
        answers = self._ask(behind)
        for ahead in behind:
            try:
                answer = next(answers)
            except PageTooLargeError:
                self._ask_for_less(ahead)
                return False
            if answer is None:
                self._max_pages = ahead.page - 1
                return False
            if not answer.records:
                return False
            self._learn_from(answer)
            first = answer.records[0].updated
            if first >= position.at:
                # Not adjacent to what has been read: records left, or ties lie at the border.
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

    def _doubted(self, query: Query, page: Page, position: _Position) -> tuple[Query, Page]:
        """Ask again where nothing is shown, not even the records that were just seen there.

        They may all have changed meanwhile. But if the vendor counted more records behind them,
        those would all have changed too: that is not believed.
        """
        for _ in range(_MOST_DOUBTS):
            if page.records or not (position.seen and position.left):
                return query, page
            query, page = self._one(query)
        if not page.records:
            raise self._withheld(query, position.left)
        return query, page

    def _read_between(self, position: _Position, upper: EpochMs) -> Iterator[RecordBatch]:
        for batch in self.read(position.at, upper, ahead=False):
            fresh = position.take(batch.records)
            position.pass_to(batch.watermark)
            yield RecordBatch(fresh, position.at)

    def _queries_behind(self, query: Query, page: Page) -> list[Query]:
        """Pages 2, 3, ... of a query whose first page is `page`, each overlapping the one before.

        A page number only reaches multiples of the page size. So each page is asked for a little
        smaller than the one before: its start moves back into it, by at least `overlap` rows.
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
            # Small pages lose much of their size to the overlap, so a new result begins.
            if size <= 2 * self._overlap or size < _SMALLEST * rows or end > self._max_rows:
                break
            queries.append(replace(query, page=number, size=size))
        return queries

    def _is_full(self, query: Query, page: Page) -> bool:
        return len(page.records) >= min(self._granted, query.size)

    def _ends(self, page: Page, query: Query) -> bool:
        """(D) Whether nothing lies behind the page, by all that the vendor says.

        Raises UnreadableError if a first page is empty although there are said to be rows.
        """
        rows = len(page.records)
        end = query.offset + rows
        if not rows and query.page == 1:
            if page.total or (page.promises_more and self._has_rows_behind(query, page)):
                raise self._withheld(query, page.total)
            return True
        # A count that is the largest that is told is no count.
        if page.total != end or end >= self._max_rows:
            return False
        if rows >= min(query.size, page.size or query.size):
            return False
        return not page.promises_more or not self._has_rows_behind(query, page)

    def _has_rows_behind(self, query: Query, page: Page) -> bool:
        # Behind a first page, what follows the rows that it shows: it may have been cut short.
        rows = len(page.records) if query.page == 1 else 0
        size = rows or query.size
        behind = next(self._ask([replace(query, page=query.page + 1, size=size)]))
        return behind is not None and bool(behind.records)

    def _instant(self, instant: EpochMs) -> Iterator[Sequence[Record]]:
        """(C) All records of one instant that fills a page.

        Should the vendor still count more than the parts held, some have no `created_at`, which
        no part contains; they are looked for by number.
        """
        query, page = self._one(Query(instant, instant + 1))
        found = {record.id for record in page.records}
        yield page.records
        if self._is_whole(query, page):
            return
        for records in self._split(query, page):
            found.update(record.id for record in records)
            yield records
        if page.total is not None and len(found) < page.total:
            counted = self._one(query)[1].total
            if counted is not None and len(found) < counted:
                yield from self._by_number(query)

    def _split(self, query: Query, page: Page) -> Iterator[Sequence[Record]]:
        """(C) All records of a query within one instant, of which `page` does not hold all.

        Cut by `created_at` until each part fits a page: that is exact in any order and while
        records leave, for each part is one answer.
        """
        parts = _parts(query, page, self._granted)
        if not parts:
            yield from self._by_number(query)
            return
        for part, answer in self._each(parts):
            yield answer.records
            if not self._is_whole(part, answer):
                yield from self._split(part, answer)

    def _each(self, queries: Sequence[Query]) -> Iterator[tuple[Query, Page]]:
        """Every query with its answer, in order. Asks for less where a page is too large."""
        left = deque(queries)
        while left:
            try:
                for answer in self._ask(list(left)):
                    if answer is None:
                        raise self._refused()
                    yield left.popleft(), answer
            except PageTooLargeError:
                self._ask_for_less(left[0])
                left = deque(replace(query, size=min(query.size, self._size)) for query in left)

    def _is_whole(self, query: Query, page: Page) -> bool:
        """Whether the page holds all of the query: it is short, and nothing says otherwise.

        Without a count, a page that was cut short looks the same. Then it is whole if nothing
        follows it, and its records were there before and after that was asked: so none of them
        left meanwhile, to let another one move up.
        """
        rows = len(page.records)
        if self._is_full(query, page) or (page.total is not None and page.total > rows):
            return False
        if page.total == rows and not page.promises_more:
            return True
        if self._has_rows_behind(query, page):
            return False
        _, again = self._one(query)
        return {record.id for record in again.records} == {record.id for record in page.records}

    def _by_number(self, query: Query) -> Iterator[Sequence[Record]]:
        """(E) Records that share `updated_at` and `created_at`, page by page, in rounds.

        They are all read when as many distinct ones were seen as the vendor counts (anew whenever
        its count changes), or, should it count none or too few, when further rounds show no row
        twice and no new one. Raises UnreadableError if the vendor counts more than it shows, or if
        they lie deeper than a search can be read.
        """
        found = _Found()
        idle = 0
        for _ in range(MAX_ROUNDS):
            round_ = yield from self._round(query, found)
            # So deep, a count may be the largest that is told.
            if len(found.ids) == found.total and not (
                round_.is_too_deep and found.total >= self._max_rows
            ):
                return
            if round_.shortest < query.size:
                # Pages are cut short by something else than their size: what was cut off is
                # numbered as if it had been shown.
                query = replace(query, size=round_.shortest)
                continue
            if round_.has_news:
                idle = 0
                continue
            # A round that shows a row twice was shuffled, and proves less.
            idle += _CLEAN_ROUND if round_.shows_each_once else 1
            if round_.is_too_deep and idle >= _CLEAN_ROUND:
                break
            if idle >= _IDLE_ENOUGH:
                if found.is_counted_higher:
                    break
                if query.size == 1 or not self._shows_more(query, round_.rows):
                    return
                # The last page was cut short too.
                query, idle = replace(query, size=min(query.size - 1, round_.last)), 0
        raise self._unreadable(query, found.total, len(found.ids))

    def _round(self, query: Query, found: _Found) -> Generator[Sequence[Record], None, _Round]:
        """All pages of a query, by number, once."""
        known, changes = len(found.ids), found.changes
        rows: list[str] = []
        shortest, last = query.size, 1
        for number in range(1, MAX_PAGES + 1):
            query, page = self._numbered(query, number)
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
            # So deep, an empty page may be a refusal.
            page is None or number == MAX_PAGES or len(rows) + self._granted > self._max_rows,
            shortest,
            has_news=len(found.ids) > known or found.changes > changes,
            shows_each_once=len(set(rows)) == len(rows),
        )

    def _shows_more(self, query: Query, rows: Sequence[str]) -> bool:
        """Whether a round left rows out behind its last page, which may have been cut short.

        A page begins at multiples of its size, so one is asked for that begins where the round
        ended, or a little before.
        """
        number = len(rows)
        sizes = range(-(-number // (MAX_PAGES - 1)), min(number, self._size) + 1)
        if not rows:
            return False
        if not sizes:
            return True  # no page begins there: nobody knows, so the rounds go on and fail at last
        size = min(sizes, key=lambda size: (number % size, size))
        page = next(self._ask([replace(query, page=number // size + 1, size=size)]))
        return page is not None and not {record.id for record in page.records} <= set(rows)

    def _numbered(self, query: Query, number: int) -> tuple[Query, Page | None]:
        """A page by its number, and the query that got it."""
        while True:
            try:
                return query, next(self._ask([replace(query, page=number)]))
            except PageTooLargeError:
                self._ask_for_less(query)
                query = replace(query, size=self._size)
                if number > 1:
                    # The pages before had another size: what lies between comes with another round.
                    return query, Page([], None, None, promises_more=True)

    def _unreadable(self, query: Query, total: int | None, seen: int) -> UnreadableError:
        msg = (
            f"{total or 'Many'} records share updated_at {format_instant(query.lower)} and one "
            f"created_at; {seen} of them could be read. Kustomer serves at most {self._max_rows} "
            f"rows and {MAX_PAGES} pages of a search, and no narrower search tells them apart."
        )
        return UnreadableError(msg)

    @staticmethod
    def _refused() -> UnreadableError:
        msg = "Kustomer refused to serve the first page of a search."
        return UnreadableError(msg)

    def _withheld(self, query: Query, total: int | None) -> UnreadableError:
        counted = f"counts {total} records" if total else "links to more records"
        msg = (
            f"Kustomer {counted} with updated_at from {format_instant(query.lower)} on, but shows "
            "none of them. The state stays, so that the next sync asks for them again."
        )
        return UnreadableError(msg)

    def _one(self, query: Query) -> tuple[Query, Page]:
        """The answer to a query, and the query with the size that it was sent with."""
        while True:
            query = replace(query, size=min(query.size, self._size))
            try:
                page = next(self._ask([query]))
            except PageTooLargeError:
                self._ask_for_less(query)
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

    def _ask_for_less(self, query: Query) -> None:
        # No body is too large for a page of one row, so this ends.
        self._size = max(1, min(self._size, query.size) // 4)


def _parts(query: Query, page: Page, granted: int) -> list[Query]:
    """The query cut by `created_at` into parts that should each fit a page; [] if nothing cuts it.

    Where the page's ties come in order of creation, it tells nothing of those behind it: it is
    cut off whole. Else it is a sample of them all.
    """
    created = [record.created for record in page.records]
    known = sorted(instant for instant in created if instant is not None)
    one_instant = query.created_from is not None and query.created_to == query.created_from + 1
    if one_instant or not known or len(known) < len(created):
        return []
    if known[0] == known[-1]:
        # The page shows one instant of creation alone: the others lie around it.
        cuts = [edge for edge in (known[0], known[0] + 1) if edge != query.created_from]
        cuts = [edge for edge in cuts if edge != query.created_to]
    elif created == known:
        cuts = [known[-1]]
    else:
        total = page.total or len(known)
        count = min(max(2, ceil(total / (_FILL * granted))), len(known))
        cuts = sorted({known[len(known) * i // count] for i in range(1, count)} - {known[0]})
        cuts = cuts or [known[-1]]
    edges = [query.created_from, *cuts, query.created_to]
    return [
        replace(query, created_from=lower, created_to=upper) for lower, upper in pairwise(edges)
    ]
