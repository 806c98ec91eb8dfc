"""The base of all kinds of stream of Courier: the facts of a list, and its requests."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import ClassVar

from http_source.columns import Row
from http_source.retry import RefusedError
from http_source.stream import VendorStream
from source_courier.client import CourierClient, Envelope, Page
from source_courier.context import CourierContext
from source_courier.paging import MoreAndCursor, Paging
from source_courier.progress_guard import ProgressGuard

# Courier documents 100 as the largest page where it documents one. Other lists may grant it too.
LARGEST_PAGE = 100


class CourierStream(VendorStream, ABC):
    """One table of Courier. A stream names the facts of its list."""

    # How a page names the next one, the names under which its rows may be, and whether null in
    # their place means no rows.
    paging: ClassVar[type[Paging]] = MoreAndCursor
    rows_keys: ClassVar[tuple[str, ...]] = ("results",)
    rows_may_be_null: ClassVar[bool] = False
    # The columns that Courier itself sends and that must identify a row.
    id_keys: ClassVar[tuple[str, ...]] = ("id",)
    # How many rows a page is asked for; None where the list has no pages.
    page_limit: ClassVar[int | None] = LARGEST_PAGE
    # How many requests a sync makes: the page of the source says so. "{parent}" stands for the name
    # of the parents' stream.
    requests: ClassVar[str]

    client: CourierClient

    def __init__(self, context: CourierContext) -> None:
        super().__init__(context)
        self._config = context.config
        self.context = context
        self._pool = context.pool
        self.client = CourierClient(self, context)
        self.envelope = Envelope(
            self.rows_keys, self.id_keys, self.paging, may_be_null=self.rows_may_be_null
        )

    def get_page(
        self, cursor: str | None, params: Mapping[str, str], endpoint: str | None = None
    ) -> Page:
        """Fetch a page of the list. Without a cursor it is the first page.

        Raises CursorRefusedError, or an AirbyteTracedException that explains any other refusal.
        """
        try:
            return self.try_page(cursor, params, endpoint)
        except RefusedError as refused:
            raise self.client.explain_error(refused) from None

    def try_page(
        self, cursor: str | None, params: Mapping[str, str], endpoint: str | None = None
    ) -> Page:
        """Fetch a page as `get_page` does, but raise RefusedError for a refusal."""
        return self.client.get_page(
            endpoint or self.endpoint,
            self.envelope,
            cursor,
            params,
            limit=self.page_limit,
            limit_key=self.endpoint,
        )

    def fit(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Fit rows to the columns of the table."""
        return map(self.columns.fit, rows)


class ParentStream(CourierStream, ABC):
    """A table whose rows may be parents of other streams' rows."""

    # The columns that streams of children need. The first one identifies a parent.
    child_columns: ClassVar[tuple[str, ...]] = ("id",)

    @abstractmethod
    def pages(self) -> Iterator[Sequence[Row]]:
        """Yield the rows of every page, from the beginning, for streams of children."""


class PageChain:
    """The pages of one list in order. The next page is fetched while a page is used.

    `follow` raises CursorRefusedError, and any error of the stream's requests.
    """

    def __init__(
        self, stream: CourierStream, params: Mapping[str, str], endpoint: str | None = None
    ) -> None:
        self._stream = stream
        self._params = params
        self._endpoint = endpoint
        self._pool = stream.context.pool
        self._ahead: tuple[str | None, Future[Page]] | None = None

    def prefetch(self, cursor: str | None) -> None:
        """Request a page now. `follow` takes it if it begins there."""
        self._ahead = (cursor, self._pool.submit(self._get, cursor))

    def follow(self, cursor: str | None, before: Row | None = None) -> Iterator[Page]:
        """Yield the page of a cursor and all pages behind it. `before` is the row above it."""
        endpoint = self._endpoint or self._stream.endpoint
        guard = ProgressGuard(endpoint, self._stream.id_keys)
        while True:
            ahead, self._ahead = self._ahead, None
            is_ahead = ahead is not None and ahead[0] == cursor
            page = ahead[1].result() if ahead is not None and is_ahead else self._get(cursor)
            cursor = page.next_cursor
            if cursor is not None:
                guard.require_progress(page.rows, cursor)
                self.prefetch(cursor)
            shown = without_repeated(page, before)
            before = last_row(page)
            yield shown
            if cursor is None:
                return

    def _get(self, cursor: str | None) -> Page:
        return self._stream.get_page(cursor, self._params, self._endpoint)


def without_repeated(page: Page, before: Row | None) -> Page:
    """Leave out the last row of the page before: a cursor may include the row that it names."""
    if before is None or not page.rows or page.rows[0] != before:
        return page
    return Page(page.rows[1:], page.next_cursor)


def last_row(page: Page) -> Row | None:
    """A copy of the last row of a page, because rows are changed to fit their columns."""
    return copy.deepcopy(page.rows[-1]) if page.rows else None
