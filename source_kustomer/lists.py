"""The two kinds of stream that are plain lists: read whole by GET, along the `next` links."""

from __future__ import annotations

import time
from abc import ABC
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import ClassVar

import requests
from airbyte_cdk.models import SyncMode

from http_source.body import PageTooLargeError
from http_source.cdk import NO_CURSOR_STATE
from http_source.columns import Row
from http_source.errors import system_error, transient_error
from http_source.retry import pause
from http_source.stream import RowBatch
from source_kustomer.client import (
    KustomerClient,
    ListPage,
    ListRefusedError,
    Resource,
    updated_at,
)
from source_kustomer.context import KustomerContext
from source_kustomer.state import Bookmark
from source_kustomer.stream import PREFETCH_VALID_SECONDS, KustomerStream
from source_kustomer.timeline import INDEX_LAG, LATEST, EpochMs

# How often a list is read again at most. Rows that move between pages are found that way.
_MAX_ROUNDS = 10
# If a list counts more rows than it shows, and so many rounds showed no new one, it shows no more.
_CALM_ROUNDS = 3
# How often an empty page is fetched again if it contradicts another page.
_MAX_FETCHES_AGAIN = 2
# When a list is read again, its pages are known, and so many are fetched at once.
_PAGES_AT_ONCE = 4

PageToken = Mapping[str, str]


class ListStream(KustomerStream, ABC):
    """All records of a plain list, `GET /v1/<endpoint>`, which knows no filter.

    https://developer.kustomer.com/docs/concepts/pagination
    """

    # The largest page of this endpoint: "most lists 100; users and teams 500" (same page).
    page_size: int = 100
    _prefetched: _Beginning | None = None

    def __init__(self, context: KustomerContext) -> None:
        super().__init__(context)
        self._reader = self._make_reader({})

    def _make_reader(self, params: Mapping[str, str]) -> ListReader:
        return ListReader(
            self.name,
            self.client,
            self.endpoint,
            self.page_size,
            params=params,
            check=self.check,
            pool=self._pool,
        )

    def check(self, resource: Resource) -> None:
        """Raise BrokenBodyError for a resource that the stream cannot read. For override."""

    def prefetch(self, sync_mode: SyncMode) -> None:
        """Fetch the first page now."""
        self._prefetched = self._begin()

    def _begin(self) -> _Beginning:
        page = self._pool.submit(self._reader.fetch_first)
        return _Beginning(time.monotonic(), self._clock.now(), page)

    def _beginning(self) -> _Beginning:
        beginning, self._prefetched = self._prefetched, None
        if beginning is None or time.monotonic() > beginning.at + PREFETCH_VALID_SECONDS:
            beginning = self._begin()
        return beginning


class FullRefreshListStream(ListStream, ABC):
    """A list whose rows tell no moment of change. Each sync reads it whole and emits every row."""

    # A list has no place at which a later sync could resume it.
    is_resumable = False
    # Further lists of the same endpoint, such as `{"status": "disabled"}`. Each row is emitted
    # once. If `are_variants_needed` is false, some of them may be refused with 400: nobody has seen
    # whether Kustomer knows the parameter.
    variants: ClassVar[Sequence[Mapping[str, str]]] = ()
    are_variants_needed: ClassVar[bool] = True

    def read_batches(self, sync_mode: SyncMode) -> Iterator[RowBatch]:
        """Every row once. The state says nothing, as the CDK's does for such streams."""
        yield RowBatch(self._rows())
        yield RowBatch((), dict(NO_CURSOR_STATE))

    def _rows(self) -> Iterator[Row]:
        first = self._beginning().page
        reads = [self._reader.read(first)]
        reads += [self._make_reader(params).read() for params in self.variants]
        seen: set[str] = set()
        refused: list[ListRefusedError] = []
        for resources in reads:
            try:
                for resource in resources:
                    if resource["id"] not in seen:
                        seen.add(resource["id"])
                        yield self.rows.make(resource)
            except ListRefusedError as error:
                if self.are_variants_needed or error.status != requests.codes.bad_request:
                    raise
                refused.append(error)
        if len(refused) == len(reads):
            raise refused[0]


