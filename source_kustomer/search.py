"""The kind of stream that is read by searches, window by window, in order of its cursor."""

from __future__ import annotations

import time
from abc import ABC
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, islice
from typing import ClassVar

from airbyte_cdk.models import SyncMode

from http_source.columns import Row
from http_source.errors import system_error, transient_error
from http_source.instants import EpochMs, format_instant
from http_source.stream import RowBatch
from source_kustomer.client import KustomerClient, SearchSubject
from source_kustomer.context import KustomerContext
from source_kustomer.paging import (
    PAGE_WEIGHT,
    Page,
    Query,
    Record,
    RecordBatch,
    SearchPaginator,
    UnreadableError,
)
from source_kustomer.rows import camel_case
from source_kustomer.seam import read_seam
from source_kustomer.state import Bookmark
from source_kustomer.stream import PREFETCH_VALID_SECONDS, KustomerStream
from source_kustomer.timeline import HORIZON, INDEX_LAG, Window, windows

# The assumed weight of a row before the first one is seen: rows of 1.5 to 2 kB weigh 14 to 18 kB.
_USUAL_ROW_WEIGHT = 15_000.0
# A smaller difference of clocks is ignored: a `Date` header has whole seconds, and requests take
# time.
_CLOCK_PRECISION: EpochMs = 5 * 1000
# How often a read may begin, if Kustomer's clock turns out to be behind each time.
_MAX_BEGINNINGS = 5
# How many pages of a stream may be under way or wait to be emitted. Six of 500 rows keep one core
# busy at 150 ms of latency, and at 100 searches a minute up to 3.6 s ...
_PAGES_AHEAD = 6
# ... and this is their maximum total weight in bytes (`make bench`, scenario large-rows).
_WEIGHT_AHEAD = 5 * PAGE_WEIGHT


