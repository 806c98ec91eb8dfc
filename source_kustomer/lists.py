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

from http_source import parsed_body
from source_kustomer.api import (
    PREPARED_FOR_SECONDS,
    KustomerStream,
    system_error,
    transient_error,
)
from source_kustomer.rows import Row, flatten
from source_kustomer.state import Bookmark
from source_kustomer.timeline import SETTLING, Instant, parse_instant

# A list in which rows change page is read again, so often at most.
_MAX_ROUNDS = 10
# Its pages are then known, and asked for side by side.
_PAGES_AT_ONCE = 4


@dataclass(frozen=True)
class _Asked:
    """The first page of a read that begins: when and at which moment it was asked for."""

    at: float
    now: Instant
    page: Future[requests.Response]


class ListStream(KustomerStream, ABC):
    """Records of a plain list, `GET /v1/<endpoint>`, which knows no filter: read whole.

    https://developer.kustomer.com/docs/concepts/pagination. What is older than the state (or the
    start date) is left out here; a row that tells no `updated_at` is always emitted.
    """

    endpoint: ClassVar[str]
    # The largest page of this endpoint: "most lists 100; users and teams 500" (same page).
    page_size: int = 100
    _prepared: _Asked | None = None

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
        asked, self._prepared = self._prepared, None
        if asked is None or time.monotonic() > asked.at + PREPARED_FOR_SECONDS:
            asked = self._ask_for_first_page()
        for resource in self._resources(asked.page):
            updated = resource["attributes"].get("updatedAt")
            if updated is None or self._instant(updated) >= lower:
                yield flatten(resource)
        # What changed since the first page was asked for belongs to the next sync, though this one
        # may have seen it too. Kustomer's clock may not have been known at that time.
        elapsed = int((time.monotonic() - asked.at) * 1000)
        begun = min(asked.now, self._clock.now() - elapsed)
        self._saved = Bookmark(max(begun - SETTLING, lower)).as_state()

    def prepare(self, sync_mode: SyncMode) -> None:
        """Ask for the first page now, for a read that is to begin soon."""
        self._prepared = self._ask_for_first_page()

    def _ask_for_first_page(self) -> _Asked:
        token = {"page": "1", "pageSize": str(self.page_size)}
        return _Asked(time.monotonic(), self._clock.now(), self._pool.submit(self._get, token))

    def _instant(self, updated: Any) -> Instant:
        try:
            return parse_instant(updated)
        except (TypeError, ValueError):
            message = f"Stream {self.name}: expected a timestamp in updatedAt, got {updated!r}."
            raise system_error(message) from None

    def _resources(self, first: Future[requests.Response]) -> Iterator[Mapping[str, Any]]:
        """Every resource once, although rows change page while the list is read.

        A row that is deleted moves those behind it one place up: one may slip from a page still
        to come into one already read. So the pages of a list, but for its last, are read again
        until that yields nothing new. A count would not tell: another row may be created.
        """
        seen: set[str] = set()
        tokens = []
        for token, page in self._pages(first):
            tokens.append(token)
            yield from _unseen(page, seen)
        if len(tokens) == 1:
            return
        for _ in range(_MAX_ROUNDS):
            known = len(seen)
            for page in self._pool.map(self._page, tokens[:-1]):
                yield from _unseen(page, seen)
            if len(seen) == known:
                return
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
    ) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
        """Each page's token and body, to the end of the list.

        The `next` links are followed. Where one is missing, or null behind a full page, the next
        page is asked for all the same: then, and behind an empty page, nothing more is the end.
        """
        token = {"page": "1", "pageSize": str(self.page_size)}
        followed: list[dict[str, str]] = []
        promised = was_empty = False
        while token not in followed:
            followed.append(token)
            response = self._get(token) if len(followed) > 1 else first.result()
            if not response.ok and promised:
                message = f"Stream {self.name}: Kustomer's next link leads to no page: {token}."
                raise system_error(message)
            if not response.ok:
                return
            body = parsed_body(response)
            yield token, body
            link = _next_link(body)
            is_empty = not body["data"]
            if link is None and (is_empty or not self._may_go_on(body)):
                return
            if is_empty and was_empty:
                return
            promised, was_empty = link is not None and self._is_full(body), is_empty
            token = {**token, "page": str(len(followed) + 1)} if link is None else self._token(link)
        message = f"Stream {self.name}: Kustomer repeated the next link to {token}."
        raise system_error(message)

    def _may_go_on(self, body: Mapping[str, Any]) -> bool:
        return "next" not in (body.get("links") or {}) or self._is_full(body)

    def _is_full(self, body: Mapping[str, Any]) -> bool:
        granted = (body.get("meta") or {}).get("pageSize")
        size = min(self.page_size, granted) if isinstance(granted, int) else self.page_size
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

    def refusal(self, response: requests.Response) -> ErrorResolution | None:
        """A further page that is not there, is judged by the page before it."""
        page = dict(parse_qsl(urlsplit(str(response.request.url)).query)).get("page")
        if response.status_code == requests.codes.not_found and page not in (None, "1"):
            return ErrorResolution(ResponseAction.IGNORE, None, None)
        return super().refusal(response)


def _next_link(body: Mapping[str, Any]) -> str | None:
    return (body.get("links") or {}).get("next") or None


def _unseen(page: Mapping[str, Any], seen: set[str]) -> Iterator[Mapping[str, Any]]:
    for resource in page["data"]:
        if resource["id"] not in seen:
            seen.add(resource["id"])
            yield resource