class IncrementalListStream(ListStream, ABC):
    """A list whose rows tell `updated_at`. Each sync reads it whole and emits what is new.

    A row that tells no `updated_at` is always emitted. Rows at or after the end date are not.
    """

    cursor_field = "updated_at"

    def read_batches(self, sync_mode: SyncMode) -> Iterator[RowBatch]:
        """Rows at or after the state or start date, in the list's order. One state, at the end."""
        lower, end = self._resume_point(sync_mode), self._config.end
        if end is not None and lower >= end:
            yield RowBatch((), Bookmark(lower).as_state())
            return
        beginning = self._beginning()
        yield RowBatch(self._rows(beginning.page, lower))
        self._clock.warn_once(self.logger)
        # A change since the first page was fetched belongs to the next sync, though this one may
        # have seen it too. At that time Kustomer's clock may not have been known.
        elapsed = int((time.monotonic() - beginning.at) * 1000)
        began = min(beginning.now, self._clock.now() - elapsed)
        read_to = began - INDEX_LAG if end is None else min(began - INDEX_LAG, end)
        yield RowBatch((), Bookmark(max(read_to, lower)).as_state())

    def check(self, resource: Resource) -> None:
        """Its `updated_at` must be a moment, or absent."""
        updated_at(resource)

    def _rows(self, first: Future[ListPage], lower: EpochMs) -> Iterator[Row]:
        end = LATEST if self._config.end is None else self._config.end
        for resource in self._reader.read(first):
            updated = updated_at(resource)
            if updated is None or lower <= updated < end:
                yield self.rows.make(resource)


@dataclass(frozen=True)
class _Beginning:
    """The first page of a read: when and at which moment it was fetched."""

    at: float
    now: EpochMs
    page: Future[ListPage]


