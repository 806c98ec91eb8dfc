"""The two kinds of stream that are plain lists. Each sync reads a list completely, page by page."""

from __future__ import annotations

import time
from abc import ABC
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import ClassVar
from urllib.parse import parse_qsl

import requests
from airbyte_cdk.models import FailureType, SyncMode
from airbyte_cdk.utils.traced_exception import AirbyteTracedException

from http_source.body import PageTooLargeError
from http_source.columns import Row
from http_source.errors import system_error, transient_error
from http_source.instants import LATEST, EpochMs
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
from source_kustomer.stream import PREFETCH_VALID_SECONDS, FullRefreshStream, KustomerStream
from source_kustomer.timeline import INDEX_LAG

# A list is read again to find rows that moved between pages: at most this often.
_MAX_ROUNDS = 10
# A list may count more rows than it shows. After this many rounds without a new row, it fails.
_CALM_ROUNDS = 3
# How often an empty page is fetched again if it contradicts another page.
_MAX_FETCHES_AGAIN = 2
# When a list is read again, its pages are known. This many of them are fetched at once.
_PAGES_AT_ONCE = 4

PageToken = Mapping[str, str]


class ListStream(KustomerStream, ABC):
    """All records of a plain list, `GET /v1/<endpoint>`, which has no filters.

    https://developer.kustomer.com/docs/concepts/pagination
    """

    # The largest page of this endpoint: "most lists 100; users and teams 500" (same page).
    page_size: int = 100
    # The query of each page without its number and size, such as `versions=all`.
    params: ClassVar[str] = ""
    _prefetched: _Beginning | None = None

    def __init__(self, context: KustomerContext) -> None:
        super().__init__(context)
        self._reader = self._make_reader(self._query())

    def _query(self) -> dict[str, str]:
        return dict(parse_qsl(self.params))

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


class FullRefreshListStream(FullRefreshStream, ListStream, ABC):
    """A list without `updated_at`. Each sync reads it completely and emits every row."""

    # True if other streams of the same sync need the resources too. Then they are read once and
    # kept until the sync ends.
    is_shared: ClassVar[bool] = False
    # More lists of the same endpoint, such as `{"status": "disabled"}`. Each row is emitted once.
    # If `are_variants_needed` is false, some of them may be refused with 400: it is not verified
    # that Kustomer knows the parameter.
    variants: ClassVar[Sequence[Mapping[str, str]]] = ()
    are_variants_needed: ClassVar[bool] = True

    def __init__(self, context: KustomerContext) -> None:
        super().__init__(context)
        # The object that reads a shared list for all streams of this sync.
        self._reads: FullRefreshListStream = (
            context.shared.setdefault(self.name, self) if self.is_shared else self
        )
        self._walk: Walk | None = None

    def prefetch(self, sync_mode: SyncMode) -> None:
        """Fetch the first page now, unless another stream has fetched it."""
        if self._reads is not self:
            self._reads.prefetch(sync_mode)
        elif self._walk is None and self._prefetched is None:
            super().prefetch(sync_mode)

    def walk(self) -> Walk:
        """Return the complete list, which is read once in a sync. Only for a shared list."""
        if self._reads is not self:
            return self._reads.walk()
        if self._walk is None:
            resources = list(self._resources())
            self._walk = Walk(resources, dict(self._reader.included))
        return self._walk

    def _rows(self) -> Iterator[Row]:
        for resource in self.walk().resources if self.is_shared else self._resources():
            yield self.rows.make(resource)

    def _resources(self) -> Iterator[Resource]:
        first = self._beginning().page
        reads = [self._reader.read(first)]
        reads += [self._make_reader(params).read() for params in self.variants]
        seen: set[str] = set()
        refusals: list[ListRefusedError | None] = []
        for resources in reads:
            refused: ListRefusedError | None = None
            has_rows = False
            try:
                for resource in resources:
                    has_rows = True
                    if resource["id"] not in seen:
                        seen.add(resource["id"])
                        yield resource
            except ListRefusedError as error:
                is_unknown = error.status == requests.codes.bad_request and not has_rows
                if self.are_variants_needed or not is_unknown:
                    raise
                refused = error
            refusals.append(refused)
        # If the first list was refused, all its variants are needed.
        if refusals[0] is None:
            return
        for refused in refusals[1:]:
            if refused is not None:
                raise refused


