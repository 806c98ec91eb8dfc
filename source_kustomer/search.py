"""Streams that are searched: windows of `updated_at` by POST, read ahead, emitted in order."""

from __future__ import annotations

import heapq
import logging
import time
from abc import ABC
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import islice, pairwise
from typing import Any, ClassVar
from urllib.parse import urlsplit

import orjson
import requests
from airbyte_cdk.models import (
    AirbyteMessage,
    AirbyteRecordMessage,
    ConfiguredAirbyteStream,
    SyncMode,
    Type,
)
from airbyte_cdk.sources.connector_state_manager import ConnectorStateManager
from airbyte_cdk.sources.streams.http.error_handlers import ErrorResolution, ResponseAction
from airbyte_cdk.sources.utils.schema_helpers import InternalConfig
from airbyte_cdk.sources.utils.slice_logger import SliceLogger

from http_source.progress import ProgressLog, estimate
from http_source.retry import (
    TOO_DEEP,
    BodyTooLargeError,
    BrokenBodyError,
    UnfinishedBodyError,
    error_text,
    parsed_body,
    weight_of,
)
from source_kustomer.api import (
    PREFETCH_VALID_SECONDS,
    KustomerStream,
    asked_of,
    config_failure,
    count,
    next_link,
    part,
    system_error,
    transient_error,
)
from source_kustomer.paging import (
    PAGE_WEIGHT,
    Page,
    PageTooLargeError,
    Query,
    Record,
    RecordBatch,
    SearchPaginator,
    UnreadableError,
)
from source_kustomer.rows import Row, flatten
from source_kustomer.state import Bookmark
from source_kustomer.timeline import (
    HORIZON,
    INDEX_LAG,
    LATEST,
    EpochMs,
    Window,
    format_instant,
    parse_instant,
    windows,
)

# Client errors but for 408, 425 and 429, and 501: the archive is not for this key, plan or pod.
_REFUSALS_OF_THE_ARCHIVE = frozenset({*range(400, 500), 501} - {408, 425, 429})
# What a row is taken to weigh before the first is seen: rows of 1.5 to 2 kB weigh 14 to 18 kB.
_USUAL_ROW_WEIGHT = 15_000.0

# A `Date` header is cut to whole seconds and a request takes some: less is no difference.
_CLOCK_PRECISION: EpochMs = 5 * 1000
# The reading begins anew when Kustomer's clock turns out to be behind; it does not go on doing so.
_MOST_BEGINNINGS = 5
# Pages in flight or waiting to be emitted, per stream. Six of 500 rows keep one core busy at 150 ms
# of latency, and at 100 searches a minute up to 3.6 s ...
_PAGES_AHEAD = 6
# ... and together they weigh so much at most (`make bench`, scenario large-rows).
_WEIGHT_AHEAD = 5 * PAGE_WEIGHT
# A page that is heavier than this is not taken apart, and one that is longer not read to its end:
# smaller ones are asked for.
_MOST_PAGE_WEIGHT = 2 * PAGE_WEIGHT
_MOST_PAGE_BYTES = 2 * PAGE_WEIGHT // 3


@dataclass(frozen=True)
class _Prefetch:
    """The first pages of a read that begins: when and for which moment they were asked for."""

    at: float
    now: EpochMs
    plan: list[Window]
    pages: dict[tuple[Query, bool], Future[Page | None]]