class SearchStream(KustomerStream, ABC):
    """Records found by `POST /v1/customers/search`, read completely and in order of their cursor.

    https://developer.kustomer.com/docs/concepts/search. timeline.py decides which windows are read
    from which search. paging.py reads one window completely.
    """

    endpoint = "customers/search"
    role = "org.permission.search.create (or org.user.search.read)"

    # The kind of record that the search returns.
    query_context: ClassVar[str]
    # The attribute that orders the records, bounds the searches, and is the cursor of the stream.
    cursor_attribute: ClassVar[str] = "updated_at"
    # The path of the cursor in the attributes of a record, if it is not the cursor's own name.
    cursor_path: ClassVar[str | None] = None
    # The attribute that separates records with the same cursor value. It must never change, because
    # a record that moves between two parts could be missed. If it is the cursor itself, there is no
    # tiebreak.
    tiebreak_attribute: ClassVar[str] = "created_at"
    # Whether the archive search has this kind of record (source: the OpenAPI).
    has_archive: ClassVar[bool] = True
    # True if Kustomer does not document the cursor attribute: see guarded.py.
    is_guarded: ClassVar[bool] = False
    # How far back the search returns records, and its index lag.
    horizon: ClassVar[EpochMs] = HORIZON
    index_lag: ClassVar[EpochMs] = INDEX_LAG

    def __init__(self, context: KustomerContext, *, reads_for: str | None = None) -> None:
        """`reads_for` is the name of another stream that needs these records for its own rows."""
        if reads_for is not None:
            self.name = reads_for
        super().__init__(context)
        self._subject = self._search_subject()
        self._fetcher = PageFetcher(self.client, self._subject, context.pool)
        self._prefetched: _Beginning | None = None

    def _search_subject(self) -> SearchSubject:
        return SearchSubject(
            self.query_context,
            self.cursor_attribute,
            self.tiebreak_attribute,
            is_guarded=self.is_guarded,
            cursor_path=self.cursor_path or camel_case(self.cursor_attribute),
        )

    @property
    def cursor_field(self) -> str:
        """The CDK's name for `cursor_attribute`."""
        return self.cursor_attribute

    def read_batches(self, sync_mode: SyncMode) -> Iterator[RowBatch]:
        """Yield rows, ascending by the cursor. After each page comes its state."""
        read = self.begin_read(sync_mode)
        for batch in read.batches:
            count = len(batch.records)
            state = read.bookmark(batch).as_state() if count else None
            expected = None if batch.left is None else count + batch.left
            yield RowBatch(self._rows(batch.records), state, expected)
        yield RowBatch((), read.end.as_state())

    def _rows(self, records: list[Record]) -> Iterator[Row]:
        # A row is made only when it is emitted. So it is still in the processor's cache, which
        # saves a tenth of the time. Records are dropped one by one to free the page's memory.
        records.reverse()
        while records:
            yield self.rows.make(records.pop().resource)

    def begin_read(self, sync_mode: SyncMode) -> SearchRead:
        """Start a read of records, ascending by the cursor. Waits for the first page."""
        is_full_refresh = sync_mode is SyncMode.full_refresh
        start = self._resume_point(sync_mode, self.cursor_attribute)
        now, batches = self._begin(start, open_end=is_full_refresh)
        self._warn_of_unreachable(start, now)
        read_to = now - self.index_lag
        if self._config.end is not None:
            read_to = min(read_to, self._config.end)
        end = Bookmark(max(read_to, start), cursor=self.cursor_attribute)
        return SearchRead(batches, end, is_full_refresh=is_full_refresh)

    def probe(self) -> None:
        """Search for one record. Raises what a sync would raise."""
        self.client.search(self._subject, Query(self._config.start, None, size=1), archive=False)

    def count(self, lower: EpochMs, upper: EpochMs, *, archive: bool) -> int | None:
        """How many records a search has in [lower, upper), if the vendor tells. A hint only."""
        page = self.client.search(self._subject, Query(lower, upper, size=1), archive=archive)
        return None if page is None else page.total

    def prefetch(self, sync_mode: SyncMode) -> None:
        """Fetch the first page of each window now."""
        self._prefetched = self._fetch_first_pages(
            self._resume_point(sync_mode, self.cursor_attribute),
            open_end=sync_mode is SyncMode.full_refresh,
        )

    def _begin(self, start: EpochMs, *, open_end: bool) -> tuple[EpochMs, Iterator[RecordBatch]]:
        """Return the moment that counts as now, and the batches. Waits for the first page.

        The first page tells Kustomer's time. If Kustomer's clock is behind ours, the read begins
        again with the corrected moment. Nothing has been emitted at that time.
        """
        was_senseless = False
        for _ in range(_MAX_BEGINNINGS):
            beginning, self._prefetched = self._prefetched, None
            if beginning is None or time.monotonic() > beginning.at + PREFETCH_VALID_SECONDS:
                beginning = self._fetch_first_pages(start, open_end=open_end)
            batches = self._read_windows(beginning)
            first = next(batches, None)
            was_senseless = self._clock.is_senseless(start)
            if was_senseless:
                self._clock.forget()
            elif self._clock.now() >= beginning.now - _CLOCK_PRECISION:
                self._clock.warn_once(self.logger)
                return beginning.now, iter(()) if first is None else chain([first], batches)
        if was_senseless:
            raise system_error(
                f"Stream {self.name}: the Date header of Kustomer's answers is days before this "
                "machine's time, and before the start of this sync. One of the two clocks is "
                "wrong. Set this machine's clock. If it is right, a proxy may send the wrong "
                "header. The state stays."
            )
        raise transient_error(
            f"Stream {self.name}: Kustomer's clock (the Date header of its answers) went back in "
            f"each of {_MAX_BEGINNINGS} answers."
        )

    def _fetch_first_pages(self, start: EpochMs, *, open_end: bool) -> _Beginning:
        """Request the first page of every window, except two that must come later.

        The open end is read last. In the seam, the archive is read after the search.
        """
        now = self._clock.now()
        plan = list(
            windows(
                start,
                now,
                archive=self.has_archive and self._config.include_archived,
                open_end=open_end,
                end=self._config.end,
                index_lag=self.index_lag,
                horizon=self.horizon,
            )
        )
        pages = {
            (query, not window.search): self._fetcher.submit(query, archive=not window.search)
            for window in plan
            if not window.is_open
            for query in [Query(window.lower, window.upper)]
        }
        return _Beginning(time.monotonic(), now, plan, pages)

    def _read_windows(self, beginning: _Beginning) -> Iterator[RecordBatch]:
        def fetch(queries: Sequence[Query], *, archive: bool) -> Iterator[Page | None]:
            if first := beginning.pages.pop((queries[0], archive), None):
                yield first.result()
            else:
                yield from self._fetcher.fetch(queries, archive=archive)

        search, archive = (
            SearchPaginator(
                partial(fetch, archive=in_archive),
                cursor=self.cursor_attribute,
                tiebreak=self.tiebreak_attribute,
            )
            for in_archive in (False, True)
        )
        try:
            for window in beginning.plan:
                lower, upper = window.lower, window.upper
                if not window.archive:
                    yield from search.read(lower, upper, ahead=not window.is_open)
                elif not window.search:
                    yield from archive.read(lower, upper, ahead=True)
                else:
                    yield from read_seam(search, archive, window)
        except UnreadableError as error:
            raise system_error(f"Stream {self.name}: {error}") from error

    def _warn_of_unreachable(self, start: EpochMs, now: EpochMs) -> None:
        horizon = now - self.horizon
        if start >= horizon or (self.has_archive and self._config.include_archived):
            return
        reason = "has no archive" if not self.has_archive else "is read without its archive"
        self.logger.warning(
            "Stream %s %s: Kustomer's search does not return records last updated before %s.",
            self.name,
            reason,
            format_instant(horizon)[:10],
        )


