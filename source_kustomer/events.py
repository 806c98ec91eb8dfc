"""The kind of stream that is a log of events: written once, read by windows, newest first."""

from __future__ import annotations

import time
from abc import ABC
from collections.abc import Iterator
from dataclasses import replace
from typing import ClassVar

from airbyte_cdk.models import SyncMode

from http_source.columns import Row
from http_source.errors import system_error
from http_source.instants import EpochMs, format_instant
from http_source.stream import RowBatch
from source_kustomer.client import Event, EventQuery
from source_kustomer.state import Bookmark
from source_kustomer.stream import KustomerStream

_DAY: EpochMs = 24 * 60 * 60 * 1000
# A window begins with a day. It doubles where it has few events, so that a quiet or empty year
# takes few requests. A window of more than a day that fills a page is cut to a quarter before it
# is read, because no state says how far it was read before its end.
_LONGEST_WINDOW: EpochMs = 256 * _DAY
_CUT = 4


class EventLogStream(KustomerStream, ABC):
    """Events of `GET /v1/<endpoint>` with the cursor `created_at`, in windows of it.

    In a window, each page is asked for by the last event of the page before it (`before`), until a
    page shows nothing new. A short page does not count as the end. Within a window the events come
    newest first, so there is one state behind each window.
    """

    cursor_field = "created_at"
    # How long after its creation an event may be missing. Kustomer does not say.
    index_lag: ClassVar[EpochMs]
    # The most events of a page.
    page_size: int = 1000

    def prefetch(self, sync_mode: SyncMode) -> None:
        """Nothing: one page is no head start."""

    def read_batches(self, sync_mode: SyncMode) -> Iterator[RowBatch]:
        """The events of one window after the other, oldest window first, and a state behind each.

        A full refresh reads up to the present, an incremental read to the index lag before it.
        """
        is_full_refresh = sync_mode is SyncMode.full_refresh
        start = self._resume_point(sync_mode, self.cursor_field)
        began, now = time.monotonic(), self._clock.now()
        end = now + _DAY if is_full_refresh else now - self.index_lag
        if self._config.end is not None:
            end = min(end, self._config.end)

        def bookmark(upper: EpochMs, *, unfinished: bool = False) -> Bookmark:
            # Kustomer's clock may not have been known when the read began.
            elapsed = int((time.monotonic() - began) * 1000)
            cutoff = min(now, self._clock.now() - elapsed) - self.index_lag
            return Bookmark(max(start, min(upper, cutoff)), unfinished, self.cursor_field)

        lower, length = start, _DAY
        while lower < end:
            upper = min(lower + length, end)
            query = EventQuery(lower, upper, count=self.page_size)
            first = self.client.events(self.endpoint, query)
            if len(first) >= self.page_size and upper - lower > _DAY:
                length = max((upper - lower) // _CUT, _DAY)
                continue
            for page in self._read_window(query, first):
                yield RowBatch(self._rows(page))
            lower = upper
            if first and upper < end:
                yield RowBatch((), bookmark(upper, unfinished=is_full_refresh).as_state())
            if len(first) < self.page_size // _CUT:
                length = min(length * 2, _LONGEST_WINDOW)
        self._clock.warn_once(self.logger)
        yield RowBatch((), bookmark(end).as_state())

    def _read_window(self, query: EventQuery, page: list[Event]) -> Iterator[list[Event]]:
        """The events of a window, each once, page by page. The first page has arrived."""
        seen: set[str] = set()
        while page:
            fresh = [event for event in page if event.id not in seen]
            if not fresh and page[0].id == page[-1].id == query.before:
                return  # Kustomer counts the event of `before` in
            if not fresh:
                raise system_error(
                    f"Stream {self.name}: GET /v1/{self.endpoint} shows events of earlier pages "
                    f"again behind event {query.before} (from {format_instant(query.lower)} to "
                    f"{format_instant(query.upper)}). Expected events before it, or none."
                )
            seen.update(event.id for event in fresh)
            yield [event for event in fresh if query.lower <= event.created_at < query.upper]
            query = replace(query, before=page[-1].id)
            page = self.client.events(self.endpoint, query)

    def _rows(self, events: list[Event]) -> Iterator[Row]:
        for event in events:
            yield self.rows.make(event.resource)