class SearchStream(KustomerStream, ABC):
    """Records found by `POST /v1/customers/search`, read exactly and in order of `updated_at`.

    https://developer.kustomer.com/docs/concepts/search. timeline.py says which part of the past
    is read from which search, paging.py how a part is read completely; here it meets the wire.
    """

    role = "org.permission.search.create (or org.user.search.read)"
    http_method = "POST"
    query_context: ClassVar[str]
    # Whether the archive search knows this kind of record (all but notes, says the OpenAPI).
    has_archive: ClassVar[bool] = True
    _prefetched: _Prefetch | None = None
    _row_weight = _USUAL_ROW_WEIGHT

    def path(self, *, next_page_token: Mapping[str, Any] | None = None, **_: Any) -> str:
        """The normal search or the archive's."""
        archive = (next_page_token or {}).get("archive")
        return "customers/archive/search" if archive else "customers/search"

    def request_params(
        self,
        stream_state: Mapping[str, Any] | None,
        stream_slice: Mapping[str, Any] | None = None,
        next_page_token: Mapping[str, Any] | None = None,
    ) -> MutableMapping[str, Any]:
        """Page number and size; the token is `{"query": Query, "archive": bool}`."""
        query: Query = (next_page_token or {})["query"]
        return {"page": query.page, "pageSize": query.size}

    def request_body_json(
        self,
        stream_state: Mapping[str, Any] | None,
        stream_slice: Mapping[str, Any] | None = None,
        next_page_token: Mapping[str, Any] | None = None,
    ) -> Mapping[str, Any]:
        """The criteria; timestamps are sent in UTC, which Kustomer never shifts."""
        query: Query = (next_page_token or {})["query"]
        bounds = (
            ("updated_at", "gte", query.lower),
            ("updated_at", "lt", query.upper),
            ("created_at", "gte", query.created_from),
            ("created_at", "lt", query.created_to),
        )
        body: dict[str, Any] = {
            "queryContext": self.query_context,
            "and": [
                {f"{self.query_context}_{attribute}": {operator: format_instant(bound)}}
                for attribute, operator, bound in bounds
                if bound is not None and bound <= LATEST
            ],
            "sort": [{f"{self.query_context}_updated_at": "asc"}],
        }
        if self._config.include_deleted:
            body["includeDeleted"] = True
        return body

    def read(
        self,
        configured_stream: ConfiguredAirbyteStream,
        logger: logging.Logger,
        slice_logger: SliceLogger,
        stream_state: MutableMapping[str, Any],
        state_manager: ConnectorStateManager | None,
        internal_config: InternalConfig,
    ) -> Iterable[AirbyteMessage]:
        """Rows ascending by `updated_at`; behind each page a STATE that says what was emitted.

        What the CDK's own loop does with one slice, done once a page instead of once a row: that
        took a tenth of the processor time of 45,000 rows.
        """
        self.configured_json_schema = configured_stream.stream.json_schema
        emitted, estimated = 0, 0
        try:
            for batch, state in self._batches(configured_stream.sync_mode):
                records, had_rows = batch.records, bool(batch.records)
                emitted += len(records)
                if batch.left is not None and emitted + batch.left > estimated:
                    estimated = emitted + batch.left
                    yield estimate(self.name, estimated)
                now = int(time.time() * 1000)
                # Rows are let go as they are emitted, whoever else knows of the page.
                records.reverse()
                while records:
                    record = AirbyteRecordMessage(self.name, self._row(records.pop()), now)
                    yield AirbyteMessage(type=Type.RECORD, record=record)
                self._saved = state
                if had_rows and state_manager is not None:
                    yield self._checkpoint_state(state, state_manager)
                if internal_config.is_limit_reached(emitted):
                    return
                self._progress.note(
                    emitted, max(0, estimated - emitted), self._context.budget.waited
                )
            if state_manager is not None:
                yield self._checkpoint_state(self._saved, state_manager)
        finally:
            self._end()

    def read_records(
        self,
        sync_mode: SyncMode,
        cursor_field: list[str] | None = None,
        stream_slice: Mapping[str, Any] | None = None,
        stream_state: Mapping[str, Any] | None = None,
    ) -> Iterable[Row]:
        """The rows alone; the state follows them page by page."""
        for batch, state in self._batches(sync_mode):
            yield from map(self._row, batch.records)
            self._saved = state

    def _batches(
        self, sync_mode: SyncMode
    ) -> Iterator[tuple[RecordBatch, MutableMapping[str, Any]]]:
        """What to emit, and the state to save once it is. The last batch may be empty."""
        self._has_begun = True
        full_refresh = sync_mode is SyncMode.full_refresh
        start = self._resume_point(sync_mode)
        now, batches = self._begin(start, open_end=full_refresh)
        self._log_unreachable(start, now)
        end = max(now - INDEX_LAG, start)
        for batch in batches:
            yield batch, Bookmark(min(batch.watermark, end), unfinished=full_refresh).as_state()
            batch.records.clear()
        yield RecordBatch([], end), Bookmark(end).as_state()

    def probe(self) -> None:
        """One search for one record; raises what a sync would run into."""
        self._answer(Query(self._config.start, None, size=1), archive=False)

    def prefetch(self, sync_mode: SyncMode) -> None:
        """Ask for the first pages now, for a read that is to begin soon."""
        full_refresh = sync_mode is SyncMode.full_refresh
        self._prefetched = self._ask_for_first_pages(
            self._resume_point(sync_mode), open_end=full_refresh
        )

    def _begin(self, start: EpochMs, *, open_end: bool) -> tuple[EpochMs, Iterator[RecordBatch]]:
        """The moment that counts as now, and the reading, whose first answer is in.

        That answer tells Kustomer's clock. If it turns out to be behind ours, the reading begins
        again from the corrected moment; nothing has been emitted by then.
        """
        was_senseless = False
        for _ in range(_MOST_BEGINNINGS):
            asked, self._prefetched = self._prefetched, None
            if asked is None or time.monotonic() > asked.at + PREFETCH_VALID_SECONDS:
                asked = self._ask_for_first_pages(start, open_end=open_end)
            batches = self._read(asked)
            first = next(batches, None)
            was_senseless = self._clock.is_senseless(start)
            if was_senseless:
                self._clock.forget()
            elif self._clock.now() >= asked.now - _CLOCK_PRECISION:
                self._clock.warn_once(self.logger)
                return asked.now, iter(()) if first is None else _chain(first, batches)
        if was_senseless:
            raise system_error(
                f"Stream {self.name}: Kustomer's answers are dated days before this machine's time "
                "(Date header), and before the moment from which on is to be read. One of the two "
                "clocks is wrong. Set this machine's clock; if it is right, a proxy may send the "
                "wrong header. The state stays."
            )
        message = (
            f"Stream {self.name}: Kustomer's clock, as the Date headers of its answers tell it, "
            f"went back in each of {_MOST_BEGINNINGS} answers."
        )
        raise transient_error(message)

    def _ask_for_first_pages(self, start: EpochMs, *, open_end: bool) -> _Prefetch:
        """Those of all windows, but the open end's, which must come last.

        Of the seam, only the search's: the archive's must follow it.
        """
        now = self._clock.now()
        with_archive = self.has_archive and self._config.include_archived
        plan = list(windows(start, now, archive=with_archive, open_end=open_end))
        pages = {
            (query, not window.search): self._pool.submit(
                self._answer, query, archive=not window.search
            )
            for window in plan
            if (query := Query(window.lower, window.upper)).upper is not None
        }
        return _Prefetch(time.monotonic(), now, plan, pages)

    def _read(self, asked: _Prefetch) -> Iterator[RecordBatch]:
        def answers(queries: Sequence[Query], *, archive: bool) -> Iterator[Page | None]:
            if first := asked.pages.pop((queries[0], archive), None):
                yield first.result()
            else:
                yield from self._answers(queries, archive=archive)

        search = SearchPaginator(partial(answers, archive=False))
        archive = SearchPaginator(partial(answers, archive=True))
        try:
            for window in asked.plan:
                if not window.archive:
                    yield from search.read(
                        window.lower, window.upper, ahead=window.upper is not None
                    )
                elif not window.search:
                    yield from archive.read(window.lower, window.upper, ahead=True)
                else:
                    yield from _read_both(search, archive, window)
        except UnreadableError as error:
            raise system_error(f"Stream {self.name}: {error}") from error

    def _answers(self, queries: Sequence[Query], *, archive: bool) -> Iterator[Page | None]:
        if len(queries) == 1:
            yield self._answer(queries[0], archive=archive)
            return

        def ask(query: Query) -> Future[Page | None]:
            return self._pool.submit(self._answer, query, archive=archive)

        waiting = iter(queries)
        pages: deque[Future[Page | None]] = deque()

        def go_on() -> None:
            room = max(0, self._pages_ahead(queries) - len(pages))
            pages.extend(map(ask, islice(waiting, room)))

        try:
            while True:
                go_on()
                if not pages:
                    return
                page = pages.popleft().result()
                go_on()
                yield page
                del page
        finally:
            for future in pages:
                future.cancel()

    def _pages_ahead(self, queries: Sequence[Query]) -> int:
        page_weight = max(1, int(self._row_weight * queries[0].size))
        return min(_PAGES_AHEAD, max(1, _WEIGHT_AHEAD // page_weight))

    @cached_property
    def _progress(self) -> ProgressLog:
        return ProgressLog(self.logger, self.name)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(_PAGES_AHEAD, thread_name_prefix=f"kustomer-{self.name}")

    def _answer(self, query: Query, *, archive: bool) -> Page | None:
        try:
            response = self._get({"query": query, "archive": archive})
        except BodyTooLargeError:
            raise PageTooLargeError from None
        page: Page | None = parsed_body(response) if response.ok else None
        return page

    def most_body_bytes(self, response: requests.Response) -> int | None:
        """Some megabytes for a page; what one row takes for one row."""
        return None if asked_of(response).get("pageSize") == "1" else _MOST_PAGE_BYTES

    def most_weight(self, response: requests.Response) -> int | None:
        """Some megabytes for a page; what one row takes for one row."""
        return None if asked_of(response).get("pageSize") == "1" else _MOST_PAGE_WEIGHT

    def validate_page(self, response: requests.Response, body: Any) -> Page:
        """A page of a search, checked to be what it was asked for: complete, in range, in order."""
        super().validate_page(response, body)
        meta, links = part(body, "meta"), part(body, "links")
        if meta.get("timed_out") is True:
            msg = "the search timed out (meta.timed_out), so its rows may be incomplete"
            raise UnfinishedBodyError(msg)
        records = [_record(resource) for resource in body["data"]]
        updated = [record.updated for record in records]
        if any(later < earlier for earlier, later in pairwise(updated)):
            msg = "expected rows ascending by updatedAt"
            raise BrokenBodyError(msg)
        _check_bounds(orjson.loads(response.request.body or b"{}"), records)
        total, size = count(meta, "total"), count(meta, "pageSize")
        if total and not records and asked_of(response).get("page") == "1":
            # The state would pass by all that the page does not show.
            msg = f"expected some of the {total} rows that it counts, got none"
            raise BrokenBodyError(msg)
        heavy = weight_of(response)
        if records:
            self._row_weight = heavy / len(records)
        return Page(
            records,
            total,
            size,
            promises_more=next_link(links) is not None,
            weight=heavy,
        )

    def _row(self, record: Record) -> Row:
        # Here, not where the page is checked: a row that is made and written at once stays in the
        # processor's cache, which saves a tenth of its time.
        try:
            return self._columns.fit(flatten(record.resource))
        except RecursionError:
            raise system_error(f"Stream {self.name}: record {record.id}: {TOO_DEEP}.") from None

    def explain_error(self, response: requests.Response) -> ErrorResolution | None:
        """A page too deep is no failure, and the sync can do without an archive that refuses."""
        status = response.status_code
        if asked_of(response).get("page") != "1" and status in (400, 404):
            # Kustomer's links promise pages that it answers with 404, as its public readers found.
            return ErrorResolution(ResponseAction.IGNORE, None, None)
        meaning = super().explain_error(response)
        in_archive = urlsplit(str(response.request.url)).path.endswith("/archive/search")
        if not in_archive or status not in _REFUSALS_OF_THE_ARCHIVE:
            return meaning
        text = meaning.error_message if meaning else error_text(response)
        return config_failure(
            f"{text} This was a search of Kustomer's archive (HTTP {status}). If your key reads "
            "everything else, set 'Include archived records' (include_archived) to false to sync "
            "without what was last updated more than two years ago."
        )

    def _log_unreachable(self, start: EpochMs, now: EpochMs) -> None:
        horizon = now - HORIZON
        if start >= horizon or (self.has_archive and self._config.include_archived):
            return
        reason = "has no archive" if not self.has_archive else "is read without its archive"
        self.logger.warning(
            "Stream %s %s: Kustomer's search does not return what was last updated before %s.",
            self.name,
            reason,
            format_instant(horizon)[:10],
        )


def _read_both(
    search: SearchPaginator, archive: SearchPaginator, window: Window
) -> Iterator[RecordBatch]:
    """The seam: each stretch is read from the normal search and then from the archive.

    Ascending across both; what both return is emitted once.
    """
    read_to = window.lower
    seen: set[str] = set()
    for batch in search.read(window.lower, window.upper, ahead=False):
        seen = {record.id for record in batch.records} | seen
        found = deque(batch.records)
        if batch.watermark > read_to:
            for archived in archive.read(read_to, batch.watermark, ahead=False):
                before = [found.popleft() for _ in _while_below(found, archived.watermark)]
                fresh = [record for record in archived.records if record.id not in seen]
                merged = heapq.merge(before, fresh, key=lambda record: record.updated)
                yield RecordBatch(list(merged), archived.watermark)
            read_to = batch.watermark
            seen = {record.id for record in batch.records if record.updated >= read_to}
        yield RecordBatch(list(found), batch.watermark)


def _while_below(records: deque[Record], instant: EpochMs) -> Iterator[None]:
    while records and records[0].updated < instant:
        yield None


def _record(resource: Mapping[str, Any]) -> Record:
    try:
        updated = parse_instant(resource["attributes"]["updatedAt"])
    except (KeyError, TypeError, ValueError, OverflowError):
        msg = "expected a timestamp under 'attributes.updatedAt' of every resource"
        raise BrokenBodyError(msg) from None
    return Record(resource["id"], updated, resource)


def _check_bounds(asked: Mapping[str, Any], records: Sequence[Record]) -> None:
    """Raise BrokenBodyError unless every record is within the bounds that the request sent.

    Where it asked for one instant, `created_at` tells its records apart, so it must be a date.
    """
    bounds = [
        (name, operator, parse_instant(bound))
        for criterion in asked.get("and", [])
        for name, condition in criterion.items()
        for operator, bound in condition.items()
    ]
    updated = [limit for name, _, limit in bounds if name.endswith("_updated_at")]
    if len(updated) == len(_BOTH_ENDS) and max(updated) - min(updated) == 1:
        for record in records:
            _created(record)
    for name, operator, limit in bounds:
        for record in records:
            value = _created(record) if name.endswith("_created_at") else record.updated
            if value is None or (value < limit if operator == "gte" else value >= limit):
                msg = f"expected {name} {operator} {format_instant(limit)}, got record {record.id}"
                raise BrokenBodyError(msg)


_BOTH_ENDS = ("gte", "lt")


def _created(record: Record) -> EpochMs | None:
    try:
        return record.created
    except (TypeError, ValueError, OverflowError):
        msg = f"expected a timestamp under 'attributes.createdAt' of record {record.id}"
        raise BrokenBodyError(msg) from None


def _chain(first: RecordBatch, rest: Iterator[RecordBatch]) -> Iterator[RecordBatch]:
    yield first
    yield from rest
