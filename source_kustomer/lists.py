"""Streams that are plain lists: read whole by GET, page by page along the `next` links."""

from __future__ import annotations

import time
from abc import ABC
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

import requests
from airbyte_cdk.models import SyncMode
from airbyte_cdk.sources.streams.http.error_handlers import ErrorResolution, ResponseAction

from http_source.body import is_deeper_than
from http_source.retry import (
    MOST_LEVELS,
    TOO_DEEP,
    BodyTooLargeError,
    BrokenBodyError,
    parsed_body,
    pause,
)
from source_kustomer.api import (
    PREFETCH_VALID_SECONDS,
    KustomerStream,
    SyncContext,
    asked_of,
    count,
    next_link,
    part,
    system_error,
    transient_error,
)
from source_kustomer.rows import Row, flatten
from source_kustomer.state import Bookmark
from source_kustomer.timeline import INDEX_LAG, EpochMs, parse_instant

# A list in which rows change page is read again, so often at most.
_MAX_ROUNDS = 10
# A larger page is not read to its end, but asked for in smaller ones: four of them are in memory
# while a list is read again.
_MOST_PAGE_BYTES = 6 * 1024 * 1024
# A list that counts more rows than it shows, and shows no new one in so many rounds, shows no more.
_CALM_ENOUGH = 3
# An empty page that contradicts another is asked for again, so often.
_MOST_DOUBTS = 2
# Its pages are then known, and asked for side by side.
_PAGES_AT_ONCE = 4


@dataclass(frozen=True)
class _Prefetch:
    """The first page of a read that begins: when and at which moment it was asked for."""

    at: float
    now: EpochMs
    page: Future[requests.Response]