class ListReader:
    """Reads one list completely, although rows change page while it is read."""

    def __init__(
        self,
        stream: str,
        client: KustomerClient,
        endpoint: str,
        page_size: int,
        *,
        params: Mapping[str, str] | None = None,
        check: Callable[[Resource], object] | None = None,
        has_signed_links: bool = False,
        pool: Executor | None = None,
    ) -> None:
        """`stream` is for messages, `params` go with each request; for others see `list_page`.

        Without a `pool`, one page is fetched after the other. A task of the pool must have none.
        """
        self._stream = stream
        self._client = client
        self._endpoint = endpoint
        # Rows to ask for: fewer than the largest page has if they are large.
        self._size = page_size
        self._params = dict(params or {})
        self._check = check
        self._has_signed_links = has_signed_links
        self._pool = pool

    def fetch_first(self) -> ListPage:
        """The first page of the list. Raises PageTooLargeError."""
        return self.fetch_page(self._first_token())

    def fetch_page(self, token: PageToken) -> ListPage:
        """A page of the list. One that is not there has no rows. Raises PageTooLargeError."""
        return self._fetch(token) or ListPage(())

    def _fetch_pages(self, tokens: Sequence[PageToken]) -> Iterator[ListPage]:
        if self._pool is None:
            yield from map(self.fetch_page, tokens)
            return
        for start in range(0, len(tokens), _PAGES_AT_ONCE):
            yield from self._pool.map(self.fetch_page, tokens[start : start + _PAGES_AT_ONCE])

    def _fetch(self, token: PageToken) -> ListPage | None:
        # The vendor may have other sizes in its links, or heed none.
        return self._client.list_page(
            self._endpoint,
            token,
            any_size=self._size == 1,
            check=self._check,
            has_signed_links=self._has_signed_links,
        )

    def _first_token(self) -> dict[str, str]:
        return {**self._params, "page": "1", "pageSize": str(self._size)}

    def read(self, first: Future[ListPage] | None = None) -> Iterator[Resource]:
        """Every resource once. `first` is the first page, if it was fetched ahead.

        A deleted row moves the rows behind it one place up. So a row may move from a page that is
        still to come to a page that was read already. That is why the pages of a list, but for
        its last, are read again until that shows nothing new. A count would not tell, because
        another row may have been created. While the vendor counts more rows than it has shown, all
        pages are read again. Raises a system error or a transient one if the list stays incomplete.
        """
        seen: set[str] = set()
        while True:
            try:
                yield from self._read_rounds(first, seen)
            except PageTooLargeError:
                # No body is too large for a page of one row, so this ends.
                self._size, first = max(1, self._size // 4), None
            else:
                return

    def _read_rounds(self, first: Future[ListPage] | None, seen: set[str]) -> Iterator[Resource]:
        """Read the list whole, and again until it is calm. Adds to `seen`."""
        walk = _Walk()
        for token, page in self._read_pages(first):
            walk.add(token, page)
            yield from _unseen(page, seen)
        if len(walk.tokens) == 1 and not walk.lacks(seen):
            return
        calm = 0
        for _ in range(_MAX_ROUNDS):
            known = len(seen)
            again = walk.tokens if walk.lacks(seen) else walk.tokens[:-1]
            for token, page in zip(again, self._fetch_pages(again), strict=True):
                walk.take(token, page)
                yield from _unseen(page, seen)
            calm = calm + 1 if len(seen) == known else 0
            if calm and not walk.lacks(seen):
                return
            if calm == _CALM_ROUNDS:
                raise system_error(
                    f"Stream {self._stream}: {walk.lacks(seen)} The state stays, so that the next "
                    "sync reads the list again."
                )
        raise transient_error(
            f"Stream {self._stream}: the list changed each of the {_MAX_ROUNDS} times that it was "
            "read again, so that rows may be missing."
        )

    def _read_pages(self, first: Future[ListPage] | None) -> Iterator[tuple[PageToken, ListPage]]:
        """Each page with its token, to the end of the list.

        The `next` links are followed. The next page number is tried if a link is missing, if it is
        null behind a full page, or while the vendor counts more rows than it has shown. Then, and
        behind an empty page, an empty page is the end. An empty page that was promised, or that
        promises another, is fetched again first. Raises a system error if a page shows nothing but
        rows of the pages before it, because then the vendor heeds no page number.
        """
        walked: set[str] = set()
        token = self._first_token()
        followed: list[dict[str, str]] = []
        is_promised = was_idle = False
        while token not in followed:
            followed.append(token)
            page: ListPage | None
            if len(followed) == 1:
                page = self.fetch_first() if first is None else first.result()
            else:
                page = self._fetch(token)
            if page is None and is_promised:
                raise system_error(
                    f"Stream {self._stream}: Kustomer's next link leads to no page: {token}."
                )
            if page is None:
                return
            if not page.resources and (is_promised or page.link):
                page = self._fetch_again(token, page)
            ids = {resource["id"] for resource in page.resources}
            is_idle = ids <= walked
            if is_idle and not page.has_link and len(walked) < self._size_of(page):
                return  # the list fits one page, tells no links, and heeds no page number
            if is_idle and ids and (was_idle or self._is_full(page)):
                raise system_error(
                    f"Stream {self._stream}: page {len(followed)} of GET /v1/{self._endpoint} "
                    "shows nothing but rows of the pages before it. Expected other rows or an end."
                )
            walked |= ids
            yield token, page
            counts_more = (page.total or 0) > len(walked)
            may_go_on = not page.has_link or self._is_full(page)
            if page.link is None and not counts_more and (not ids or not may_go_on):
                return
            if is_idle and was_idle:
                return
            is_promised, was_idle = page.link is not None and self._is_full(page), is_idle
            token = self._token_behind(token, page, len(followed))
        raise system_error(f"Stream {self._stream}: Kustomer repeated the next link to {token}.")

    def _token_behind(self, token: PageToken, page: ListPage, number: int) -> dict[str, str]:
        """The token of the page behind the page with this number, by its link if it has one."""
        if page.link is None:
            return {**token, "page": str(number + 1)}
        # A link may leave out what the list was asked for.
        return self._params | self._client.page_token(self._endpoint, page.link)

    def _fetch_again(self, token: PageToken, page: ListPage) -> ListPage:
        """A page that came empty, though another page spoke of its rows, after a while."""
        for attempt in range(1, _MAX_FETCHES_AGAIN + 1):
            pause(attempt)
            again = self.fetch_page(token)
            if again.resources:
                return again
        return page

    def _is_full(self, page: ListPage) -> bool:
        return len(page.resources) >= self._size_of(page)

    def _size_of(self, page: ListPage) -> int:
        return self._size if page.granted is None else min(self._size, page.granted)


class _Walk:
    """What the pages of a list have told so far: their tokens, a count, and which came empty."""

    def __init__(self) -> None:
        self.tokens: list[PageToken] = []
        self._total: int | None = None
        self._empty: set[int] = set()

    def add(self, token: PageToken, page: ListPage) -> None:
        """Take the next page."""
        self.tokens.append(token)
        self.take(token, page)

    def take(self, token: PageToken, page: ListPage) -> None:
        """Take what a page tells now."""
        self._total = self._total if page.total is None else page.total
        if page.resources:
            self._empty.discard(self.tokens.index(token))
        else:
            self._empty.add(self.tokens.index(token))

    def lacks(self, seen: set[str]) -> str:
        """Why rows must be missing, in a sentence; empty if none need be."""
        if self._total is not None and self._total > len(seen):
            return f"Kustomer counts {self._total} rows, but shows {len(seen)} of them."
        shown = set(range(len(self.tokens))) - self._empty
        holes = sorted(index + 1 for index in self._empty if shown and index < max(shown))
        return f"Page {holes[0]} came empty, though pages behind it have rows." if holes else ""


def _unseen(page: ListPage, seen: set[str]) -> Iterator[Resource]:
    for resource in page.resources:
        if resource["id"] not in seen:
            seen.add(resource["id"])
            yield resource
