"""The kind of stream that is a list of Courier's: a walk from page to page along its cursors."""

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

# Archived rows may leave pages empty (unverified). A hundred of them in a row are no walk any more.
_MAX_EMPTY_PAGES = 100
# Cursors may include the row they name, so one page of known rows is possible.
_MAX_KNOWN_PAGES = 3


class CourierListStream(VendorStream, ABC):
    """All rows of `GET /<endpoint>`, in the vendor's order.

    Courier serves ten rows a page, so the time of a walk is its number of pages times the vendor's
    latency. The next page is fetched while a page is emitted.

    A full refresh is resumable: every page ends with a STATE of the form `{"cursor": str}`. A run
    that gets it back goes on there. Cursors name a row and not an offset (their published form
    decodes to `<enqueued ms>,<message id>`), so rows that arrive meanwhile shift nothing.
    """

    # How a page tells of the next one, and where in its body the rows are.
    paging: ClassVar[type[Paging]] = MoreAndCursor
    rows_key: ClassVar[str] = "results"

    client: CourierClient

    def __init__(self, context: SyncContext[CourierConfig]) -> None:
        super().__init__(context)
        self.client = CourierClient(self, context)
        self._pool = context.pool
        self._envelope = Envelope(self.rows_key, str(self.primary_key), self.paging)
        self._prefetched: tuple[str | None, Future[Page]] | None = None

    def prefetch(self, sync_mode: SyncMode) -> None:
        """Fetch the first page now."""
        self._fetch_ahead(self._saved_cursor())

    def read_batches(self, sync_mode: SyncMode) -> Iterator[RowBatch]:
        """A page at a time, and behind it the state that a later run goes on from."""
        cursor = self._saved_cursor()
        walk = _Walk(self.endpoint, self.primary_key)
        is_resumed = cursor is not None
        while True:
            try:
                page = self._fetch_page(cursor)
            except CursorRefusedError as error:
                if not is_resumed:
                    raise system_error(str(error)) from None
                # Cursors may expire between two runs. Rows that the last run emitted come again.
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
        """Ask for the first page. Raises what a sync would run into."""
        self._get_page(None)

    def _saved_cursor(self) -> str | None:
        """Where the saved state stands.

        The state of a finished walk is taken for the beginning, though the CDK would read nothing
        from it. A client that keeps states, such as PyAirbyte, hands it back to get new rows.
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
    """Notices a walk that leads back, or that goes on without a new row."""

    def __init__(self, endpoint: str, id_key: str) -> None:
        self._endpoint = endpoint
        self._id_key = id_key
        self._followed: set[str] = set()
        # The rows of the last page, and of one far back; how many pages there were, and how many of
        # the last ones brought no new row.
        self._last_ids: set[str] = set()
        self._marked_ids: set[str] = set()
        self._pages = 0
        self._idle_pages = 0

    def require_progress(self, rows: Sequence[Row], cursor: str) -> None:
        """Raise a system error if the walk goes on, but leads nowhere.

        A page is compared with the one before it, and with the last whose number is a power of
        two. So a circle of any length is noticed (Brent's algorithm), in the memory of two pages.
        """
        if cursor in self._followed:
            raise system_error(
                f"Courier repeated the page cursor {cursor!r:.200} of GET /{self._endpoint}: "
                "following it would read the same rows for ever. Expected a new cursor or "
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