class ListStream(KustomerStream, ABC):
    """Records of a plain list, `GET /v1/<endpoint>`, which knows no filter: read whole.

    https://developer.kustomer.com/docs/concepts/pagination. What is older than the state (or the
    start date) is left out here; a row that tells no `updated_at` is always emitted.
    """

    endpoint: ClassVar[str]
    # The largest page of this endpoint: "most lists 100; users and teams 500" (same page).
    page_size: int = 100
    _prefetched: _Prefetch | None = None

    def __init__(self, context: SyncContext, *, for_check: bool = False) -> None:
        super().__init__(context, for_check=for_check)
        # Rows to ask for: fewer than the largest page has where they are large.
        self._size = self.page_size

    def path(self, **_: Any) -> str:
        """The endpoint, below `url_base`."""
        return self.endpoint

    def request_params(
        self,
        stream_state: Mapping[str, Any] | None,
        stream_slice: Mapping[str, Any] | None = None,
        next_page_token: Mapping[str, Any] | None = None,
    ) -> MutableMapping[str, Any]:
        """The page token is the query of the page, `{"page": ..., "pageSize": ...}`."""
        return dict(next_page_token or {})

    def read_records(
        self,
        sync_mode: SyncMode,
        cursor_field: list[str] | None = None,
        stream_slice: Mapping[str, Any] | None = None,
        stream_state: Mapping[str, Any] | None = None,
    ) -> Iterable[Row]:
        """Flat rows in the list's own order, at or after the state; it moves when all are read."""
        self._has_begun = True
        lower = self._resume_point(sync_mode)
        asked, self._prefetched = self._prefetched, None
        if asked is None or time.monotonic() > asked.at + PREFETCH_VALID_SECONDS:
            asked = self._ask_for_first_page()
        try:
            for resource in self._resources(asked.page):
                updated = self._updated(resource)
                if updated is None or updated >= lower:
                    yield self._columns.fit(flatten(resource))
        finally:
            self._end()
        # What changed since the first page was asked for belongs to the next sync, though this one
        # may have seen it too. Kustomer's clock may not have been known at that time.
        self._clock.warn_once(self.logger)
        elapsed = int((time.monotonic() - asked.at) * 1000)
        begun = min(asked.now, self._clock.now() - elapsed)
        self._saved = Bookmark(max(begun - INDEX_LAG, lower)).as_state()

    def prefetch(self, sync_mode: SyncMode) -> None:
        """Ask for the first page now, for a read that is to begin soon."""
        self._prefetched = self._ask_for_first_page()

    def _ask_for_first_page(self) -> _Prefetch:
        token = {"page": "1", "pageSize": str(self._size)}
        return _Prefetch(time.monotonic(), self._clock.now(), self._pool.submit(self._get, token))

    @staticmethod
    def _updated(resource: Mapping[str, Any]) -> EpochMs | None:
        """When it changed last, or None where it tells no such moment. Raises BrokenBodyError."""
        updated = resource["attributes"].get("updatedAt")
        try:
            return None if updated is None else parse_instant(updated)
        except (TypeError, ValueError, OverflowError):
            msg = f"expected a timestamp in updatedAt of record {resource['id']}"
            raise BrokenBodyError(msg) from None

    def _resources(self, first: Future[requests.Response]) -> Iterator[Mapping[str, Any]]:
        """Every resource once, although rows change page while the list is read.

        A row that is deleted moves those behind it one place up: one may slip from a page still
        to come into one already read. So the pages of a list, but for its last, are read again
        until that yields nothing new. A count would not tell: another row may be created. But
        while the vendor counts more rows than it has shown, all pages are read again.
        """
        seen: set[str] = set()
        while True:
            try:
                yield from self._rounds(first, seen)
            except BodyTooLargeError:
                # No body is too large for a page of one row, so this ends.
                self._size = max(1, self._size // 4)
                first = self._ask_for_first_page().page
            else:
                return

    def _rounds(
        self, first: Future[requests.Response], seen: set[str]
    ) -> Iterator[Mapping[str, Any]]:
        """Read the list whole, and again until it is calm. Adds to `seen`."""
        walk = _Walk()
        for token, page in self._pages(first):
            walk.add(token, page)
            yield from _unseen(page, seen)
        if len(walk.tokens) == 1 and not walk.lacks(seen):
            return
        calm = 0
        for _ in range(_MAX_ROUNDS):
            known = len(seen)
            again = walk.tokens if walk.lacks(seen) else walk.tokens[:-1]
            for start in range(0, len(again), _PAGES_AT_ONCE):
                some = again[start : start + _PAGES_AT_ONCE]
                for token, page in zip(some, self._pool.map(self._page, some), strict=True):
                    walk.take(token, page)
                    yield from _unseen(page, seen)
            calm = calm + 1 if len(seen) == known else 0
            if calm and not walk.lacks(seen):
                return
            if calm == _CALM_ENOUGH:
                message = (
                    f"Stream {self.name}: {walk.lacks(seen)} The state stays, so that the next "
                    "sync reads the list again."
                )
                raise system_error(message)
        message = (
            f"Stream {self.name}: the list changed each of the {_MAX_ROUNDS} times that it was "
            "read again, so that rows may be missing."
        )
        raise transient_error(message)

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(_PAGES_AT_ONCE, thread_name_prefix=f"kustomer-{self.name}")

    def _page(self, token: Mapping[str, Any]) -> Mapping[str, Any]:
        """A page that was there before; one that has gone since holds nothing."""
        response = self._get(token)
        page: Mapping[str, Any] = parsed_body(response) if response.ok else {"data": []}
        return page

    def _pages(
        self, first: Future[requests.Response]
    ) -> Iterator[tuple[dict[str, str], Mapping[str, Any]]]:
        """Each page's token and body, to the end of the list.

        The `next` links are followed. Where one is missing, or null behind a full page, or while
        the vendor counts more rows than it has shown, the next page is asked for all the same:
        then, and behind an empty page, nothing more is the end. An empty page that was promised, or
        that promises another, is asked for again first. Raises a system error where a page shows
        nothing but rows of the pages before it, for then the vendor heeds no page number.
        """
        walked: set[str] = set()
        token = {"page": "1", "pageSize": str(self._size)}
        followed: list[dict[str, str]] = []
        promised = was_idle = False
        while token not in followed:
            followed.append(token)
            response = self._get(token) if len(followed) > 1 else first.result()
            if not response.ok and promised:
                message = f"Stream {self.name}: Kustomer's next link leads to no page: {token}."
                raise system_error(message)
            if not response.ok:
                return
            body = parsed_body(response)
            if not body["data"] and (promised or next_link(part(body, "links"))):
                body = self._asked_again(token, body)
            ids = {resource["id"] for resource in body["data"]}
            is_idle = ids <= walked
            if is_idle and ids and (was_idle or self._is_full(body)):
                message = (
                    f"Stream {self.name}: page {len(followed)} of GET /v1/{self.endpoint} shows "
                    "nothing but rows of the pages before it. Expected other rows or an end."
                )
                raise system_error(message)
            walked |= ids
            yield token, body
            link = next_link(part(body, "links"))
            counts_more = (count(part(body, "meta"), "total") or 0) > len(walked)
            if link is None and not counts_more and (not ids or not self._may_go_on(body)):
                return
            if is_idle and was_idle:
                return
            promised, was_idle = link is not None and self._is_full(body), is_idle
            token = {**token, "page": str(len(followed) + 1)} if link is None else self._token(link)
        message = f"Stream {self.name}: Kustomer repeated the next link to {token}."
        raise system_error(message)

    def _asked_again(self, token: Mapping[str, Any], body: Mapping[str, Any]) -> Mapping[str, Any]:
        """The page that came empty, though another one spoke of its rows, after a while."""
        for attempt in range(1, _MOST_DOUBTS + 1):
            pause(attempt)
            page = self._page(token)
            if page["data"]:
                return page
        return body

    def _may_go_on(self, body: Mapping[str, Any]) -> bool:
        return "next" not in part(body, "links") or self._is_full(body)

    def _is_full(self, body: Mapping[str, Any]) -> bool:
        granted = count(part(body, "meta"), "pageSize")
        size = self._size if granted is None else min(self._size, granted)
        return len(body["data"]) >= size

    def _token(self, link: str) -> dict[str, str]:
        target, own = urlsplit(link), urlsplit(self.url_base)
        elsewhere = target.netloc and (target.scheme, target.netloc) != (own.scheme, own.netloc)
        if elsewhere or not target.path.endswith(f"/{self.endpoint}"):
            message = (
                f"Stream {self.name}: Kustomer's next link leads elsewhere ({link}). Expected "
                f"/v1/{self.endpoint} on {own.netloc}; the API key is not sent to other places."
            )
            raise system_error(message)
        return dict(parse_qsl(target.query))

    def most_body_bytes(self, response: requests.Response) -> int | None:
        """Some megabytes for a page; any number where single rows are asked for.

        The vendor may have other sizes in its links, or heed none.
        """
        return None if self._size == 1 else _MOST_PAGE_BYTES

    def validate_page(self, response: requests.Response, body: Any) -> Any:
        """A page whose further parts, where they are there, have the shapes that are relied on."""
        super().validate_page(response, body)
        if is_deeper_than(MOST_LEVELS, body):
            raise BrokenBodyError(TOO_DEEP)
        total = count(part(body, "meta"), "total")
        next_link(part(body, "links"))
        asked = asked_of(response)
        page, size = asked.get("page", ""), asked.get("pageSize", "")
        if total and not body["data"] and page.isdigit() and size.isdigit():
            before = (int(page) - 1) * int(size)
            if total > before:
                msg = f"expected rows from number {before + 1} on of the {total} that it counts"
                raise BrokenBodyError(msg)
        for resource in body["data"]:
            self._updated(resource)
        return body

    def explain_error(self, response: requests.Response) -> ErrorResolution | None:
        """A page behind the first that is not there: the page before it tells what that means."""
        page = asked_of(response).get("page")
        if response.status_code == requests.codes.not_found and page not in (None, "1"):
            return ErrorResolution(ResponseAction.IGNORE, None, None)
        return super().explain_error(response)


class _Walk:
    """What the pages of a list have told so far: their tokens, a count, and which came empty."""

    def __init__(self) -> None:
        self.tokens: list[dict[str, str]] = []
        self._total: int | None = None
        self._empty: set[int] = set()

    def add(self, token: dict[str, str], page: Mapping[str, Any]) -> None:
        """Take the next page."""
        self.tokens.append(token)
        self.take(token, page)

    def take(self, token: dict[str, str], page: Mapping[str, Any]) -> None:
        """Take what a page tells now."""
        total = count(part(page, "meta"), "total")
        self._total = self._total if total is None else total
        if page["data"]:
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


def _unseen(page: Mapping[str, Any], seen: set[str]) -> Iterator[Mapping[str, Any]]:
    for resource in page["data"]:
        if resource["id"] not in seen:
            seen.add(resource["id"])
            yield resource