class IncrementalListStream(ListStream, ABC):
    """A list with `updated_at`. Each sync reads it completely and emits the rows that are new.

    A row without an `updated_at` is always emitted. A row at or after the end date is not.
    """

    cursor_field = "updated_at"

    def read_batches(self, sync_mode: SyncMode) -> Iterator[RowBatch]:
        """Yield rows at or after the state or start date, in the list's order, then one state."""
        lower, end = self._resume_point(sync_mode), self._config.end
        if end is not None and lower >= end:
            yield RowBatch((), Bookmark(lower).as_state())
            return
        beginning = self._beginning()
        yield RowBatch(self._rows(beginning.page, lower))
        self._clock.warn_once(self.logger)
        # A change after the first page was fetched belongs to the next sync, even if this sync has
        # seen it. Kustomer's clock may not have been known then, so the start is corrected.
        elapsed = int((time.monotonic() - beginning.at) * 1000)
        began = min(beginning.now, self._clock.now() - elapsed)
        read_to = began - INDEX_LAG if end is None else min(began - INDEX_LAG, end)
        yield RowBatch((), Bookmark(max(read_to, lower)).as_state())

    def has_rows(self) -> bool:
        """Whether the list shows a row. False if Kustomer refuses it, which proves nothing."""
        try:
            return bool(self._reader.fetch_first().resources)
        except PageTooLargeError:
            return True
        except AirbyteTracedException as error:
            if error.failure_type is FailureType.transient_error:
                raise
            return False

    def check(self, resource: Resource) -> None:
        """Raise BrokenBodyError if `updated_at` is present but not a timestamp."""
        updated_at(resource)

    def _rows(self, first: Future[ListPage], lower: EpochMs) -> Iterator[Row]:
        end = LATEST if self._config.end is None else self._config.end
        for resource in self._reader.read(first):
            updated = updated_at(resource)
            if updated is None or lower <= updated < end:
                yield self.rows.make(resource)


@dataclass(frozen=True)
class Walk:
    """A list that was read completely. `included` maps IDs to the included resources."""

    resources: Sequence[Resource]
    included: Mapping[str, Resource]


@dataclass(frozen=True)
class _Beginning:
    """The first page of a read.

    `at` is the monotonic time of its request. `now` is the moment that counted as now.
    """

    at: float
    now: EpochMs
    page: Future[ListPage]


