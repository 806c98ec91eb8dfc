"""The kind of stream that reads a Courier list from page to page, along its cursors."""

from __future__ import annotations

from abc import ABC
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from typing import ClassVar

from airbyte_cdk.models import SyncMode

from http_source.cdk import FULL_REFRESH_COMPLETE
from http_source.columns import Row
from http_source.context import SyncContext
from http_source.errors import system_error
from http_source.stream import RowBatch, VendorStream
from source_courier.client import CourierClient, CursorRefusedError, Envelope, Page
from source_courier.config import CourierConfig
from source_courier.paging import MoreAndCursor, Paging

# Archived rows may leave pages empty (unverified). A hundred of them in a row are an error.
_MAX_EMPTY_PAGES = 100
# A cursor may include the row that it names, so one page of known rows is possible.
_MAX_KNOWN_PAGES = 3


class CourierListStream(VendorStream, ABC):
    """All rows of `GET /<endpoint>`, in the vendor's order.

    Courier serves ten rows per page. So a read takes the number of pages times the vendor's
    latency. The next page is fetched while a page is emitted.

    A full refresh is resumable: after every page comes a STATE of the form `{"cursor": str}`. A
    sync that gets this state continues there. A cursor names a row and not an offset (the published
    form decodes to `<enqueued ms>,<message id>`), so new rows do not shift the pages.
    """

    # How a page names the next one, and the key of the rows in its body.
    paging: ClassVar[type[Paging]] = MoreAndCursor
    rows_key: ClassVar[str] = "results"

    client: CourierClient

    def __init__(self, context: SyncContext[CourierConfig]) -> None:
        super().__init__(context)
        self.client = CourierClient(self, context)
        self._pool = context.pool
        self._envelope = Envelope(self.rows_key, self.key[0], self.paging)
        self._prefetched: tuple[str | None, Future[Page]] | None = None

    def prefetch(self, sync_mode: SyncMode) -> None:
        """Fetch the first page now."""
        self._fetch_ahead(self._saved_cursor())

    def read_batches(self, sync_mode: SyncMode) -> Iterator[RowBatch]:
        """Yield one page at a time, with the state from which a later sync continues."""
        cursor = self._saved_cursor()
        walk = _Walk(self.endpoint, self.key[0])
        is_resumed = cursor is not None
        while True:
            try:
                page = self._fetch_page(cursor)
            except CursorRefusedError as error:
                if not is_resumed:
                    raise system_error(str(error)) from None
                # A cursor may expire between two syncs. The rows of the last sync come again.
                self.logger.warning(
                    "Courier no longer accepts the cursor of the saved state (HTTP %d): "
                    "reading from the newest row again.",
                    error.status,
                )
                cursor, is_resumed = None, False
                continue
            is_resumed = False
            cursor = page.next_cursor
            if cursor is not None:
                walk.require_progress(page.rows, cursor)
                self._fetch_ahead(cursor)
            state = FULL_REFRESH_COMPLETE if cursor is None else {"cursor": cursor}
            yield RowBatch(map(self.columns.fit, page.rows), dict(state))
            if cursor is None:
                return

    def probe(self) -> None:
        """Fetch the first page. Raises what a sync would raise."""
        self._get_page(None)

    def _saved_cursor(self) -> str | None:
        """Return the cursor of the saved state, or None for the first page.

        The state of a finished read means the first page, although the CDK would read nothing from
        it. A client that keeps states, such as PyAirbyte, passes it back to get new rows.
        """
        cursor = self._state.get("cursor")
        return cursor if isinstance(cursor, str) and cursor else None

    def _fetch_ahead(self, cursor: str | None) -> None:
        self._prefetched = (cursor, self._pool.submit(self._get_page, cursor))

    def _fetch_page(self, cursor: str | None) -> Page:
        prefetched, self._prefetched = self._prefetched, None
        if prefetched is not None and prefetched[0] == cursor:
            return prefetched[1].result()
        return self._get_page(cursor)

    def _get_page(self, cursor: str | None) -> Page:
        return self.client.get_page(self.endpoint, self._envelope, cursor)


class _Walk:
    """Detects a walk that goes in a circle or that brings no new row."""

    def __init__(self, endpoint: str, id_key: str) -> None:
        self._endpoint = endpoint
        self._id_key = id_key
        self._followed: set[str] = set()
        # The IDs of the last page and of an older page. Then the number of pages, and how many of
        # the last pages brought no new row.
        self._last_ids: set[str] = set()
        self._marked_ids: set[str] = set()
        self._pages = 0
        self._idle_pages = 0

    def require_progress(self, rows: Sequence[Row], cursor: str) -> None:
        """Raise a system error if the walk continues without progress.

        A page is compared with the page before it, and with the last page whose number is a power
        of two. So a circle of any length is detected (Brent's algorithm), in the memory of two
        pages.
        """
        if cursor in self._followed:
            raise system_error(
                f"Courier repeated the page cursor {cursor!r:.200} of GET /{self._endpoint}: it "
                "would lead to the same rows again and again. Expected a new cursor or "
                "more: false."
            )
        self._followed.add(cursor)
        ids = {row[self._id_key] for row in rows}
        in_circle = bool(ids) and ids <= self._marked_ids and ids != self._last_ids
        self._idle_pages = self._idle_pages + 1 if in_circle or ids <= self._last_ids else 0
        self._pages += 1
        self._last_ids = ids or self._last_ids
        if ids and self._pages & (self._pages - 1) == 0:
            self._marked_ids = ids
        if in_circle or self._idle_pages == (_MAX_KNOWN_PAGES if ids else _MAX_EMPTY_PAGES):
            what = f"{self._idle_pages} pages in a row without a new row"
            raise system_error(
                f"Courier answered GET /{self._endpoint} with "
                f"{'a page of rows from many pages ago' if in_circle else what}, and with a new "
                "cursor to the next. Expected new rows, or more: false."
            )