@dataclass(frozen=True)
class _Beginning:
    """The first pages of a read.

    `at` is the monotonic time of their requests. `now` is the moment that counts as now.
    """

    at: float
    now: EpochMs
    plan: list[Window]
    pages: dict[tuple[Query, bool], Future[Page | None]]

    def of_search(self) -> list[tuple[Query, Future[Page | None]]]:
        """The first page of each window of the normal search, oldest window first."""
        return [(query, page) for (query, is_archive), page in self.pages.items() if not is_archive]


@dataclass(frozen=True)
class SearchRead:
    """A read that has begun. `end` is the bookmark of a finished read."""

    batches: Iterator[RecordBatch]
    end: Bookmark
    is_full_refresh: bool

    def bookmark(self, batch: RecordBatch) -> Bookmark:
        """Return the bookmark after a batch. It is never later than `end`."""
        at = min(batch.watermark, self.end.at)
        return replace(self.end, at=at, unfinished=self.is_full_refresh)


class PageFetcher:
    """Fetches the pages of a search, several at once. Their total weight is limited."""

    def __init__(self, client: KustomerClient, subject: SearchSubject, pool: Executor) -> None:
        self._client = client
        self._subject = subject
        self._pool = pool
        self._row_weight = _USUAL_ROW_WEIGHT

    def submit(self, query: Query, *, archive: bool) -> Future[Page | None]:
        """Fetch a page in another thread."""
        return self._pool.submit(self._fetch_page, query, archive=archive)

    def fetch(self, queries: Sequence[Query], *, archive: bool) -> Iterator[Page | None]:
        """Yield the page of each query in order: see `paging.FetchPages`."""
        if len(queries) == 1:
            yield self._fetch_page(queries[0], archive=archive)
            return
        waiting = iter(queries)
        under_way: deque[Future[Page | None]] = deque()

        def fill() -> None:
            room = max(0, self._pages_ahead(queries[0].size) - len(under_way))
            under_way.extend(self.submit(query, archive=archive) for query in islice(waiting, room))

        try:
            while True:
                fill()
                if not under_way:
                    return
                page = under_way.popleft().result()
                fill()
                yield page
                del page
        finally:
            for future in under_way:
                future.cancel()

    def _fetch_page(self, query: Query, *, archive: bool) -> Page | None:
        page = self._client.search(self._subject, query, archive=archive)
        if page is not None and page.records:
            self._row_weight = page.weight / len(page.records)
        return page

    def _pages_ahead(self, size: int) -> int:
        page_weight = max(1, int(self._row_weight * size))
        return min(_PAGES_AHEAD, max(1, _WEIGHT_AHEAD // page_weight))