class ListReader:
    """Reads one list completely, even if rows move between pages during the read."""

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
        """`stream` is used in messages. `params` is sent with each request.

        For `check` and `has_signed_links` see `KustomerClient.list_page`. Without a `pool`, pages
        are fetched one after the other. A reader that runs in a task of the pool must not use the
        pool itself.
        """
        self._stream = stream
        self._client = client
        self._endpoint = endpoint
        # How many rows to request. Large rows make it smaller than the largest page.
        self._size = page_size
        self._params = dict(params or {})
        self._check = check
        self._has_signed_links = has_signed_links
        self._pool = pool
        # The included resources of the pages so far, by their IDs.
        self.included: dict[str, Resource] = {}

    def fetch_first(self) -> ListPage:
        """Fetch the first page of the list. Raises PageTooLargeError."""
        return self.fetch_page(self._first_token())

    def fetch_page(self, token: PageToken) -> ListPage:
        """Fetch a page. A page that does not exist has no rows. Raises PageTooLargeError."""
        return self._fetch(token) or ListPage(())

    def _fetch_pages(self, tokens: Sequence[PageToken]) -> Iterator[ListPage]:
        if self._pool is None:
            yield from map(self.fetch_page, tokens)
            return
        for start in range(0, len(tokens), _PAGES_AT_ONCE):
            yield from self._pool.map(self.fetch_page, tokens[start : start + _PAGES_AT_ONCE])

    def _fetch(self, token: PageToken) -> ListPage | None:
        # The vendor may put another size into its links, or may ignore the size.
        page = self._client.list_page(
            self._endpoint,
            token,
            any_size=self._size == 1,
            check=self._check,
            has_signed_links=self._has_signed_links,
        )
        if page is not None:
            self.included.update((one["id"], one) for one in page.included)
        return page

    def _first_token(self) -> dict[str, str]:
        return {**self._params, "page": "1", "pageSize": str(self._size)}

    def read(self, first: Future[ListPage] | None = None) -> Iterator[Resource]:
        """Yield every resource once. `first` is the first page, if it was prefetched.

        A deleted row moves the rows after it up by one place. So a row may move from a page that is
        not read yet to a page that was read already. That is why all pages of a list except the
        last are read again until they show no new row. The count cannot replace this, because
        another row may have been created. While the vendor counts more rows than it has shown, all
        pages are read again. Raises a system error or a transient one if the list stays incomplete.
        """
        seen: set[str] = set()
        while True:
            try:
                yield from self._read_rounds(first, seen)
            except PageTooLargeError:
                # A page of one row is never too large, so this ends.
                self._size, first = max(1, self._size // 4), None
            else:
                return

    def _read_rounds(self, first: Future[ListPage] | None, seen: set[str]) -> Iterator[Resource]:
        """Read the complete list again and again until it shows no new row. Adds to `seen`."""
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
            f"Stream {self._stream}: the list was read again {_MAX_ROUNDS} times and changed each "
            "time, so rows may be missing."
        )

    def _read_pages(self, first: Future[ListPage] | None) -> Iterator[tuple[PageToken, ListPage]]:
        """Yield each page with its token, to the end of the list.

        The `next` links are followed. The next page number is tried instead if a link is missing,
        if it is null after a full page, or while the vendor counts more rows than it has shown. In
        these cases, and after an empty page, an empty page is the end. An empty page is fetched
        again first if a link promised rows for it, or if it links to another page. Raises a system
        error if a page shows only rows of the pages before it, because then the vendor ignores page
        numbers.
        """
        walked: set[str] = set()
        token = self._first_token()
        followed: list[dict[str, str]] = []
        is_promised = was_idle = was_full = False
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
            is_likely = was_full or (len(followed) == 1 and self._pool is not None)
            page = self._confirmed(token, page, is_promised=is_promised, is_likely=is_likely)
            ids = {resource["id"] for resource in page.resources}
            is_idle = ids <= walked
            if is_idle and not page.has_link and len(walked) < self._size_of(page):
                return  # the list fits on one page, has no links, and ignores page numbers
            if is_idle and ids and (was_idle or self._is_full(page)):
                raise system_error(
                    f"Stream {self._stream}: page {len(followed)} of GET /v1/{self._endpoint} "
                    "shows only rows of the pages before it. Expected other rows or an end."
                )
            walked |= ids
            yield token, page
            counts_more = (page.total or 0) > len(walked)
            may_go_on = not page.has_link or self._is_full(page)
            if page.link is None and not counts_more and (not ids or not may_go_on):
                return
            if is_idle and was_idle:
                return
            was_full, was_idle = self._is_full(page), is_idle
            is_promised = page.link is not None and was_full
            token = self._token_behind(token, page, len(followed))
        raise system_error(f"Stream {self._stream}: Kustomer repeated the next link to {token}.")

    def _token_behind(self, token: PageToken, page: ListPage, number: int) -> dict[str, str]:
        """Return the token of the page after page `number`: from its link if it has one."""
        if page.link is None:
            return {**token, "page": str(number + 1)}
        # A link may leave out the parameters of the request.
        return self._params | self._client.page_token(self._endpoint, page.link)

    def _confirmed(
        self, token: PageToken, page: ListPage, *, is_promised: bool, is_likely: bool
    ) -> ListPage:
        """The page, or if it is empty what another request for it shows.

        An empty page is likely to have rows if it is the first one, or comes after a full page.
        Most lists of children are empty, so their first page is believed.
        """
        if page.resources:
            return page
        if is_promised or page.link:
            return self._fetch_again(token, page)
        return self.fetch_page(token) if is_likely else page

    def _fetch_again(self, token: PageToken, page: ListPage) -> ListPage:
        """Fetch an empty page again, after waits, because another page promised rows for it."""
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
    """What the pages of a list said so far: their tokens, the count, and which were empty."""

    def __init__(self) -> None:
        self.tokens: list[PageToken] = []
        self._total: int | None = None
        self._empty: set[int] = set()

    def add(self, token: PageToken, page: ListPage) -> None:
        """Add the next page."""
        self.tokens.append(token)
        self.take(token, page)

    def take(self, token: PageToken, page: ListPage) -> None:
        """Update the count and whether this page is empty."""
        self._total = self._total if page.total is None else page.total
        if page.resources:
            self._empty.discard(self.tokens.index(token))
        else:
            self._empty.add(self.tokens.index(token))

    def lacks(self, seen: set[str]) -> str:
        """Return a sentence that says why rows must be missing, or "" if none must be."""
        if self._total is not None and self._total > len(seen):
            return f"Kustomer counts {self._total} rows, but shows {len(seen)} of them."
        shown = set(range(len(self.tokens))) - self._empty
        holes = sorted(index + 1 for index in self._empty if shown and index < max(shown))
        return f"Page {holes[0]} is empty, but pages after it have rows." if holes else ""


def _unseen(page: ListPage, seen: set[str]) -> Iterator[Resource]:
    for resource in page.resources:
        if resource["id"] not in seen:
            seen.add(resource["id"])
            yield resource
